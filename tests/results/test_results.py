"""A result directory loses no row, doubles none and touches nothing that is not its own."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import OutputError
from inspector.results.labels import Decision, Label, open_labels
from inspector.results.opening import look_into
from inspector.results.schema import SCHEMA, make_row, to_table
from inspector.results.store import open_results
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning.pipeline import ParquetSink
from inspector.types import Failure, FailureCode, ImageRef
from tests.reviewing.tables import labelled

IDENTITY = {"model": "a" * 64, "precision": "fp32"}


def ref(number, size=0, mtime_us=0):
    return ImageRef(number, f"{number}.jpg", f"file:///{number}.jpg", size, mtime_us)


def rows(*numbers, detail="x", **facts):
    failures = [Failure(ref(n, **facts), FailureCode.EMPTY, detail) for n in numbers]
    return [make_row(failure, None) for failure in failures]


def write(out, *numbers, identity=IDENTITY, overwrite=False, **limits):
    with (
        open_results(out, identity, overwrite=overwrite) as results,
        ParquetSink(results, {"tool_version": "0"}, **limits) as sink,
    ):
        for number in numbers:
            sink.add(to_table(rows(number), {}))
    return sink.committed


def numbers_in(out):
    return [int(uri[8:-4]) for uri in ds.dataset(out).to_table()["uri"].to_pylist()]


def known(ledger, *numbers):
    """Those of `numbers` that have a row."""
    marks = ledger.look_up([ref(n) for n in numbers]).known_N
    return [n for n, mark in zip(numbers, marks, strict=True) if mark]


def snapshot(out):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file()}


@settings(deadline=None, max_examples=25)
@given(chunks=st.lists(st.integers(0, 7), max_size=8), rows_per_part=st.integers(1, 9))
def test_rows_come_out_once_in_order_whatever_the_chunks(tmp_path_factory, chunks, rows_per_part):
    out = tmp_path_factory.mktemp("out")
    total = sum(chunks)
    waiting = iter(rows(*range(total)))
    with (
        open_results(out, IDENTITY, overwrite=False) as results,
        ParquetSink(results, {}, rows_per_part=rows_per_part) as sink,
    ):
        for count in chunks:
            sink.add(to_table([next(waiting) for _ in range(count)], {}))
    assert sink.committed == total == results.rows
    assert numbers_in(out) == list(range(total))
    sizes = [part.rows for part in results.parts]
    assert all(size == rows_per_part for size in sizes[:-1])


def test_layout_metadata_and_manifest(tmp_path):
    write(tmp_path, *range(5), rows_per_part=2)
    names = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
    parts = [f"part-00000{k}.parquet" for k in range(3)]
    work = ["_inspector", "_inspector/lock", "_inspector/manifest.json"]
    work += [f"_inspector/part-00000{k}.photos" for k in range(3)]
    assert names == [*work, "table", *(f"table/{part}" for part in parts)]
    manifest = json.loads((tmp_path / "_inspector/manifest.json").read_text())
    assert [(part["file"], part["rows"]) for part in manifest["parts"]] == list(
        zip(parts, (2, 2, 1), strict=True)
    )
    assert manifest["identity"]["model"] == IDENTITY["model"]
    file = pq.ParquetFile(tmp_path / "table" / parts[0])
    assert file.schema_arrow.equals(SCHEMA)
    assert file.schema_arrow.metadata[b"inspector.tool_version"] == b"0"
    assert file.schema_arrow.metadata[b"inspector.fingerprint"].decode() == manifest["fingerprint"]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_other_readers_take_the_directory_as_it_is(tmp_path):
    write(tmp_path, *range(5), rows_per_part=2)
    query = f"select count(*), min(failure_code) from '{tmp_path}/table/*.parquet'"
    assert duckdb.sql(query).fetchall() == [(5, "empty")]
    assert ds.dataset(tmp_path).schema.equals(SCHEMA)


def test_a_scan_without_rows_is_an_empty_table(tmp_path):
    write(tmp_path)
    assert ds.dataset(tmp_path).to_table().schema.equals(SCHEMA)
    assert numbers_in(tmp_path) == []


def test_slow_work_is_committed_in_time(tmp_path):
    with (
        open_results(tmp_path, IDENTITY, overwrite=False) as results,
        ParquetSink(results, {}, seconds_per_part=-1.0) as sink,
    ):
        sink.add(to_table(rows(1), {}))
        assert sink.committed == 1


def test_continuing_knows_what_is_done_and_a_second_time_touches_nothing(tmp_path):
    write(tmp_path, 1, 2)
    with open_results(tmp_path, IDENTITY, overwrite=False) as results:
        assert known(results.ledger, 1, 2, 3) == [1, 2]
    assert known(look_into(tmp_path, IDENTITY), 1, 2, 3) == [1, 2]
    before = snapshot(tmp_path)
    write(tmp_path)
    assert snapshot(tmp_path) == before
    write(tmp_path, 3)
    assert numbers_in(tmp_path) == [1, 2, 3]


def test_a_crash_between_part_and_manifest_loses_nothing(tmp_path, monkeypatch):
    write(tmp_path, 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("inspector.results.store.Results._write_manifest", _crash)
        write(tmp_path, 2)
    (tmp_path / "_inspector/part-000002.parquet.partial").write_bytes(b"half a part")
    write(tmp_path, 3)
    assert numbers_in(tmp_path) == [1, 2, 3]
    assert not list(tmp_path.rglob("*.partial"))
    manifest = json.loads((tmp_path / "_inspector/manifest.json").read_text())
    assert [part["rows"] for part in manifest["parts"]] == [1, 1, 1]


def _crash(*args):
    raise KeyboardInterrupt


def test_a_part_that_was_removed_is_done_no_more(tmp_path):
    write(tmp_path, 1, 2, rows_per_part=1)
    (tmp_path / "table/part-000000.parquet").unlink()
    with open_results(tmp_path, IDENTITY, overwrite=False) as results:
        assert known(results.ledger, 1, 2) == [2]
    write(tmp_path, 3)
    assert numbers_in(tmp_path) == [2, 3]


@pytest.mark.parametrize("change", [{"model": "b" * 64}, {"precision": "int8"}])
def test_another_scan_is_refused_with_the_choices(tmp_path, change):
    write(tmp_path, 1)
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match=r"--out.*--overwrite") as caught:
        write(tmp_path, 2, identity=IDENTITY | change)
    assert next(iter(change)) in str(caught.value)
    with pytest.raises(OutputError):
        look_into(tmp_path, IDENTITY | change)
    assert snapshot(tmp_path) == before


def test_what_people_said_outlives_every_kind_of_scan(tmp_path):
    write(tmp_path, 1, 2)
    with open_labels(tmp_path, "ann") as store:
        store.add(
            Decision(
                uri=ref(1).uri, label=Label.CRACK, content_hash=None, size_bytes=0,
                mtime=datetime(1970, 1, 1), verdict=None, p_crack=None, model=None,
            )
        )  # fmt: skip
        assert verify(VerifyConfig(out=tmp_path)).notes == (), "a review is not a scan that writes"
        write(tmp_path, 3)
        write(tmp_path, 1, 7, identity={"model": "c"}, overwrite=True)
        assert labelled(tmp_path)["human_verdict"].to_pylist() == ["crack"]
    assert sorted(numbers_in(tmp_path)) == [1, 7]


@pytest.mark.parametrize("overwrite", [False, True])
def test_part_files_of_unknown_origin_are_never_touched(tmp_path, overwrite):
    (tmp_path / "table").mkdir()
    (tmp_path / "table/part-000000.parquet").write_bytes(b"precious")
    with pytest.raises(OutputError, match="not known whose"):
        write(tmp_path, 1, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["table"]
    assert (tmp_path / "table/part-000000.parquet").read_bytes() == b"precious"


def test_a_directory_with_other_files_may_be_used(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert write(tmp_path, 1) == 1


def test_a_damaged_part_or_one_of_another_scan_is_named(tmp_path):
    write(tmp_path / "a", 1)
    write(tmp_path / "b", 2, identity={"model": "b"})
    part = tmp_path / "a/table/part-000000.parquet"
    os.replace(tmp_path / "b/table/part-000000.parquet", tmp_path / "a/table/part-000001.parquet")
    with pytest.raises(OutputError, match=r"part-000001\.parquet is from another scan"):
        write(tmp_path / "a", 3)
    (tmp_path / "a/table/part-000001.parquet").unlink()
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(OutputError, match=r"part-000000\.parquet cannot be read"):
        write(tmp_path / "a", 3)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"nonsense", b'{"parts": [1]}'])
def test_a_damaged_manifest_is_an_error_that_overwrite_repairs(tmp_path, content):
    write(tmp_path, 1)
    (tmp_path / "_inspector/manifest.json").write_bytes(content)
    with pytest.raises(OutputError):
        write(tmp_path, 2)
    write(tmp_path, 3, overwrite=True)
    assert numbers_in(tmp_path) == [3]


def change_manifest(out, **values):
    file = out / "_inspector/manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_table_of_another_version_is_refused_with_the_choices(tmp_path):
    write(tmp_path, 1)
    change_manifest(tmp_path, schema_version=99, tool_version="9.9")
    for act in (write, look_into_any):
        with pytest.raises(OutputError, match=r"schema 99.* 9\.9;.*--out.*--overwrite"):
            act(tmp_path)
    write(tmp_path, 2, overwrite=True)
    assert numbers_in(tmp_path) == [2]


def look_into_any(out):
    return look_into(out, IDENTITY)


def test_a_part_with_other_columns_or_rows_is_refused(tmp_path):
    write(tmp_path, 1, 2, 3)
    part = tmp_path / "table/part-000000.parquet"
    whole = pq.read_table(part)
    pq.write_table(whole.slice(0, 2), part)
    with pytest.raises(OutputError, match="not the file that was committed"):
        write(tmp_path)
    pq.write_table(whole.drop_columns(["camera"]), part)
    with pytest.raises(OutputError, match="other columns"):
        write(tmp_path)


def test_a_copied_part_is_two_rows_for_one_file(tmp_path):
    write(tmp_path, 1, 2)
    (tmp_path / "table/part-000007.parquet").write_bytes(
        (tmp_path / "table/part-000000.parquet").read_bytes()
    )
    with pytest.raises(OutputError, match=r"part-000000\.parquet and .*part-000007\.parquet"):
        write(tmp_path)


def test_an_announced_rewrite_is_taken_in_either_state_and_in_no_other(tmp_path):
    write(tmp_path, 1, 2)
    part = tmp_path / "table/part-000000.parquet"
    old = part.read_bytes()
    names = part.name, "part-000003.parquet"
    new = [{"file": name, "rows": 1, "sha256": "0" * 64} for name in names]
    change_manifest(tmp_path, rewriting=new)
    write(tmp_path)
    assert json.loads((tmp_path / "_inspector/manifest.json").read_text())["rewriting"] == []
    change_manifest(tmp_path, rewriting=new[:1])
    part.write_bytes(old[:4] + bytes([old[4] ^ 1]) + old[5:])
    with pytest.raises(OutputError, match="not the file that was committed"):
        write(tmp_path)


def test_new_rows_take_the_place_of_old_ones(tmp_path):
    """Order, compression and metadata of what stays are as before; a part without rows stays."""
    write(tmp_path, *range(6), rows_per_part=3)
    with (
        open_results(tmp_path, IDENTITY, overwrite=False) as results,
        ParquetSink(results, {"tool_version": "1"}) as sink,
    ):
        sink.add(to_table(rows(9, 1, 3, 4, 5, detail="new", mtime_us=5), {}))
    assert (results.superseded, results.rows) == (4, 7)
    assert numbers_in(tmp_path) == [0, 2, 9, 1, 3, 4, 5]
    first, second = (tmp_path / f"table/part-00000{k}.parquet" for k in (0, 1))
    assert pq.read_metadata(second).num_rows == 0
    file = pq.ParquetFile(first)
    assert file.schema_arrow.equals(SCHEMA)
    assert file.schema_arrow.metadata[b"inspector.tool_version"] == b"0"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_one_writer_at_a_time(tmp_path):
    with (
        open_results(tmp_path, IDENTITY, overwrite=False),
        pytest.raises(OutputError, match="another process"),
        open_results(tmp_path, IDENTITY, overwrite=False),
    ):
        pass
    write(tmp_path, 1)


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with open_results(tmp_path, IDENTITY, overwrite=False) as results:
        assert "has no locks" in results.notes[0]


def test_out_that_cannot_be_a_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(OutputError):
            write(out, 1)


def test_a_full_disk_says_how_much_is_safe(tmp_path):
    """A real limit on file size stands in for the full disk: the write fails half way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (
        pytest.raises(OutputError, match=r"2 rows are committed") as caught,
        open_results(tmp_path, IDENTITY, overwrite=False) as results,
        ParquetSink(results, {}, rows_per_part=2) as sink,
    ):
        sink.add(to_table(rows(1, 2), {}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            sink.add(to_table(rows(3, 4, 5), {}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(tmp_path) in str(caught.value)
    assert numbers_in(tmp_path) == [1, 2]
    write(tmp_path, 3, 4, 5)
    assert numbers_in(tmp_path) == [1, 2, 3, 4, 5]


def test_rows_of_an_error_elsewhere_are_kept_those_of_an_abort_are_not(tmp_path):
    for error, number in ((RuntimeError, 1), (KeyboardInterrupt, 2)):
        with (
            pytest.raises(error),
            open_results(tmp_path, IDENTITY, overwrite=False) as results,
            ParquetSink(results, {}) as sink,
        ):
            sink.add(to_table(rows(number), {}))
            raise error
    assert numbers_in(tmp_path) == [1]


def test_relative_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("results/deep"), 1)
    assert numbers_in("results/deep") == [1]
