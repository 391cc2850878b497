"""What people said goes along with the bytes of a photo, and no decision goes without a word."""

from __future__ import annotations

import os
import shutil

import pytest

from inspector.photos.address import uri_of
from inspector.results.labels import Label, open_labels
from inspector.scanning.following import Following
from tests.reviewing.tables import labelled
from tests.said import say
from tests.scanning.dying import quick_scan

FOLDERS = ("north", "south")


@pytest.fixture
def wall(tmp_path):
    """A folder with two photos in each of two others, all labelled."""
    folder, out = tmp_path / "wall", tmp_path / "out"
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        for k in range(2):
            (folder / name / f"{k}.jpg").write_text(f"ok {name} {k}")
    quick_scan(folder, out)
    for name in FOLDERS:
        for k, label in enumerate((Label.CRACK, Label.UNSURE)):
            say(out, uri_of(str(folder / name / f"{k}.jpg")), label)
    return folder


def scanned(folder, **options):
    """Scan again, and what became of the labels; of what is said, by the names of the photos."""
    out = folder.parent / "out"
    tally, results, work = quick_scan(folder, out, **options)
    said = {
        os.path.relpath(row["path"], folder): row["human_verdict"]
        for row in labelled(out).to_pylist()
    }
    return tally, work.followed, said, results


def test_labels_follow_a_folder_that_has_another_name(wall):
    (wall / "north").rename(wall / "north A")
    tally, followed, said, results = scanned(wall)
    assert followed == Following(moved=2)
    assert (tally.vanished, tally.moved_away, results.pruned) == (2, 2, 0)
    assert (said["north A/0.jpg"], said["north A/1.jpg"]) == ("crack", "unsure")
    tally, followed, said, results = scanned(wall, prune=True)
    assert followed == Following() and results.pruned == 2
    assert set(said) == {"north A/0.jpg", "north A/1.jpg", "south/0.jpg", "south/1.jpg"}


def test_labels_follow_photos_that_swap_their_names(wall):
    for old, new in (("0", "x"), ("1", "0"), ("x", "1")):
        (wall / f"north/{old}.jpg").rename(wall / f"north/{new}.jpg")
    os.utime(wall / "north/0.jpg", (1, 1))
    os.utime(wall / "north/1.jpg", (2, 2))
    _, followed, said, _ = scanned(wall)
    assert followed == Following(moved=2)
    assert (said["north/0.jpg"], said["north/1.jpg"]) == ("unsure", "crack")


def test_after_a_kill_the_next_scan_lets_them_follow(wall, monkeypatch):
    (wall / "north").rename(wall / "north A")
    monkeypatch.setattr("tests.scanning.dying.follow_photos", lambda *_: Following())
    assert scanned(wall, prune=True)[1] == Following()
    monkeypatch.undo()
    _, followed, said, _ = scanned(wall)
    assert followed == Following(moved=2) and said["north A/0.jpg"] == "crack"


def test_of_copies_each_has_labels_of_its_own(wall):
    shutil.copy(wall / "north/0.jpg", wall / "copy.jpg")
    _, followed, said, _ = scanned(wall)
    assert followed == Following() and "copy.jpg" not in said
    say(wall.parent / "out", uri_of(str(wall / "north/0.jpg")), Label.CLEAR)
    (wall / "north/0.jpg").unlink()
    _, followed, said, _ = scanned(wall)
    assert followed == Following(at_risk=1), "the copy was there when the photo was looked at"
    _, followed, said, _ = scanned(wall, prune=True)
    assert followed == Following(dropped=1) and "copy.jpg" not in said
    assert scanned(wall)[1] == Following(), "it is said once"


def test_where_a_photo_has_gone_must_be_clear(wall):
    shutil.copy(wall / "north/0.jpg", wall / "one.jpg")
    (wall / "north/0.jpg").rename(wall / "other.jpg")
    tally, followed, said, _ = scanned(wall)
    assert followed == Following(at_risk=1) and tally.moved_away == 1
    assert "one.jpg" not in said and said["north/0.jpg"] == "crack"
    tally, followed, said, results = scanned(wall, moved=f"{wall}/north/0.jpg={wall}/other.jpg")
    assert (results.moved, results.labels_moved, followed) == (1, 1, Following())
    assert said["other.jpg"] == "crack" and tally.vanished == 0


def test_what_counts_no_longer_is_counted(wall):
    (wall / "north/0.jpg").write_text("ok turned upright")
    (wall / "south/0.jpg").unlink()
    _, followed, said, _ = scanned(wall, prune=True)
    assert followed == Following(changed=1, dropped=1)
    assert set(said) == {"north/1.jpg", "south/1.jpg"}
    assert scanned(wall)[1] == Following()


def test_what_a_person_takes_back_stays_taken_back(wall):
    (wall / "north/0.jpg").rename(wall / "moved.jpg")
    assert scanned(wall)[1] == Following(moved=1)
    with open_labels(wall.parent / "out", "ann") as labels:
        undone = labels.undo()
        assert undone is not None and undone["uri"] == uri_of(str(wall / "moved.jpg"))
    _, followed, said, _ = scanned(wall)
    assert followed.moved == 0 and "moved.jpg" not in said


def test_a_review_that_is_open_does_not_stop_the_scan(wall):
    (wall / "north/0.jpg").rename(wall / "moved.jpg")
    with open_labels(wall.parent / "out", "bob"):
        _, followed, _, results = scanned(wall)
    assert followed == Following() and "being reviewed" in results.notes[-1]
    assert scanned(wall)[1] == Following(moved=1)


def test_damaged_labels_do_not_stop_it(wall):
    (wall.parent / "out/_inspector/labels.jsonl").write_text("{}\n")
    results = quick_scan(wall, wall.parent / "out")[1]
    assert "damaged" in results.notes[-1]
