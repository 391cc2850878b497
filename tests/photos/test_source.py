"""Every file is found exactly once, in an order that never changes, and nothing else is."""

from __future__ import annotations

import os
import random
import sys
import time
from urllib.parse import unquote_to_bytes

import pytest

from inspector.errors import SourceError
from inspector.photos.open_archive import OpenArchive
from inspector.photos.source import Discovery, count_images, gone_among, is_gone
from inspector.results.manifest import Manifest
from tests.photos.packed import pack

JPEG_HEAD = b"\xff\xd8\xff\xe0" + b"\0" * 20


def make(root, *names, content=b"x"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def make_results(out):
    """What tells a result directory from one of photos with the same name."""
    Manifest(identity={}).write(out)


def found(*sources):
    return [ref.path for ref in Discovery([str(source) for source in sources])]


def test_order_is_that_of_the_name_bytes_depth_first(tmp_path):
    names = ["b/1.jpg", "B.jpg", "a.jpg", "a/2.jpg", "a/10.jpg", "b.jpg", "\u00e4.jpg", "z/y/x.jpg"]
    shuffled = names[:]
    random.Random(3).shuffle(shuffled)
    make(tmp_path, *shuffled)
    assert [os.path.relpath(path, tmp_path) for path in found(tmp_path)] == [
        "B.jpg", "a/10.jpg", "a/2.jpg", "a.jpg", "b/1.jpg", "b.jpg", "z/y/x.jpg", "\u00e4.jpg",
    ]  # fmt: skip
    assert [ref.index for ref in Discovery([str(tmp_path)])] == list(range(8))


def test_yields_before_the_listing_ends(tmp_path):
    make(tmp_path, "a/1.jpg", "b/1.jpg")
    listing = iter(Discovery([str(tmp_path)]))
    next(listing)
    make(tmp_path, "b/2.jpg")
    assert [os.path.basename(ref.path) for ref in listing] == ["1.jpg", "2.jpg"]


def test_uri_holds_the_exact_bytes_and_path_is_as_found(tmp_path, monkeypatch):
    name = b"new\nline caf\xe9 #?%41.jpg"
    with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
        pass
    monkeypatch.chdir(tmp_path)
    for source in (".", str(tmp_path), "../" + tmp_path.name):
        (ref,) = Discovery([source])
        assert ref.uri.isascii()
        assert (
            unquote_to_bytes(ref.uri.removeprefix("file://")) == os.fsencode(tmp_path) + b"/" + name
        )
        assert ref.path == os.path.join(source, os.fsdecode(name))
        assert os.path.exists(ref.path)


def test_uri_does_not_trust_dots_behind_a_link(tmp_path):
    make(tmp_path, "real/deep/x", "real/a.jpg", "a.jpg")
    (tmp_path / "link").symlink_to("real/deep")
    (ref,) = Discovery([str(tmp_path / "link" / ".." / "a.jpg")])
    assert ref.uri.endswith("/real/a.jpg")


def test_content_decides_where_the_name_does_not(tmp_path):
    make(tmp_path, "photo", "photo.dat", content=JPEG_HEAD)
    make(tmp_path, "notes.txt", "Makefile", "b.TXT", "c.tar.gz", content=b"text")
    discovery = Discovery([str(tmp_path)])
    assert [os.path.basename(ref.path) for ref in discovery] == ["photo", "photo.dat"]
    assert discovery.ignored_by_suffix == {".txt": 2, "(none)": 1, ".gz": 1}
    assert discovery.discovered == 2


def test_an_explicit_file_always_gets_a_row(tmp_path):
    make(tmp_path, "notes.txt")
    assert found(tmp_path / "notes.txt") == [str(tmp_path / "notes.txt")]


def test_links_pipes_and_own_results(tmp_path):
    make(tmp_path, "photos/a.jpg", "other/b.jpg", "photos/out/_inspector/c.jpg", "photos/out/d.jpg")
    make_results(tmp_path / "photos/out")
    photos = tmp_path / "photos"
    (photos / "linked").symlink_to(tmp_path / "other")
    (photos / "loop").symlink_to(photos)
    (photos / "self.jpg").symlink_to("self.jpg")
    (photos / "gone.jpg").symlink_to("nowhere")
    (photos / "gone.txt").symlink_to("nowhere")
    os.mkfifo(photos / "pipe.jpg")
    os.mkfifo(photos / "pipe")
    discovery = Discovery([str(photos)])
    names = [os.path.relpath(ref.path, photos) for ref in discovery]
    assert names == ["a.jpg", "gone.jpg", "out/d.jpg", "pipe.jpg", "self.jpg"]
    assert discovery.linked_dirs == [str(photos / "linked"), str(photos / "loop")]
    assert discovery.ignored_by_suffix == {"(none)": 1, ".txt": 1}


def test_missing_source_stops_before_anything_is_listed(tmp_path):
    make(tmp_path, "a.jpg")
    for bad in ("missing", "missing.jpg", "a.jpg/x", "nul\0byte"):
        with pytest.raises(SourceError, match="cannot scan"):
            Discovery([str(tmp_path), f"{tmp_path}/{bad}"])


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_overlapping_sources_are_covered_once(tmp_path, order):
    make(tmp_path, "p/a.jpg", "p/in/b.jpg", "p/in/deep/c.jpg", "p/in/deep/notes.txt")
    (tmp_path / "alias").symlink_to(tmp_path / "p")
    sources = ["p", "p/in", "alias", "p/in/deep/notes.txt", "p/./a.jpg"]
    chosen = [str(tmp_path / sources[k]) for k in order]
    discovery = Discovery(chosen)
    real = sorted(os.path.relpath(os.path.realpath(ref.path), tmp_path) for ref in discovery)
    assert real == ["p/a.jpg", "p/in/b.jpg", "p/in/deep/c.jpg", "p/in/deep/notes.txt"]
    assert len(discovery.notes) == 4
    assert count_images(Discovery(chosen)) == 4


def test_a_source_within_another_is_covered_even_where_the_outer_does_not_reach(tmp_path):
    make(tmp_path, "p/a.jpg", "p/_inspector/b.jpg", "elsewhere/c.jpg")
    make_results(tmp_path / "p")
    (tmp_path / "p/linked").symlink_to(tmp_path / "elsewhere")
    paths = found(tmp_path / "p", tmp_path / "p/linked", tmp_path / "p/_inspector")
    assert [os.path.basename(path) for path in paths] == ["a.jpg", "c.jpg", "b.jpg"]


def test_links_to_directories_are_entered_on_demand_and_loops_end(tmp_path):
    make(
        tmp_path,
        "p/a.jpg",
        "p/d/b.jpg",
        "p/z/c.jpg",
        "outside/deep/x.jpg",
        "outside/_inspector/i.jpg",
    )
    make_results(tmp_path / "outside")
    for link, target in {
        "p/d/up": "..",  # to the source itself
        "p/d/self": ".",
        "p/b_first": "z",  # met before the directory that it leads to
        "p/out": "../outside",
        "p/y": "../outside/deep",  # within what p/out leads to
        "outside/deep/back": "../../p/d",
        "p/gone": "nowhere",
    }.items():
        (tmp_path / link).symlink_to(target)
    discovery = Discovery([str(tmp_path / "p")], follow_symlinks=True)
    refs = list(discovery)
    assert [os.path.relpath(ref.path, tmp_path / "p") for ref in refs] == [
        "a.jpg", "b_first/c.jpg", "d/b.jpg", "out/deep/x.jpg",
    ]  # fmt: skip
    assert len({ref.uri for ref in refs}) == 4
    assert [note.split(" is ")[0].rpartition("/p/")[2] for note in discovery.notes] == [
        "d/self", "d/up", "out/deep/back", "y", "z",
    ]  # fmt: skip
    assert (discovery.linked_dirs, discovery.unreadable_dirs) == ([], [])
    assert count_images(Discovery([str(tmp_path / "p")], follow_symlinks=True)) == 4


def test_two_sources_linked_to_each_other_are_covered_once(tmp_path):
    make(tmp_path, "p/a.jpg", "p/in/b.jpg", "q/c.jpg")
    (tmp_path / "p/q").symlink_to("../q")
    (tmp_path / "q/in").symlink_to("../p/in")
    for order in (("p", "q"), ("q", "p")):
        discovery = Discovery([str(tmp_path / name) for name in order], follow_symlinks=True)
        names = sorted(os.path.basename(ref.path) for ref in discovery)
        assert names == ["a.jpg", "b.jpg", "c.jpg"]
        assert len(discovery.notes) == 2


def test_a_path_too_long_for_the_system_is_reported(tmp_path, monkeypatch):
    """Deeper than PATH_MAX: such a directory can be made step by step, but not named."""
    monkeypatch.chdir(tmp_path)
    name, steps = "d" * 200, 24
    for _ in range(steps):
        os.mkdir(name)
        os.chdir(name)
    os.chdir(tmp_path)
    discovery = Discovery([str(tmp_path)])
    assert list(discovery) == []
    (unread,) = discovery.unreadable_dirs
    assert "too long" in unread
    for _ in range(steps):
        os.chdir(name)
    for _ in range(steps):
        os.chdir("..")
        os.rmdir(name)


def test_a_directory_that_vanishes_is_recorded(tmp_path):
    make(tmp_path, "a/1.jpg", "b/1.jpg", "c/1.jpg")
    discovery = Discovery([str(tmp_path)])
    listing = iter(discovery)
    next(listing)
    (tmp_path / "b/1.jpg").unlink()
    (tmp_path / "b").rmdir()
    assert [os.path.relpath(ref.path, tmp_path) for ref in listing] == ["c/1.jpg"]
    (gone,) = discovery.unreadable_dirs
    assert gone.startswith(f"{tmp_path / 'b'}: ") and "No such file" in gone


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_directory_is_recorded(tmp_path):
    make(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a").chmod(0)
    try:
        discovery = Discovery([str(tmp_path)])
        assert len(list(discovery)) == 1
        (unread,) = discovery.unreadable_dirs
        assert unread.startswith(f"{tmp_path / 'a'}: ")
        with pytest.raises(SourceError, match="Permission"):
            Discovery([str(tmp_path / "a")])
    finally:
        (tmp_path / "a").chmod(0o700)


def test_deep_nesting_needs_no_deep_stack(tmp_path, monkeypatch):
    """Deeper than Python's stack; pytest's own clean-up could not remove it again."""
    deep = 1200
    monkeypatch.chdir(tmp_path)
    for _ in range(deep):
        os.mkdir("d")
        os.chdir("d")
    open("x.jpg", "w").close()
    os.chdir(tmp_path)
    discovery = Discovery(["."])
    names = [ref.path for ref in discovery]
    for _ in range(deep):
        os.chdir("d")
    os.remove("x.jpg")
    for _ in range(deep):
        os.chdir("..")
        os.rmdir("d")
    assert names == ["./" + "d/" * deep + "x.jpg"]
    assert discovery.unreadable_dirs == []


def test_count_images_goes_by_names(tmp_path):
    make(tmp_path, "a.jpg", "d/b.PNG", "d/notes.txt", "d/e/c.heic")
    make(tmp_path, "photo.dat", content=JPEG_HEAD)
    assert count_images(Discovery([str(tmp_path)])) == 3
    assert count_images(Discovery([str(tmp_path / "photo.dat")])) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_photo_that_is_named_beside_its_archive_is_listed_once(tmp_path, order):
    pack(tmp_path / "x.zip", [("a.jpg", JPEG_HEAD), ("b.tif", JPEG_HEAD)], "stored.zip")
    uri = f"file://{tmp_path}/x.zip"
    sources = [f"{tmp_path}/x.zip", f"{uri}!/a.jpg", f"{uri}!/b.tif#page=2"]
    uris = [ref.uri for ref in Discovery([sources[k] for k in order])]
    assert sorted(uris) == [f"{uri}!/a.jpg", f"{uri}!/b.tif", f"{uri}!/b.tif#page=2"]


def test_the_uri_of_an_archive_is_one_however_it_is_spelled(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    pack(tmp_path / "real/x.zip", [("a b.jpg", JPEG_HEAD)], "stored.zip")
    base = f"file://{tmp_path}"
    spelled = [
        *(f"{base}/link/x.zip{end}" for end in ("", "!/a%20b.jpg", "!/a b.jpg")),
        *(f"file://localhost{tmp_path}/real/../real/%78.zip", f"{tmp_path}/link/x.zip"),
    ]
    uris = {ref.uri for name in spelled for ref in Discovery([name])}
    assert uris == {f"{base}/real/x.zip!/a%20b.jpg"}


def test_is_gone_of_a_photo_in_an_archive_behind_a_link(tmp_path):
    pack(tmp_path / "x.zip", [("a.jpg", JPEG_HEAD)], "stored.zip")
    (tmp_path / "link.zip").symlink_to("x.zip")
    uri = f"file://{tmp_path}/link.zip!/a.jpg"
    assert not is_gone(uri) and is_gone(uri.replace("a.jpg", "b.jpg"))
    (tmp_path / "x.zip").unlink()
    assert not is_gone(uri), "what the link leads to may come back"


def test_an_exclamation_mark_in_a_directory_is_no_border_of_an_archive(tmp_path):
    make(tmp_path, "Wow!/a.jpg")
    pack(tmp_path / "Wow!/x.zip", [("b.jpg", JPEG_HEAD)], "stored.zip")
    base = f"file://{tmp_path}"
    assert found(f"{base}/Wow!/a.jpg") == [f"{tmp_path}/Wow!/a.jpg"]
    for name in (f"{base}/Wow!/x.zip", f"{base}/Wow!/x.zip!/b.jpg", f"{tmp_path}/Wow!/x.zip"):
        (ref,) = Discovery([name])
        assert ref.uri == f"{base}/Wow%21/x.zip!/b.jpg"
    discovery = Discovery([str(tmp_path)])
    assert len(list(discovery)) == 1
    (note,) = discovery.notes
    assert "archives not looked into: 1" in note


def test_find_makes_the_index_once_for_all_who_ask(tmp_path, monkeypatch):
    pack(tmp_path / "x.zip", [("a.jpg", JPEG_HEAD)], "stored.zip")
    built, build = [], OpenArchive._build_index

    def slowly(self):
        built.append(self)
        time.sleep(0.05)
        return build(self)

    monkeypatch.setattr(OpenArchive, "_build_index", slowly)
    assert gone_among([f"file://{tmp_path}/x.zip!/{k}.jpg" for k in "abcdefgh"] * 2) != []
    assert len(built) == 1
