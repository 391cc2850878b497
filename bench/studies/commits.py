"""Study of what it costs to record one more part of a table, by the number of parts it has."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.report.wording import figure
from inspector.core.layout import Layout, part_name
from inspector.results.journal import Journal
from inspector.results.manifest import Manifest, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.studies.report import Columns
    from inspector.types import JsonObject

METHOD = (
    "The manifest of a table of so many parts, once written whole and once continued by a line of "
    "its journal, both synced; no rows are encoded or written.",
    "cpu ms: median processor time of one; bytes: what is written. read ms: processor time to read "
    "manifest and journal, as a scan that continues, a report and inspector verify do.",
)
COLUMNS: Columns = {
    "parts": lambda case: f"{case['parts']:,}",
    "whole cpu ms": lambda case: figure(median(case["whole_ms"])),
    "bytes": lambda case: f"{case['whole_bytes']:,}",
    "line cpu ms": lambda case: figure(median(case["line_ms"])),
    "bytes ": lambda case: f"{case['line_bytes']:,}",
    "read ms": lambda case: figure(median(case["read_ms"])),
}


def bench_commits(parts: Sequence[int], rounds: int) -> JsonObject:
    """Measure each number of parts."""
    cases = []
    for count in parts:
        print(f"{count:,} parts", file=sys.stderr)
        with TemporaryDirectory(prefix="inspector-bench-") as folder:
            cases.append(_case(Path(folder), count, rounds))
    return {
        "benchmark": "commits",
        "method": METHOD,
        "settings": {"rounds": rounds},
        "cases": cases,
    }


def _case(out: Path, count: int, rounds: int) -> JsonObject:
    at = Layout(out)
    at.work.mkdir()
    manifest = Manifest(identity={"model": "a" * 64}, parts=tuple(map(_part, range(count))))
    whole = [_cpu_ms(lambda: manifest.write(out)) for _ in range(rounds)]
    journal = Journal(at.journal)
    journal.follow(manifest, manifest.write(out))
    lines = []
    for k in range(count, count + rounds):
        step = Manifest(identity={}, parts=(_part(k),))
        lines.append(_cpu_ms(partial(journal.append, step, 10_000 * (k + 1))))
    return {
        "parts": count,
        "status": "ok",
        "reason": "",
        "whole_ms": whole,
        "whole_bytes": at.manifest.stat().st_size,
        "line_ms": lines,
        "line_bytes": len(at.journal.read_bytes().splitlines()[-1]) + 1,
        "read_ms": [_cpu_ms(lambda: Manifest.read(out)) for _ in range(rounds)],
    }


def _part(number: int) -> Part:
    return Part(part_name(number), 10_000, f"{number:064x}")


def _cpu_ms(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return 1000 * (time.process_time() - started)
