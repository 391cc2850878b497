"""What `python -m bench faults` must notice in a table, with tables that are wrong on purpose."""

from __future__ import annotations

import shutil
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.faults import catalogue, crashes, mutants, stores
from bench.faults.bad_files import IGNORED, Entry
from bench.faults.bad_images import OK
from bench.faults.case import FaultCase
from bench.faults.mutator import CUT, Mutant
from bench.faults.seeds import make_seeds
from bench.faults.store import Fault, ObjectServer, Stored
from bench.faults.table import Difference, rows_by_path
from inspector.types import FailureCode

TEXT = ("uri", "status", "verdict", "failure_code", "format")


def row(uri, *, code=None, p_crack=0.5):
    ok = code is None
    return {
        "uri": uri,
        "status": "ok" if ok else "failed",
        "verdict": "review" if ok else None,
        "p_crack": p_crack if ok else None,
        "failure_code": code,
        "format": "JPEG",
    }


def write(out, *rows):
    (out / "table").mkdir(parents=True)
    types = [pa.field(name, pa.string()) for name in TEXT] + [pa.field("p_crack", pa.float32())]
    table = pa.Table.from_pylist(list(rows), pa.schema(types))
    pq.write_table(table, out / "table/part-000000.parquet")
    return out


def test_rows_are_found_by_any_path(tmp_path):
    odd = "/photos/new\nline \udce9 100%.jpg"
    out = write(tmp_path / "out", row("file:///photos/new%0Aline%20%E9%20100%25.jpg"))
    assert list(rows_by_path(out)) == [odd]
    assert rows_by_path(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        ({}, Difference(missing=1)),
        ({"failure_code": None, "status": "ok", "p_crack": 0.5}, Difference(changed=1)),
        ({"failure_code": "corrupt", "status": "failed"}, Difference(changed=1)),
        ({"failure_code": "empty", "status": "failed"}, Difference()),
    ],
)
def test_another_code_than_the_catalogue_says_is_noticed(found, difference):
    case = FaultCase("catalogue")
    entry = Entry("an empty file", FailureCode.EMPTY.value)
    catalogue._check(case, b"empty.jpg", entry, {b"empty.jpg": found} if found else {})
    assert case.difference == difference and bool(case.troubles) == bool(difference)


def test_a_row_for_what_is_no_photo_and_another_probability_are_noticed():
    case = FaultCase("catalogue")
    rows = {name: {"failure_code": None, "status": "ok", "p_crack": 0.5} for name in (b"a", b"b")}
    catalogue._check(case, b"a", Entry("a text", IGNORED), rows)
    assert case.difference == Difference(changed=1)
    rows[b"a"]["p_crack"] = 0.25
    catalogue._check(case, b"b", Entry("the same as a", OK, same_as=b"a"), rows)
    assert case.difference == Difference(changed=2)


def test_a_neighbour_of_a_crash_with_another_row_is_noticed(tmp_path):
    write(tmp_path / "calm", row("file:///a"), row("file:///b"))
    crash, late = FailureCode.DECODER_CRASH.value, FailureCode.TIMEOUT.value
    culprits = {"file:///abort": crash, "file:///hang": late}
    rows = [row("file:///a"), row("file:///abort", code=crash), row("file:///hang", code=late)]

    def found(*more):
        shutil.rmtree(tmp_path / "table", ignore_errors=True)
        write(tmp_path / "table", *rows, *more)
        case = FaultCase("crashes")
        crashes._check(case, tmp_path, culprits)
        return case

    assert not found(row("file:///b")).broken
    assert found().difference == Difference(missing=1)
    assert found(row("file:///b", p_crack=0.25)).difference == Difference(changed=1)
    assert found(row("file:///b", code=crash)).difference == Difference(changed=1)
    assert found(row("file:///b"), row("file:///b")).difference == Difference(doubled=1)
    rows[1] = row("file:///abort")
    assert "file:///abort: ok, not decoder_crash" in found(row("file:///b")).troubles[0]


def test_rows_of_a_bucket_that_are_wrong_are_noticed():
    server, faults = ObjectServer(), {"torn.jpg": Fault.DROPPED, "lost.jpg": Fault.LOST}
    server.objects |= {name: Stored(b"new", then=b"old", fault=f) for name, f in faults.items()}

    def found(**other):
        good = {"failure_code": None, "status": "ok", "content_hash": sha256(b"new").hexdigest()}
        lost = {"failure_code": "vanished", "status": "failed", "content_hash": None}
        rows = {"a.jpg": [good], "torn.jpg": [good], "lost.jpg": [lost]}
        case = FaultCase("stores")
        stores._check(case, rows | other, {"a.jpg": [good]}, faults, server)
        return case

    half = {"failure_code": None, "status": "ok", "content_hash": sha256(b"nld").hexdigest()}
    assert not found().broken
    assert "made of two objects" in found(**{"torn.jpg": [half]}).troubles[0]
    assert "lost.jpg: ok" in found(**{"lost.jpg": [half]}).troubles[0]
    assert found(**{"a.jpg": [half]}).difference == Difference(changed=1)
    assert found(**{"a.jpg": []}).difference  # no row
    assert found(**{"lost.jpg": [half, half]}).difference.doubled == 1


def test_mutants_without_a_row_or_with_two_and_crashes_are_noticed(tmp_path):
    seed = make_seeds()[0]
    files = [mutants.Placed(tmp_path / f"{name}.jpg", seed, None) for name in "abc"]
    crash = FailureCode.DECODER_CRASH.value
    a, b = (row(file.path.as_uri()) for file in files[:2])
    out = write(tmp_path / "out", a, a, b | row(b["uri"], code=crash), row("file:///foreign.jpg"))
    case = FaultCase("mutants")
    mutants._check_rows(case, files, out)
    assert case.difference == Difference(missing=1, doubled=1, changed=1)
    assert len(case.troubles) == 1 and case.troubles[0].startswith("1 decoder_crash")


def test_a_picture_that_was_cut_off_may_not_be_judged(tmp_path, tiny_bundle):
    tiff = next(seed for seed in make_seeds() if seed.name == "TIFF raw")
    cases = {}
    for name, content in {"whole": tiff.content, "cut": tiff.content[:-4000]}.items():
        path = tmp_path / f"{name}.tif"
        path.write_bytes(content)
        placed = mutants.Placed(path, tiff, Mutant(tiff, CUT, content))
        cases[name] = FaultCase(name)
        rows = {str(path): {"status": "ok", "format": "TIFF"}}
        mutants._check_pictures(cases[name], [placed], rows, tiny_bundle)
    assert not cases["whole"].broken and cases["cut"].broken
