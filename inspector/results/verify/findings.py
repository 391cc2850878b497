"""Findings of a verification: their kinds, and how they are collected and printed."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from inspector.core.text import display_path, quantity

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.types import JsonObject

MOST_LISTED = 20
"""Findings of one kind that are told apart; the others are only counted."""


class Flaw(StrEnum):
    """Damage: something that no scan and no crash of a scan leaves behind."""

    MANIFEST = "manifest"
    """The manifest is missing, is not readable, or contradicts itself."""
    IDENTITY = "identity"
    """The manifest's fingerprint is not that of the identity beside it."""
    MISSING_PART = "missing_part"
    """A part of the table is gone."""
    LOST_ROWS = "lost_rows"
    """A part was lost, and not all photos of its rows have a row again."""
    PHOTO_LIST = "photo_list"
    """The list of a part's photos, which only a lost part needs, is not that of its rows."""
    NOT_A_FILE = "not_a_file"
    """A directory, link, pipe or device stands where a part belongs."""
    UNREADABLE = "unreadable"
    """A part cannot be read, or is no Parquet file."""
    CHANGED_PART = "changed_part"
    """A part holds other bytes than were committed."""
    OTHER_SCAN = "other_scan"
    """A part comes from another scan."""
    SCHEMA = "schema"
    """A part has other columns, types or nullability than the table."""
    ROW_COUNT = "row_count"
    """A part holds more or fewer rows than the manifest says."""
    STRAY_FILE = "stray_file"
    """A file of unknown origin that plain readers would take for a piece of the table."""
    DOUBLED_URI = "doubled_uri"
    """A file has more than one row."""
    ROW_SHARD = "row_shard"
    """A row belongs to another shard than its table."""
    ROW_URI = "row_uri"
    """A uri is not pure ASCII, or names another file than the path beside it."""
    ROW_NULLS = "row_nulls"
    """A row lacks what its status demands, or has what its status forbids."""
    ROW_VALUE = "row_value"
    """A row holds a word or a number that cannot be."""
    ROW_VERDICT = "row_verdict"
    """A verdict contradicts its probability and the scan's thresholds."""


class Remark(StrEnum):
    """Worth knowing, and no damage."""

    UNFINISHED = "unfinished"
    """A commit was interrupted; the next run of the same scan completes it."""
    LEFTOVER = "leftover"
    """A file that was never completed; the next run of the same scan removes it."""
    RUNNING = "running"
    """A scan is writing; what it commits from now on was not looked at."""
    PHOTO_GONE = "photo_gone"
    """A file that has a row is not there any more, or cannot be read."""
    PHOTO_CHANGED = "photo_changed"
    """A file's size or time is not that of its row."""
    PHOTO_CONTENT = "photo_content"
    """A file of the same size and time has other content."""
    PHOTO_SKIPPED = "photo_skipped"
    """A row that could not be compared with a file's content."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: `where` is a file of the result directory, or a photo."""

    code: Flaw | Remark
    where: str
    what: str
    remedy: str = ""


@dataclass(slots=True)
class Findings:
    """Collects them in bounded memory."""

    listed: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, code: Flaw | Remark, where: str, what: str, remedy: str = "") -> None:
        self.counts[code] += 1
        if self.counts[code] <= MOST_LISTED:
            self.listed.append(Finding(code, where, what, remedy))

    def of(self, kind: type[Flaw] | type[Remark]) -> tuple[Finding, ...]:
        """Return the findings of one kind; for each code with more, a last one says so."""
        chosen = [finding for finding in self.listed if isinstance(finding.code, kind)]
        for code in kind:
            unlisted = self.counts[code] - MOST_LISTED
            if unlisted > 0:
                chosen.append(Finding(code, "", f"and {unlisted:,} more of this kind"))
        return tuple(chosen)

    def damaged(self) -> bool:
        return any(self.counts[code] for code in Flaw)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """Result of a verification. Without damage the invariants are proven."""

    out: Path | str
    rows: int
    """Rows of the parts that were read."""
    parts: int
    """Parts whose content was read to the end."""
    shard: str | None
    """Whose photos the table has; None: all."""
    photos: int | None
    """Rows that were held against the files on disk; None when that was not asked for."""
    skipped: int
    """Rows among these whose file's content could not be compared."""
    damage: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 proven, 1 damaged."""
        return int(bool(self.damage))

    def to_json(self) -> JsonObject:
        return asdict(self) | {"out": display_path(str(self.out)), "exit_code": self.exit_code}


def result_lines(result: VerifyResult) -> list[str]:
    """Say what was proven, or what is damaged and how to repair it."""
    lines = [
        f"table      {result.out} ({quantity(result.rows, 'row')}, part files: {result.parts:,})"
    ]
    if result.shard is not None:
        lines.append(f"shard      {result.shard}; inspector merge makes one table of all shards")
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
