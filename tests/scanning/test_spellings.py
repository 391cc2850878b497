"""However the photos are named, on whatever day, each has one row, and it is the same one."""

from __future__ import annotations

import os
import random

import pyarrow.dataset as ds
import pytest

from tests.scanning.dying import quick_scan


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Photos, and links to them from inside and outside."""
    photos = tmp_path / "real/photos"
    (photos / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/b.jpg", "sub/c\udcff \u00fc.jpg"):
        (photos / name).write_text("ok")
    (photos / "to_a.jpg").symlink_to("a.jpg")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "direct").symlink_to(photos)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def spellings(place):
    """Sources and options, each of which means all the photos."""
    photos = f"{place}/real/photos"
    listed = place / "list.txt"
    names = ("a.jpg", "./sub/b.jpg", "sub//c\udcff \u00fc.jpg", "sub/../to_a.jpg", "a.jpg")
    listed.write_bytes(b"\r\n".join(os.fsencode(f"../direct/{name}") for name in names))
    ways = [
        photos, f"{photos}/", f"/{photos}", f"//{photos}", f"{photos}//", "../real/photos",
        "../real/./photos/.", f"{photos}/sub/..", "../link/photos", f"{place}/direct",
        f"{place}/direct/", "../direct/sub/../../photos", f"@{listed}", "../real/photos/**",
        f"{place}/link/ph*/*", f"{place}/[l]ink/**/*.jpg",
    ]  # fmt: skip
    return [(way, follow) for way in ways for follow in (False, True)]


def rows(place, out="out"):
    table = ds.dataset(place / out).to_table(columns=["uri", "path", "content_hash"])
    return sorted(tuple(row.values()) for row in table.to_pylist())


def test_every_spelling_gives_the_same_rows(place):
    ways = spellings(place)
    quick_scan(ways[0][0], place / "out")
    expected = rows(place)
    assert [uri.rpartition("/")[2] for uri, _, _ in expected] == [
        "a.jpg", "b.jpg", "c%FF%20%C3%BC.jpg", "to_a.jpg",
    ]  # fmt: skip
    for way, follow in ways[1:]:
        tally, _, work = quick_scan(way, place / "out", follow_symlinks=follow)
        assert (tally.already_done, tally.vanished, work.discovery.discovered) == (4, 0, 4), way
        assert rows(place) == expected, way


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_days_gives_the_same_table(place, seed):
    rng = random.Random(seed)
    quick_scan(f"{place}/real/photos", place / "first")
    ways = spellings(place)
    for _ in range(5):
        way, follow = rng.choice(ways)
        quick_scan(way, place / "out", follow_symlinks=follow)
    assert rows(place) == rows(place, "first")


def test_a_link_that_comes_later_changes_no_uri(place):
    """It is met before the directory that it leads to."""
    (place / "elsewhere").mkdir()
    (place / "elsewhere/d.jpg").write_text("ok")
    photos = place / "real/photos"
    (photos / "outside").symlink_to(place / "elsewhere")
    quick_scan(photos, place / "out", follow_symlinks=True)
    before = rows(place)
    assert len(before) == 5
    (photos / "_first").symlink_to("sub")
    (photos / "0ther").symlink_to(place / "elsewhere")
    tally, _, _ = quick_scan(photos, place / "out", follow_symlinks=True)
    assert (tally.already_done, tally.vanished) == (5, 0)
    assert rows(place) == before


def test_the_whole_file_system_as_a_source_has_uris_that_lead_back(place, monkeypatch):
    """The root itself, listed no further than the photos."""
    import inspector.photos.local as local

    keep = {part for part in (place / "real/photos/sub").parts}
    real = local._list
    monkeypatch.setattr(
        local, "_list",
        lambda path, listing: [e for e in real(path, listing) if e.name in keep or (e.is_file()
                            and e.path.startswith(str(place / "real")))],
    )  # fmt: skip
    quick_scan("/", place / "out")
    from_root = rows(place)
    quick_scan(place / "real/photos", place / "second")
    assert from_root == rows(place, "second")
