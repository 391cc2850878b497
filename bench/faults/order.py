"""Scans of one set of photos in other orders and batches, decoded by other processes."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from bench.faults.case import FaultCase
from bench.faults.scans import Scans
from bench.faults.table import Snapshot, difference

if TYPE_CHECKING:
    from pathlib import Path

    from bench.faults.scans import Setting

_BATCHES = (1, 3, 32)
_WORKERS = (0, 1, 3)


def scan_in_any_order(
    setting: Setting, source: Path, folder: Path, precisions: tuple[str, ...], *, seed: int
) -> FaultCase:
    """Rows must not depend on batch size, number of workers or the order of the photos: for each
    precision all tables must be equal, byte for byte."""
    case, rng = FaultCase("order"), random.Random(seed)
    files = sorted(str(file) for file in source.iterdir())
    for precision in precisions:
        own = replace(setting, precision=precision)
        with Scans(own, folder / f"{precision} runs") as scans:
            right = _scan(case, scans, source, folder / f"{precision} right")
            for batch_size, workers in product(_BATCHES, _WORKERS):
                name = f"{precision}, batches of {batch_size}, {workers} workers"
                print(f"order: {name}", file=sys.stderr)
                options = {"sources": rng.sample(files, len(files)), "batch_size": batch_size}
                found = _scan(case, scans, source, folder / name, workers=workers, **options)
                case.runs += 1
                case.rows += found.count
                case.difference += difference(found, right)
                case.expect(found.content == right.content, f"differs: {folder / name}")
    return case.finish()


def _scan(case: FaultCase, scans: Scans, source: Path, out: Path, **options: Any) -> Snapshot:
    ended = scans.run(source, out, **options)
    case.expect(not ended.trouble, f"{out}: {ended.trouble}")
    return Snapshot.of(out)
