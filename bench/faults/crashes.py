"""Files that crash, starve or hang the process that decodes them, between intact ones."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow.dataset as ds

from bench.faults.case import FaultCase, listed
from bench.faults.hostile import CRASHES, DEEDS, HANGS
from bench.faults.photos import make_photos
from bench.faults.scans import Scans, leaked_shared_memory, shared_memory, zombies_of
from bench.faults.table import Snapshot, difference
from inspector.photos.address import uri_of
from inspector.types import FailureCode, Status

if TYPE_CHECKING:
    from pathlib import Path

    from bench.faults.scans import Ended, Setting

WORKERS = 2
MAX_SECONDS = 2.0
"""Before a file counts as hanging: short, for there are several."""
_SAMPLE_S = 0.2
_ZOMBIE_SAMPLES = 10
"""Whoever is still there after two seconds has been forgotten."""


def scan_hostile(setting: Setting, folder: Path, *, photos: int, each: int) -> FaultCase:
    """Scan `photos` intact ones, then the same with `each` culprits of every kind between them: the
    intact ones must have the same rows."""
    case, before = FaultCase("crashes"), shared_memory()
    source = folder / "photos"
    make_photos(source, photos, seed=0, side=120)
    apart = replace(setting, workers=WORKERS)
    with Scans(apart, folder / "runs") as scans:
        calm = scans.run(source, folder / "calm")
        case.expect(not calm.trouble, f"without culprits: {calm.trouble}")
        expected = _add_culprits(source, each)
        print(f"crashes: {len(expected)} culprits", file=sys.stderr)
        ended = _run_watching(case, scans, source, folder / "table")
        case.expect(not ended.trouble, f"{ended.trouble} (kept: {source})")
        case.note_left(ended.left)
    case.runs = len(expected)
    case.facts["without_culprits_s"], case.facts["scan_s"] = calm.seconds, ended.seconds
    _check(case, folder, expected)
    case.note_left(leaked_shared_memory(before))
    return case.finish()


def _add_culprits(source: Path, each: int) -> dict[str, str]:
    """Copies of intact photos whose names make the decoder do something, each between two that are
    intact; returns the expected outcome by name."""
    intact = sorted(file for file in source.iterdir() if file.suffix == ".jpg")
    expected: dict[str, str] = {}
    for number in range(each):
        for deed in DEEDS:
            place = len(expected)
            # A folder's name that goes on where a photo's ends is listed right after that photo.
            photo = intact[place % len(intact)]
            culprit = source / f"{photo.name} {place:03}" / f"{deed}-{number}.jpg"
            culprit.parent.mkdir()
            shutil.copyfile(photo, culprit)
            if deed in CRASHES:
                expected[uri_of(str(culprit))] = FailureCode.DECODER_CRASH
            else:
                expected[uri_of(str(culprit))] = FailureCode.TIMEOUT if deed in HANGS else Status.OK
    return expected


def _run_watching(case: FaultCase, scans: Scans, source: Path, out: Path) -> Ended:
    """Scan with decoders that obey file names; processes that nobody collects count as left."""
    seen: Counter[int] = Counter()
    limits = {"max_seconds": MAX_SECONDS}
    with scans.started(source, out, hostile=True, limits=limits) as scan:
        while scan.process.poll() is None:
            seen.update(zombies_of(scan.process.pid))
            time.sleep(_SAMPLE_S)
        ended = scan.ended()
    lasting = [pid for pid, samples in seen.items() if samples >= _ZOMBIE_SAMPLES]
    case.note_left([f"process {pid}, ended and not collected" for pid in lasting])
    return ended


def _check(case: FaultCase, folder: Path, expected: dict[str, str]) -> None:
    """Every culprit its code, every other file the row that it has without them."""
    calm, table = Snapshot.of(folder / "calm"), Snapshot.of(folder / "table")
    case.rows = table.count
    columns = ["uri", "status", "failure_code"]
    found = {}
    if table.count:
        rows = ds.dataset(folder / "table", format="parquet").to_table(columns).to_pylist()
        found = {row["uri"]: row["failure_code"] or row["status"] for row in rows}
    wrong = [
        f"{uri}: {found.get(uri)}, not {code}"
        for uri, code in expected.items()
        if found.get(uri) != code
    ]
    case.expect(not wrong, f"{len(wrong)} culprits with another code: {listed(wrong)}")
    others = {uri: row for uri, row in table.rows.items() if uri not in expected}
    neighbours = Snapshot(others, len(others) + table.doubled, b"")
    case.difference += difference(neighbours, calm)
    case.facts["outcomes"] = dict(Counter(found.values()).most_common())
