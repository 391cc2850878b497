"""What a verification found, as text, one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.core.terminal import print_lines

if TYPE_CHECKING:
    from inspector.results.verify.findings import Finding, VerifyResult


def print_result(result: VerifyResult) -> None:
    """What was proven, or what is damaged and how to repair it."""
    print_lines(_lines(result))


def _lines(result: VerifyResult) -> list[str]:
    lines = [f"table      {result.out} ({result.rows:,} rows, part files: {result.parts:,})"]
    if result.photos is not None:
        lines.append(
            f"photos     {result.photos - result.skipped:,} compared with the files on disk, "
            f"{result.skipped:,} could not be"
        )
    lines += [_line("damage", finding) for finding in result.damage]
    lines += [_line("note", finding) for finding in result.notes]
    if result.damage:
        return [*lines, "damaged    not everything in this table can be relied on; see above"]
    return [
        *lines,
        "proven     every part is as committed, no file has two rows, every row is sound",
    ]


def _line(title: str, finding: Finding) -> str:
    where = f"{finding.where}: " if finding.where else ""
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{title:<10} {where}{finding.what}{remedy} [{finding.code}]"
