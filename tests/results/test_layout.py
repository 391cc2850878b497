"""A result directory holds what it should where it should, and nobody else's files are touched."""

from __future__ import annotations

import io
import os

import pyarrow.parquet as pq
import pytest

from inspector.core.layout import Layout
from inspector.errors import OutputError
from tests.results.test_results import look_into_any, numbers_in, snapshot, write


def test_overwrite_removes_our_files_and_no_others(tmp_path):
    write(tmp_path, 1, 2, rows_per_part=1)
    (tmp_path / "notes.txt").write_text("mine")
    names = "table/part-x.parquet _inspector/a _inspector/b/c _inspector/x.partial part-0.parquet"
    mine = [tmp_path / name for name in names.split()]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine too")
    write(tmp_path, 7, identity={"model": "c"}, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert {file.read_text() for file in mine} == {"mine too"}
    for file in [*mine, tmp_path / "notes.txt"]:
        file.unlink()
    assert numbers_in(tmp_path) == [7]


@pytest.mark.parametrize("name", ["_inspector", "table"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_is_never_followed_to_what_lies_elsewhere(tmp_path, name, overwrite):
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    write(theirs, 1)
    before = snapshot(theirs)
    out.mkdir()
    (out / name).symlink_to(theirs / name)
    for act in (write, look_into_any):
        with pytest.raises(OutputError, match="is a link"):
            act(out, **({"overwrite": overwrite} if act is write else {}))
    assert snapshot(theirs) == before and os.listdir(out) == [name]


def test_out_itself_may_be_a_link(tmp_path):
    (tmp_path / "large disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "large disk")
    write(tmp_path / "out", 1)
    write(tmp_path / "out", 2)
    assert numbers_in(tmp_path / "large disk") == [1, 2]


def test_every_page_of_a_part_carries_a_checksum(tmp_path):
    """A bit that flips in any column is told by it, before anything is unpacked."""
    write(tmp_path, *range(5))
    part = tmp_path / "table/part-000000.parquet"
    content = part.read_bytes()
    group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
    for column in map(group.column, range(group.num_columns)):
        end = column.data_page_offset + column.total_compressed_size
        if column.dictionary_page_offset is not None:
            end = column.dictionary_page_offset + column.total_compressed_size
        damaged = bytearray(content)
        damaged[end - 1] ^= 1
        file = pq.ParquetFile(io.BytesIO(damaged), page_checksum_verification=True)
        with pytest.raises(OSError, match="checksum"):
            file.read()


def test_overlays_of_photos_with_the_same_name_lie_apart(tmp_path):
    """And any name makes one that every file system takes."""
    uris = ["file:///a/IMG_1.jpg", "file:///b/IMG_1.jpg", "file:///a/IMG%5F1.jpg",
            "file:///a/caf%E9%0A.jpg", "file:///a/..", "file:///a/" + "x" * 300,
            "file:///a/scan.tif#page=2", "file:///a/"]  # fmt: skip
    files = [Layout(tmp_path).heatmap(uri) for uri in uris]
    assert len({file.name.casefold() for file in files}) == len(uris)
    assert files[0].name.startswith("IMG_1.jpg-")
    for file in files:
        assert file.parent == tmp_path / "_heatmaps" and len(file.name) < 120
        assert file.name.isascii() and set(file.name).isdisjoint('/\\:*?"<>|\n #')
