"""Study of what a scan pays for the rows that its table has already, by their number."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bench.report.wording import figure
from bench.studies.apart import measured_apart, peak_bytes
from bench.studies.done_table import make_done_table
from inspector.core.layout import Layout
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.results.ledger import Ledger
from inspector.scanning.pipeline import ROWS_PER_PART
from inspector.types import ImageRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.studies.report import Columns
    from inspector.results.ledger import Hashes
    from inspector.types import JsonObject

SEED = 0
READ_PARTS = 20
"""Real parts that are read."""
LOOKED_UP = 100_000
_BATCH = 2000

METHOD = (
    "read: the ledger of a real table, made without a scan, is opened; what it takes for a row is "
    f"independent of their number (as they are read part by part, {ROWS_PER_PART:,} rows each).",
    "For each number of rows a process of its own fills a ledger with hashes at random in place of "
    "what it would read, ranks them, looks for doubles, and looks up photos that have no row. "
    "rank: processor time of all that, once. look up: processor time a photo. bytes a row: what "
    "the arrays hold; peak: the process's largest resident set beyond what it had before, a row.",
    "resume: rows x (read + look up) + rank, the processor time of one core until a scan that "
    "finds everything done has ended, listing apart.",
)
COLUMNS: Columns = {
    "rows": lambda case: f"{case['rows']:,}",
    "bytes a row": lambda case: figure(case["row_bytes"]),
    "peak": lambda case: figure(case["peak_bytes"]),
    "read us": lambda case: figure(case["read_us"]),
    "rank s": lambda case: figure(case["rank_s"]),
    "look up us": lambda case: figure(case["look_up_us"]),
    "resume s": lambda case: figure(case["resume_s"]),
}


def bench_ledgers(rows: Sequence[int], rounds: int) -> JsonObject:
    """Measure each number of rows."""
    read_us = _read_us(rounds)
    cases = []
    for count in rows:
        print(f"{count:,} rows", file=sys.stderr)
        case = measured_apart("bench.studies.ledgers", count)
        each = read_us + case["look_up_us"]
        resume_s = count * each / 1e6 + case["rank_s"]
        cases.append({**case, "read_us": read_us, "resume_s": resume_s})
    return {
        "benchmark": "ledger",
        "method": METHOD,
        "settings": {"rounds of reading": rounds, "rows that are read": READ_PARTS * ROWS_PER_PART},
        "cases": cases,
    }


def _read_us(rounds: int) -> float:
    """Processor time to read a row of a real table, ranking not counted apart."""
    with TemporaryDirectory(prefix="inspector-bench-") as folder:
        out, count = Path(folder), READ_PARTS * ROWS_PER_PART
        make_done_table(out, count, ModelBundle.load(DEFAULT_PATH))
        at = Layout(out)
        parts = [(name, ROWS_PER_PART) for name in at.part_names()]
        times = []
        for _ in range(rounds):
            started = time.process_time()
            assert len(Ledger(at.table, parts)) == count
            times.append(time.process_time() - started)
    return 1e6 * median(times) / count


class _Made(Ledger):
    """A ledger that takes what parts would say from a generator of random numbers."""

    _random = np.random.default_rng(SEED)

    def _read(self, path: Path, rows: int) -> tuple[Hashes, Hashes, NDArray[np.uint8]]:
        hashes, states = self._random.integers(0, 1 << 64, (2, rows), np.uint64)
        return hashes, states, np.zeros(rows, np.uint8)


def measure(rows: int) -> JsonObject:
    """Measure one number of rows in this process."""
    before = peak_bytes()
    started = time.process_time()
    parts = [("", min(ROWS_PER_PART, rows - at)) for at in range(0, rows, ROWS_PER_PART)]
    ledger = _Made(Path(), parts)
    rank_s = time.process_time() - started
    peak = peak_bytes() - before
    refs = [
        ImageRef(k, f"/{k}", f"file:///walls/IMG_{k:09}.jpg", 4_000_000, k)
        for k in range(LOOKED_UP)
    ]
    started = time.process_time()
    for begin in range(0, LOOKED_UP, _BATCH):
        assert not ledger.look_up(refs[begin : begin + _BATCH]).known_N.any()
    look_up_us = 1e6 * (time.process_time() - started) / LOOKED_UP
    arrays = (ledger._hashes, ledger._rows, ledger._states, ledger._outcomes, ledger._seen)
    return {
        "rows": rows,
        "status": "ok",
        "reason": "",
        "row_bytes": sum(array.nbytes for array in arrays) / rows,
        "peak_bytes": peak / rows,
        "rank_s": rank_s,
        "look_up_us": look_up_us,
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
