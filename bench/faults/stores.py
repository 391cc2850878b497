"""A bucket whose store refuses, loses, cuts off and exchanges objects, between intact ones."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow.dataset as ds

from bench.faults.case import FaultCase, listed
from bench.faults.photos import make_photos
from bench.faults.scans import Scans
from bench.faults.store import BUCKET, Fault, ObjectServer, Stored
from bench.faults.table import Difference
from inspector.types import FailureCode, Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.faults.scans import Setting
    from inspector.types import JsonObject

OUTCOMES: Mapping[Fault, str] = {
    Fault.FORBIDDEN: FailureCode.PERMISSION,
    Fault.BROKEN: FailureCode.IO_ERROR,
    Fault.SHAKY: Status.OK,
    Fault.BUSY: Status.OK,
    Fault.CUT: FailureCode.IO_ERROR,
    Fault.DROPPED: Status.OK,
    Fault.TORN: FailureCode.IO_ERROR,
    Fault.SHORT: FailureCode.TRUNCATED,
    Fault.LOST: FailureCode.VANISHED,
    Fault.SILENT: FailureCode.IO_ERROR,
}
"""What the row of an object must say; that none is made of two, the content's hash says."""
_KILLED_AT = 0.5
"""Of an undisturbed scan's time."""


def scan_store(
    setting: Setting, folder: Path, *, photos: int, each: int, silent: bool
) -> FaultCase:
    """Scan `photos` intact objects with `each` of every fault between them, to the end and once
    more killed on the way: the intact ones must have the rows that their files get."""
    case = FaultCase("stores")
    if find_spec("obstore") is None:
        case.skipped = "obstore is not installed"
        return case.finish()
    near = folder / "photos"
    make_photos(near, photos, seed=0, side=120)
    server = ObjectServer(delay_s=0.005)
    with server, Scans(setting, folder / "runs", server.environment) as scans:
        calm = scans.run(near, folder / "calm")
        case.expect(not calm.trouble, f"from the disk: {calm.trouble}")
        right = _rows(folder / "calm")
        faults = _fill(server, near, each, silent=silent)
        print(f"stores: {len(faults)} objects that are not given", file=sys.stderr)
        ended = scans.run(f"s3://{BUCKET}/", folder / "table")
        case.expect(not ended.trouble, ended.trouble)
        case.note_left(ended.left)
        _check(case, _rows(folder / "table"), right, faults, server)
        faults = _fill(server, near, each, silent=silent)
        scans.run(
            f"s3://{BUCKET}/", folder / "again", kill_after=_KILLED_AT * ended.seconds,
            whole_group=True,
        )  # fmt: skip
        resumed = scans.run(f"s3://{BUCKET}/", folder / "again")
        case.expect(not resumed.trouble, f"continued: {resumed.trouble}")
        case.note_left(resumed.left)
        _check(case, _rows(folder / "again"), right, faults, server, continued=True)
    return case.finish()


def _fill(server: ObjectServer, near: Path, each: int, *, silent: bool) -> dict[str, Fault]:
    """Put the photos into the bucket anew, and the others between them; returns these by name."""
    server.objects.clear()
    server.asked.clear()
    files = sorted(file for file in near.iterdir() if file.is_file())
    bodies = [file.read_bytes() for file in files]
    server.objects.update(
        (file.name, Stored(body)) for file, body in zip(files, bodies, strict=True)
    )
    faults: dict[str, Fault] = {}
    jpegs = [place for place, file in enumerate(files) if file.suffix == ".jpg"]
    for fault in (fault for fault in OUTCOMES if silent or fault is not Fault.SILENT):
        for _ in range(each):
            place, other = (jpegs[(len(faults) + k) % len(jpegs)] for k in (0, 1))
            name = f"{files[place].stem}-{fault.name.lower()}-{len(faults)}.jpg"
            server.objects[name] = Stored(bodies[place], fault=fault, then=bodies[other])
            faults[name] = fault
    return faults


def _rows(out: Path) -> dict[str, list[JsonObject]]:
    """Rows by the last part of their address."""
    columns = ["uri", "status", "failure_code", "verdict", "p_crack", "content_hash"]
    rows: dict[str, list[JsonObject]] = {}
    for row in ds.dataset(out, format="parquet").to_table(columns).to_pylist():
        rows.setdefault(unquote(row["uri"].rpartition("/")[2]), []).append(row)
    return rows


def _check(
    case: FaultCase,
    found: Mapping[str, list[JsonObject]],
    right: Mapping[str, list[JsonObject]],
    faults: Mapping[str, Fault],
    server: ObjectServer,
    *,
    continued: bool = False,
) -> None:
    """Compare the rows `found` with the `right` ones of intact objects and with `OUTCOMES`. Of a
    scan that was killed and `continued`, the second part may find whole what was torn before."""
    case.runs += len(faults)
    case.rows += sum(map(len, found.values()))
    lost = [name for name in (*right, *faults) if not found.get(name)]
    doubled = sum(len(rows) - 1 for rows in found.values() if rows)
    other = [
        name
        for name, (row, *_) in right.items()
        if name not in lost and {**found[name][0], "uri": ""} != {**row, "uri": ""}
    ]
    case.difference += Difference(missing=len(lost), doubled=doubled, changed=len(other))
    wrong: list[str] = []
    outcomes: Counter[str] = Counter()
    for name, fault in faults.items():
        for row in found.get(name, []):
            outcome = str(row["failure_code"] or row["status"])
            outcomes[f"{fault.name.lower()}: {outcome}"] += 1
            stored = server.objects[name]
            whole = [hashlib.sha256(body).hexdigest() for body in (stored.body, stored.then)]
            found_whole = continued and fault is Fault.TORN and outcome == Status.OK
            if outcome != OUTCOMES[fault] and not found_whole:
                wrong.append(f"{name}: {outcome}")
            elif outcome == Status.OK and row["content_hash"] not in whole:
                wrong.append(f"{name}: made of two objects")
    case.expect(not wrong, f"{len(wrong)} objects with another row: {listed(wrong)}")
    case.facts["outcomes"] = dict(outcomes)
