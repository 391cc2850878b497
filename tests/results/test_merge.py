"""Merged tables are one proven table, there at once or not at all; what does not belong together is
refused with a word."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta

import pyarrow.dataset as ds
import pytest

from inspector.errors import OutputError, UsageError
from inspector.photos.selection import Shard
from inspector.results.labels import Decision, Label, open_labels
from inspector.results.manifest import SHARD
from inspector.results.merge import MergeConfig, merge, merged_lines
from inspector.results.schema import to_table
from inspector.results.store import open_results
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning.pipeline import ParquetSink
from tests.results.verify.table import IDENTITY, flip, row
from tests.said import read_labels
from tests.scanning.dying import Killed, dying_at

COUNT = 3
NUMBERS = range(30)


def scan(out, numbers, *, shard=None, whole=True, **options):
    own = {} if shard is None else {SHARD: str(shard)}
    rows = [row(number) for number in numbers]
    with (
        open_results(out, IDENTITY | own | options, overwrite=False) as results,
        ParquetSink(results, {"tool_version": "0"}, rows_per_part=5) as sink,
    ):
        sink.add(to_table([r for r in rows if shard is None or shard.has(r["uri"])], {}))
        sink.commit()
        sink.finish()
        if whole:
            results.end()
    return out


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    for number in range(COUNT):
        scan(root / f"{number}", NUMBERS, shard=Shard(number, COUNT))
    return root


@pytest.fixture
def shards(scanned, tmp_path):
    for number in range(COUNT):
        shutil.copytree(scanned / f"{number}", tmp_path / f"{number}")
    return [tmp_path / f"{number}" for number in range(COUNT)]


def merged(tables, out, **options):
    return merge(MergeConfig(tables=tuple(tables), out=out, **options))


def numbers_in(out):
    uris = ds.dataset(out).to_table(columns=["uri"])["uri"].to_pylist()
    assert len(set(uris)) == len(uris)
    return {int(uri.rpartition("/")[2].partition("%")[0]) for uri in uris}


def proven(out):
    result = verify(VerifyConfig(out=out))
    assert (result.damage, result.notes, result.shard) == ((), (), None)
    return result.rows


def state(out):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file()}


def test_shards_become_one_table_that_a_scan_continues(shards, tmp_path):
    before = [state(out) for out in shards]
    result = merged(reversed(shards), tmp_path / "all")
    assert numbers_in(tmp_path / "all") == set(NUMBERS)
    assert proven(tmp_path / "all") == result.rows == len(NUMBERS)
    assert (result.copied, result.unchanged, result.shards) == (0, False, True)
    assert [state(out) for out in shards] == before
    assert {p.stat().st_nlink for p in (tmp_path / "all/table").iterdir()} == {2}
    once = state(tmp_path / "all")
    assert merged(shards, tmp_path / "all").unchanged
    assert state(tmp_path / "all") == once, "the second time touches nothing"
    assert "3 tables, all shards of a scan" in merged_lines(result)[0]
    scan(tmp_path / "all", [99])
    assert numbers_in(tmp_path / "all") == {*NUMBERS, 99}
    assert proven(tmp_path / "all") == 31
    with pytest.raises(OutputError, match=r"no merge has put there.*--overwrite"):
        merged(shards, tmp_path / "all")
    assert merged(shards, tmp_path / "all", overwrite=True).rows == proven(tmp_path / "all") == 30


def test_shards_that_have_grown_are_merged_again(shards, tmp_path):
    merged(shards, tmp_path / "all")
    for number, out in enumerate(shards):
        shard = Shard(number, COUNT)
        more = [k for k in range(30, 60) if shard.has(row(k)["uri"])]
        scan(out, more, shard=shard)
    assert merged(shards, tmp_path / "all").rows == proven(tmp_path / "all") == 60


def test_scans_of_different_photos_are_merged(tmp_path):
    scan(tmp_path / "north", range(7))
    scan(tmp_path / "south", range(7, 20))
    result = merged([tmp_path / "north", tmp_path / "south"], tmp_path / "all")
    assert numbers_in(tmp_path / "all") == set(range(20)) and not result.shards
    assert proven(tmp_path / "all") == 20
    scan(tmp_path / "west", range(20, 25))
    merged([tmp_path / "all", tmp_path / "west"], tmp_path / "more")
    assert proven(tmp_path / "more") == 25


def test_where_nothing_can_be_linked_parts_are_copied(shards, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise OSError(18, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    result = merged(shards, tmp_path / "all")
    assert result.copied == result.parts and proven(tmp_path / "all") == 30
    assert "copied, not linked" in merged_lines(result)[0]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda shards: shards.pop(1), "of 3 shards these are missing: 1/3"),
        (lambda shards: shards.append(shutil.copytree(shards[1], shards[1].parent / "twin")),
         "both shard 1/3"),
        (lambda shards: shards.append(scan(shards[0].parent / "x", NUMBERS, shard=Shard(0, 2))),
         "is shard 0/3, .*x is shard 0/2"),
        (lambda shards: shards.append(scan(shards[0].parent / "x", [77])), "x is no shard"),
        (lambda shards: scan(shards[2], [], shard=Shard(2, COUNT), whole=False) and
         _remove(shards[2], "table/part-000000.parquet"), "2 was not scanned to its end"),
        (lambda shards: _again(shards, model="b" * 64), "do not belong together.*model aaaaaaaa"),
        (lambda shards: _again(shards, clear_below="0.2"), "clear_below 0.3 .*0, 0.2 .*2"),
        (lambda shards: _again(shards, view="dense"), "view none .*0, dense"),
        (lambda shards: flip(shards[1] / "table/part-000000.parquet"), "not the file that was"),
        (lambda shards: shards.append(shards[0].parent / "nowhere"), "nowhere"),
        (lambda shards: _remove(shards[1], "_inspector/manifest.json"), "has no manifest"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused_with_a_word(shards, tmp_path, spoil, why):
    spoil(shards)
    with pytest.raises(OutputError, match=why):
        merged(shards, tmp_path / "all")
    if (tmp_path / "all").exists():
        assert proven(tmp_path / "all") == 0


def _again(shards, **options):
    shutil.rmtree(shards[2])
    scan(shards[2], NUMBERS, shard=Shard(2, COUNT), **options)


def _remove(out, name):
    (out / name).unlink()


def test_a_scan_that_was_stopped_is_not_merged_until_it_was_run_to_its_end(shards, tmp_path):
    shard = Shard(0, COUNT)
    more = next(k for k in range(30, 60) if shard.has(row(k)["uri"]))
    scan(shards[0], [more], shard=shard, whole=False)
    with pytest.raises(OutputError, match="0 was not scanned to its end"):
        merged(shards, tmp_path / "all")
    scan(shards[0], [], shard=shard)
    assert merged(shards, tmp_path / "all").rows == 31


def test_a_photo_with_a_row_in_two_tables_is_named(tmp_path):
    scan(tmp_path / "a", range(7))
    scan(tmp_path / "b", range(6, 9))
    with pytest.raises(OutputError, match=r"a and .*b both have a row for file:///p/6%20a\.jpg"):
        merged([tmp_path / "a", tmp_path / "b"], tmp_path / "all")


def test_a_table_is_not_merged_into_itself(tmp_path):
    with pytest.raises(UsageError, match="one of those to merge"):
        MergeConfig(tables=(tmp_path / "a",), out=tmp_path / "b/../a")
    with pytest.raises(UsageError, match="name the result"):
        MergeConfig(tables=(), out=tmp_path)


def test_killed_at_every_step_it_is_completed_by_the_same_call(shards, tmp_path):
    out = tmp_path / "all"
    merged(shards, out)
    _say(shards[1], 1, Label.CRACK, 5)
    shard = Shard(0, COUNT)
    scan(shards[0], [k for k in range(30, 40) if shard.has(row(k)["uri"])], shard=shard)
    rows, begun = merged(shards, tmp_path / "undisturbed").rows, tmp_path / "begun"
    out.rename(begun)
    shutil.copytree(begun, out)
    with dying_at(None) as steps:
        merged(shards, out)
    assert "link" in steps
    for step in range(len(steps)):
        shutil.rmtree(out)
        shutil.copytree(begun, out)
        with pytest.raises(Killed), dying_at(step):
            merged(shards, out)
        seen = verify(VerifyConfig(out=out))
        assert not seen.damage and seen.rows in (30, rows), (step, steps[step])
        assert merged(shards, out).rows == proven(out) == rows, (step, steps[step])
        assert read_labels(out)["label"].to_pylist() == ["crack"]
        assert not [p for p in out.rglob("*") if p.name.endswith(".partial")]


def _say(out, number, label, seconds):
    with open_labels(out, "ann") as store:
        store._now = lambda: {  # type: ignore[method-assign]
            "labelled_at": datetime(2026, 1, 1) + timedelta(seconds=seconds), "reviewer": "ann"
        }  # fmt: skip
        store.add(
            Decision(
                uri=row(number)["uri"], label=label, content_hash="0f" * 32, size_bytes=10,
                mtime=datetime(1970, 1, 1), verdict=None, p_crack=None, model=None,
            )
        )  # fmt: skip


def said(out):
    return {int(r["uri"][10:].partition("%")[0]): r["label"] for r in read_labels(out).to_pylist()}


def test_labels_come_along_and_the_newest_counts(shards, tmp_path):
    _say(shards[0], 1, Label.CRACK, 1)
    _say(shards[0], 2, Label.UNSURE, 2)
    _say(shards[1], 2, Label.CLEAR, 1)
    assert merged(shards, tmp_path / "all").labels == 2
    assert said(tmp_path / "all") == {1: "crack", 2: "unsure"}
    _say(tmp_path / "all", 1, Label.CLEAR, 9)
    _say(shards[2], 1, Label.UNSURE, 5)
    _say(shards[2], 2, Label.CRACK, 5)
    again = merged(shards, tmp_path / "all")
    assert (again.labels, again.unchanged) == (1, True)
    assert said(tmp_path / "all") == {1: "clear", 2: "crack"}
    assert merged(shards, tmp_path / "all").labels == 0
    with open_labels(shards[2], "ann") as store:
        store.undo()
    assert merged(shards, tmp_path / "all").labels == 1
    assert said(tmp_path / "all") == {1: "clear"}


def test_a_link_in_place_of_a_part_is_not_followed(shards, tmp_path):
    part = shards[0] / "table/part-000000.parquet"
    os.replace(part, tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="not a regular file"):
        merged(shards, tmp_path / "all")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["shard first", "shard last"])
def test_merge_refuses_a_shard_beside_a_table_of_all_photos(shards, tmp_path, order):
    tables = [shards[0], scan(tmp_path / "all photos", [100, 101])]
    with pytest.raises(OutputError, match=r"is shard 0/3, .*all photos is no shard"):
        merged([tables[k] for k in order], tmp_path / "all")
    assert not (tmp_path / "all").exists()
