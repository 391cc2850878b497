"""Photos that moved keep rows and labels; places that are gone for good lose theirs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from inspector.core.text import print_lines
from inspector.errors import OutputError, SourceError, UsageError
from inspector.photos.address import Moved, uri_of
from inspector.results.labels import Label, open_labels
from inspector.results.opening import look_into
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning import ScanConfig, preview, scan
from inspector.scanning.outcome import summary_lines
from tests.reviewing.tables import labelled
from tests.said import read_labels, say
from tests.scanning.dying import IDENTITY, Killed, dying_at, quick_scan, table_of
from tests.scanning.walls import wall


def place_of(out):
    """Each row's address and path by name."""
    rows = ds.dataset(out / "table").to_table(columns=["uri", "path", "detail"]).to_pylist()
    assert len({row["uri"] for row in rows}) == len(rows)
    assert all(uri_of(row["path"]) == row["uri"] for row in rows)
    return {row["uri"] for row in rows}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Photos of two sites in one table, of which one was then moved to another drive."""
    root = tmp_path_factory.mktemp("begun")
    for name in ("old/a.jpg", "old/sub/b c.jpg", "old/d.jpg", "older/e.jpg", "other/f.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"ok {name}")
    quick_scan(root, root / "out")
    (root / "drive").mkdir()
    shutil.move(root / "old", root / "drive/new")
    return root


@pytest.fixture
def out(begun, tmp_path):
    shutil.copytree(begun / "out", tmp_path / "out")
    return tmp_path / "out"


def test_rows_follow_their_photos_which_are_not_judged_again(begun, out):
    moved = f"{begun}/old={begun}/drive/new"
    for rows in (3, 0):
        tally, results, _ = quick_scan(begun, out, moved=moved, prune=True)
        assert (tally.already_done, tally.vanished, results.moved) == (5, 0, rows)
    assert "there is none to move" in results.notes[0]
    assert place_of(out) == {
        uri_of(f"{begun}/{name}")
        for name in (
            "drive/new/a.jpg", "drive/new/sub/b c.jpg", "drive/new/d.jpg", "older/e.jpg",
            "other/f.jpg",
        )
    }  # fmt: skip


def test_killed_at_every_step_each_row_has_one_address(begun, out, tmp_path):
    def move():
        quick_scan(begun, out, moved=f"{begun}/old={begun}/drive/new")

    shutil.copytree(out, tmp_path / "before")
    content = table_of(out)
    before = place_of(out)
    with dying_at(None) as steps:
        move()
    after = place_of(out)
    assert len(before & after) == 2 and "replace" in steps
    for step in range(len(steps)):
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "before", out)
        with pytest.raises(Killed), dying_at(step):
            move()
        assert place_of(out) <= before | after and table_of(out) == content
        move()
        assert place_of(out) == after and table_of(out) == content


def test_after_a_scan_has_met_them_the_photos_are_taken_as_moved_all_the_same(begun, out):
    """Their rows are there by the new addresses; the old ones go, and labels go along."""
    say(out, uri_of(f"{begun}/old/a.jpg"), Label.CRACK)
    assert quick_scan(begun / "drive/new", out)[2].followed.moved == 1
    say(out, uri_of(f"{begun}/old/d.jpg"), Label.UNSURE)
    assert len(place_of(out)) == 8
    moved = f"{begun}/old={begun}/drive/new"
    config = {"sources": (str(begun),), "out": out}
    assert look_into(out, IDENTITY, moved=ScanConfig(**config, moved=moved).moves()).unseen == 8
    tally, results, _ = quick_scan(begun, out, moved=moved)
    assert (results.moved, results.labels_moved, results.pruned) == (3, 1, 0)
    assert (tally.already_done, tally.vanished, results.rows) == (5, 0, 5)
    said = {row["uri"]: row["human_verdict"] for row in labelled(out).to_pylist()}
    new = {
        uri_of(f"{begun}/drive/new/{name}.jpg"): label
        for name, label in zip("ad", ("crack", "unsure"), strict=True)
    }
    assert said == new and new.keys() < place_of(out)
    assert quick_scan(begun, out, moved=moved)[1].labels_moved == 0


def test_two_photos_never_get_one_address(begun, out, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new/a.jpg").write_text("ok another")
    quick_scan(tmp_path / "new", out)
    before = place_of(out)
    with pytest.raises(OutputError, match=r"(?s)new/a\.jpg already.*other bytes.*--prune"):
        quick_scan(begun, out, moved=f"{begun}/old={tmp_path}/new")
    shutil.copytree(begun / "other", tmp_path / "copy")
    quick_scan(tmp_path / "copy", out)
    with pytest.raises(OutputError, match=r"(?s)copy/f\.jpg already.*still there"):
        quick_scan(begun, out, moved=f"{begun}/other={tmp_path}/copy")
    assert place_of(out) > before
    tally, results, _ = quick_scan(begun / "drive", out, source_gone=(str(begun / "old"),))
    assert (tally.already_done, results.pruned) == (0, 3)


def test_a_photo_and_an_archive_move_alone(begun, out):
    moved = f"{begun}/old/a.jpg={begun}/drive/new/a.jpg"
    tally, results, _ = quick_scan(begun, out, moved=moved)
    assert (results.moved, tally.vanished) == (1, 2)
    assert uri_of(f"{begun}/drive/new/a.jpg") in place_of(out)
    found = Moved.parse(moved)
    old, new = (uri_of(f"{begun}/{name}/a.jpg") for name in ("old", "drive/new"))
    for tail in ("", "#page=2", "!/wall.png"):
        assert found.apply(old + tail) == new + tail
    assert found.apply(f"{old}x") == f"{old}x"


def test_only_what_is_gone_is_dropped_below_a_place_that_is_gone(begun, out, tmp_path):
    for places in ((f"{begun}/ol",), (str(begun / "other"), f"{begun}/older/")):
        _, results, work = quick_scan(begun / "drive", out, source_gone=places)
        assert results.pruned == 0
        idle = [note for note in work.discovery.notes if "none was dropped" in note]
        assert len(idle) == len(places) and all(map(str.__contains__, idle, sorted(places)))
    (begun / "link").symlink_to("old")
    try:
        tally, results, work = quick_scan(begun / "drive", out, source_gone=(f"{begun}/link",))
    finally:
        (begun / "link").unlink()
    assert (tally.vanished, results.pruned, results.rows) == (3, 3, 5)
    assert not any("none was dropped" in note for note in work.discovery.notes)


def test_what_cannot_be_meant_is_refused(begun, out):
    with pytest.raises(SourceError, match="is not there"):
        quick_scan(begun, out, moved=f"{begun}/old={begun}/nowhere")
    for options in (
        {"moved": "x"}, {"moved": "a=b", "overwrite": True}, {"source_gone": ("a",), "limit": 3},
        {"source_gone": ("a",), "overwrite": True},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            ScanConfig(sources=("x",), **options)


def test_what_people_said_goes_along(begun, out):
    old, new = (uri_of(f"{begun}/{place}/a.jpg") for place in ("old", "drive/new"))
    say(out, old, Label.CLEAR)
    say(out, old, Label.CRACK)
    for _ in range(2):
        quick_scan(begun, out, moved=f"{begun}/old={begun}/drive/new")
        (said,) = labelled(out).to_pylist()
        assert (said["uri"], said["human_verdict"]) == (new, "crack")
    assert read_labels(out)["reviewer"].to_pylist() == ["ann", "ann"]
    with open_labels(out, "ann") as labels:
        assert len(labels) == 3


def test_a_real_scan_after_a_move_is_proven_and_judges_nothing(
    tmp_path, tiny_bundle, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("card/DCIM").mkdir(parents=True)
    for k in range(3):
        wall(k).save(f"card/DCIM/{k}.png")
    options = {"out": Path("out"), "model": tiny_bundle.path, "precision": "fp32",
               "workers": 0}  # fmt: skip
    scan(ScanConfig(sources=("card",), **options))
    os.rename("card", "archiv \u00fc")
    config = ScanConfig(sources=("archiv \u00fc",), moved="card=archiv \u00fc", **options)
    seen = preview(config)
    assert (seen.new, seen.already_done, seen.notes) == (0, 3, [])
    summary = scan(config)
    assert (summary.moved, summary.already_done, summary.run.ok, summary.table.rows) == (3, 3, 0, 3)
    print_lines(summary_lines(summary))
    assert "moved      rows with the new address of their photos: 3" in capsys.readouterr().out
    result = verify(VerifyConfig(out=Path("out"), photos=True))
    assert (result.damage, result.notes, result.skipped) == ((), (), 0)


def test_review_and_report_mean_the_same_by_moved(tmp_path):
    assert Moved.parse(f"{tmp_path}/a={tmp_path}/b").apply(uri_of(f"{tmp_path}/ab/x")) == uri_of(
        f"{tmp_path}/ab/x"
    )


def test_photos_moved_into_a_folder_of_their_own_are_moved_once(tmp_path):
    photos, out = tmp_path / "p", tmp_path / "out"
    photos.mkdir()
    for name in "abc":
        (photos / f"{name}.jpg").write_text(f"ok {name}")
    quick_scan(photos, out)
    say(out, uri_of(f"{photos}/a.jpg"), Label.CRACK)
    (photos / "2026").mkdir()
    for photo in photos.glob("*.jpg"):
        photo.rename(photos / "2026" / photo.name)
    for rows, labels in ((3, 1), (0, 0)):
        tally, results, _ = quick_scan(photos, out, moved=f"{photos}={photos}/2026")
        assert (results.moved, results.labels_moved, tally.already_done) == (rows, labels, 3)
    assert place_of(out) == {uri_of(f"{photos}/2026/{name}.jpg") for name in "abc"}
