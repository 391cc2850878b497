"""The report on a terminal: a few lines that fit 80 columns."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from inspector.core.text import TITLE, Whole, display_path, print_lines, wrapped
from inspector.reporting.contents import AT_REST
from inspector.reporting.counting import OUTCOMES
from inspector.reporting.wording import count, in_folder, share
from inspector.results.query import FAILED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inspector.reporting.contents import Report

_FOLDERS = 3


def print_report(report: Report) -> None:
    """Print what is in the table; paths and commands are never cut."""
    print_lines(_lines(report))


def print_files(html: Path | None, geojson: Path | None, *, to_stderr: bool) -> None:
    """Print where the files are."""
    files = (("report", html), ("places", geojson))
    lines = [_whole(title, display_path(str(file))) for title, file in files if file is not None]
    print_lines(lines, to_stderr=to_stderr)


def _lines(report: Report) -> list[str]:
    total, people = report.total, report.people
    failed = report.model[FAILED]
    lines = wrapped(
        "photos",
        f"{count(total.photos)}, of them {count(failed)} not judged "
        f"({share(failed, total.photos)})",
    )
    if report.state.kind != AT_REST:
        lines += wrapped(report.state.kind, report.state.note)
    judged = [outcome for outcome in OUTCOMES if outcome != FAILED]
    lines += wrapped("model", _counts({o: report.model[o] for o in judged}))
    lines += wrapped("reasons", _counts(report.reasons)) if report.reasons else []
    lines += wrapped("failed", _counts(report.failures)) if report.failures else []
    if people.looked_at:
        lines += wrapped(
            "people",
            f"looked at {count(people.looked_at)}: agree with {count(people.agree)}, cracks that "
            f"the model called clear {count(people.missed_cracks)}, its false alarms "
            f"{count(people.false_alarms)}, left open and decided {count(people.decided)}, unsure "
            f"{count(people.unsure)}",
        )
        lines += wrapped("after", _counts({o: getattr(total, o) for o in OUTCOMES}))
    else:
        lines += wrapped("people", "nobody has looked at these photos yet")
    if report.folders and report.folders[-1].listed[0].crack:
        most = [g for g in report.folders[-1].listed[:_FOLDERS] if g.crack]
        lines += wrapped("folders", "most cracks: " + "; ".join(map(in_folder, most)))
    if report.copies:
        lines += wrapped("copies", f"{count(report.copies)} files hold the bytes of another one")
    if total.review:
        command = shlex.quote(display_path(str(report.out)))
        lines += wrapped("to decide", f"{count(total.review)}; look at them with:")
        lines.append(_whole("", f"inspector review {command}"))
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count(number)}" for name, number in counts.items())


def _whole(title: str, text: str) -> str:
    return Whole(f"{title:<{TITLE}}{text}")
