"""A large made-up table, and what the report and the review of it cost.

    python -m bench.studies.tables make OUT --rows 1000000 --labels 5000
    python -m bench.studies.tables report OUT
    python -m bench.studies.tables review OUT

Each measurement runs in a process of its own and prints seconds and peak resident memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from inspector.core.layout import Layout
from inspector.results.labels import SCHEMA as LABEL_SCHEMA
from inspector.results.parts import FINGERPRINT
from inspector.results.schema import JUDGED_AT, METADATA_PREFIX, SCHEMA
from inspector.results.store import open_results
from inspector.types import FailureCode, Reason, Verdict

ROWS_PER_PART = 10_000
PER_FOLDER = 1000
IDENTITY = {
    "model": "f" * 64, "clear_below": "0.3", "crack_from": "0.7",
    "out_of_distribution": "1.5",
}  # fmt: skip
_FIRST_US = 1_700_000_000_000_000
_FAILURES = np.array([str(code) for code in FailureCode], object)


def make_table(out: Path, rows: int, labels: int) -> None:
    """Write `rows` rows over folders of `PER_FOLDER` photos: a tenth cracks, a tenth to review, a
    fiftieth failed, most with time and place, one in a hundred a copy; `labels` of them labelled.
    The photos themselves do not exist."""
    rng = np.random.default_rng(0)
    said: list[dict[str, Any]] = []
    with open_results(out, IDENTITY, overwrite=True) as results:
        facts = {f"{METADATA_PREFIX}{FINGERPRINT}": results.fingerprint}
        facts |= {f"{METADATA_PREFIX}{name}": value for name, value in IDENTITY.items()}
        for begin in range(0, rows, ROWS_PER_PART):
            numbers = np.arange(begin, min(begin + ROWS_PER_PART, rows))
            table = _part(numbers, rng)
            results.commit(table.replace_schema_metadata(facts))
            chosen = rng.choice(len(numbers), labels * len(numbers) // rows, replace=False)
            said += _labels(table.take(pa.array(chosen)), rng, len(said))
    lines = (json.dumps(row, default=str) for row in said)
    Layout(out).labels.write_text("".join(f"{line}\n" for line in lines))


def _part(number_N: np.ndarray[Any, Any], rng: np.random.Generator) -> pa.Table:
    count = len(number_N)
    kind_N = rng.choice(4, count, p=[0.1, 0.1, 0.78, 0.02])
    failed_N = kind_N == 3
    low_N, high_N = np.array([0.7, 0.3, 0.0, 0.0])[kind_N], np.array([1.0, 0.7, 0.3, 0.0])[kind_N]
    p_N = (low_N + (high_N - low_N) * rng.random(count) * 0.999).astype(np.float32)
    names = [f"span-{n // 20000:03}/{n // PER_FOLDER:05}/IMG_{n:09}.jpg" for n in number_N.tolist()]
    contents = number_N - (number_N % 100 == 99)
    digests = [hashlib.sha256(f"{n}".encode()).hexdigest() for n in contents.tolist()]
    verdicts = np.array([*map(str, (Verdict.CRACK, Verdict.REVIEW, Verdict.CLEAR)), None], object)
    reasons = np.where(kind_N == 1, str(Reason.NEAR_THRESHOLD), str(Reason.MODEL)).astype(object)
    odd_N = (kind_N == 1) & (rng.random(count) < 0.2)
    reasons[odd_N] = str(Reason.OUT_OF_DISTRIBUTION)
    placed_N = rng.random(count) < 0.9
    columns: dict[str, Any] = {
        "uri": [f"file:///inspections/2026/bridge%20{n}" for n in names],
        "path": [f"/inspections/2026/bridge {n}" for n in names],
        "status": _where(failed_N, "failed", "ok"),
        "verdict": verdicts[kind_N],
        "p_crack": pa.array(p_N, mask=failed_N),
        "ood_score": pa.array((rng.random(count) + 2 * odd_N).astype(np.float32), mask=failed_N),
        "reason": _where(failed_N, None, reasons),
        "stage": _where(failed_N, None, "fp32@224"),
        "failure_code": _where(failed_N, rng.choice(_FAILURES, count), None),
        "detail": _where(failed_N, "what went wrong", None),
        "peak_x": pa.array(rng.random(count).astype(np.float32), mask=kind_N >= 2),
        "peak_y": pa.array(rng.random(count).astype(np.float32), mask=kind_N >= 2),
        "width": pa.array(np.full(count, 4000), mask=failed_N),
        "height": pa.array(np.full(count, 3000), mask=failed_N),
        "format": _where(failed_N, None, "JPEG"),
        "size_bytes": rng.integers(3_000_000, 6_000_000, count),
        "mtime": _FIRST_US + 1_000_003 * number_N,
        "content_hash": digests,
        "taken_at": pa.array(_FIRST_US + 1_000_000 * number_N, mask=~placed_N),
        "gps_lat": pa.array(47 + number_N * 1e-7 + rng.normal(0, 1e-5, count), mask=~placed_N),
        "gps_lon": pa.array(14 + number_N * 1e-7 + rng.normal(0, 1e-5, count), mask=~placed_N),
        "gps_alt": pa.array(np.full(count, 300.0), mask=~placed_N),
        "camera": ["Maker Model 7"] * count,
        JUDGED_AT: _FIRST_US + 1_000_000 * number_N,
    }
    arrays = [
        pa.array(columns[field.name]).cast(field.type) if field.name in columns
        else pa.nulls(count, field.type)
        for field in SCHEMA
    ]  # fmt: skip
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _where(mask_N: Any, yes: Any, no: Any) -> pa.Array:
    """Words, some of them null, by a mask (N,)."""
    return pa.array(np.where(mask_N, np.array(yes, object), np.array(no, object)))


def _labels(rows: pa.Table, rng: np.random.Generator, first: int) -> list[dict[str, Any]]:
    words = rng.choice(["crack", "clear", "unsure"], rows.num_rows)
    kept = [name for name in LABEL_SCHEMA.names if name in rows.column_names]
    return [
        dict.fromkeys(LABEL_SCHEMA.names)
        | row
        | {"id": first + k, "label": str(words[k]), "labelled_at": datetime(2026, 5, 4),
           "reviewer": "ann"}
        for k, row in enumerate(rows.select(kept).to_pylist())
    ]  # fmt: skip


def measure_report(out: Path, *options: str) -> None:
    """The command, as a user runs it, without pictures: the photos do not exist."""
    page = out / "_measured.html"
    command = [sys.executable, "-m", "inspector", "report", str(out), "--html", str(page)]
    _timed("report", [*command, "--pictures", "0", *options])


def measure_review(out: Path) -> None:
    _timed("review", [sys.executable, "-m", "bench.studies.tables", "session", str(out)])


def _timed(what: str, command: list[str]) -> None:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if what == "review" or process.returncode:
        print(said, end="")
    print(f"{what}: {seconds:.2f} s, {usage.ru_utime + usage.ru_stime:.2f} s of CPU, "
          f"{usage.ru_maxrss / 1024:.0f} MiB, exit code {process.returncode}")  # fmt: skip


def time_session(out: Path) -> None:
    """What a reviewer waits for."""
    from inspector.results.labels import Label, open_labels
    from inspector.reviewing.session import Session

    def step(what: str, act: Any) -> Any:
        started = time.perf_counter()
        found = act()
        print(f"  {what}: {1000 * (time.perf_counter() - started):.1f} ms", flush=True)
        return found

    from inspector.reviewing.queue import Filters

    with open_labels(out, "measured") as store:
        session = step("open", lambda: Session(out, store))
        queue = step("first list", lambda: session.start_queue(Filters()))
        page = step("first page", lambda: session.page(queue["queue"], 0, 40))
        step("next page", lambda: session.page(queue["queue"], 40, 40))
        step("middle page", lambda: session.page(queue["queue"], queue["in_queue"] // 2, 40))
        row = step("facts", lambda: session.facts(queue["generation"], page[0]["row"]))
        about = (queue["generation"], row["row"], row["uri"], Label.UNSURE, queue["queue"])
        step("label", lambda: session.decide(*about))
        step("second label", lambda: session.decide(*about))
        step("undo", lambda: session.undo(queue["queue"]))
        step("filter by verdict", lambda: session.start_queue(Filters(verdict="crack")))
        step("filter by label", lambda: session.start_queue(Filters(label="differs")))
        found = step("filter by text", lambda: session.start_queue(Filters(text="IMG_0001")))
        print(f"  rows {found['rows']}, found by text {found['in_queue']}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.tables", description=__doc__)
    parser.add_argument("what", choices=["make", "report", "review", "session"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=5_000)
    options = parser.parse_args()
    if options.what == "make":
        make_table(options.out, options.rows, options.labels)
    elif options.what == "report":
        measure_report(options.out)
    elif options.what == "review":
        measure_review(options.out)
    else:
        time_session(options.out)


if __name__ == "__main__":
    main()
