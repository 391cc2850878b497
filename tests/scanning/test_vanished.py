"""Which rows count as those of files that are gone, and what is kept all the same."""

from __future__ import annotations

import os

import pytest

from inspector.scanning.worklist import StopSignals
from tests.scanning.dying import quick_scan, table_of


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.jpg", "sub/d\udcff\n%20.jpg"):
        (folder / name).write_text("ok")
    quick_scan(folder, tmp_path / "out")
    return folder


def test_gone_files_are_counted_and_dropped_when_asked(photos, tmp_path):
    (photos / "a.jpg").unlink()
    (photos / "sub/d\udcff\n%20.jpg").unlink()
    tally, results, _ = quick_scan(photos, tmp_path / "out")
    assert (tally.vanished, results.pruned, results.rows) == (2, 0, 4)
    tally, results, _ = quick_scan(photos, tmp_path / "out", prune=True)
    assert (tally.vanished, results.pruned, results.rows) == (2, 2, 2)
    assert set(table_of(tmp_path / "out")) == {"b.jpg", "c.jpg"}
    assert quick_scan(photos, tmp_path / "out", prune=True)[0].vanished == 0


def test_more_parts_than_one_step_takes(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(40):
        (photos / f"{k:02}.jpg").write_text("ok")
    quick_scan(photos, tmp_path / "out", rows_per_part=3)
    for k in range(39):
        (photos / f"{k:02}.jpg").unlink()
    assert quick_scan(photos, tmp_path / "out", prune=True)[1].pruned == 39
    assert set(table_of(tmp_path / "out")) == {"39.jpg"}


def test_what_is_there_but_not_listed_is_kept(photos, tmp_path):
    (photos / "a.jpg").rename(photos / "a.txt")
    (photos / "a.jpg").symlink_to("sub")
    tally, results, _ = quick_scan(photos, tmp_path / "out", prune=True)
    assert (tally.vanished, results.pruned, results.rows) == (0, 0, 4)


def test_rows_below_other_sources_are_not_touched(photos, tmp_path):
    (photos / "a.jpg").unlink()
    tally, results, _ = quick_scan(photos / "sub", tmp_path / "out", prune=True)
    assert (tally.vanished, results.pruned, results.rows) == (0, 0, 4)


def test_an_empty_source_may_be_a_drive_that_is_not_mounted(photos, tmp_path):
    photos.rename(tmp_path / "elsewhere")
    photos.mkdir()
    tally, results, work = quick_scan(photos, tmp_path / "out", prune=True)
    assert (tally.vanished, results.pruned, results.rows) == (0, 0, 4)
    assert "no photo was found" in work.discovery.notes[0] and "4 rows" in work.discovery.notes[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every directory")
def test_a_directory_that_may_not_be_entered_hides_nothing(photos, tmp_path):
    (photos / "sub").chmod(0)
    try:
        tally, _, _ = quick_scan(photos, tmp_path / "out", prune=True)
    finally:
        (photos / "sub").chmod(0o755)
    assert tally.vanished == 0


def test_a_signal_ends_it(photos, tmp_path, monkeypatch):
    (photos / "a.jpg").unlink()
    monkeypatch.setattr(
        "inspector.scanning.worklist.Worklist.__iter__", lambda self: _stop_after(self)
    )
    _, results, _ = quick_scan(photos, tmp_path / "out", prune=True)
    assert results.pruned == 0


def _stop_after(work):
    yield from work._refs
    assert isinstance(work.stop, StopSignals)
    work.stop.received = 2
