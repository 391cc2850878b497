"""One uri per photo, and the same path back from it."""

from __future__ import annotations

import os
import random

import pytest

from inspector.core.text import display_path
from inspector.errors import UsageError
from inspector.photos.address import Inside, Moved, directory_uri, path_of, text_of, uri_of
from inspector.photos.source import Discovery

BYTES = [bytes([k]) for k in range(1, 256) if k != ord("/")]


def random_path(rng: random.Random) -> str:
    names = (b"".join(rng.choices(BYTES, k=rng.randint(1, 8))) for _ in range(rng.randint(0, 5)))
    return os.fsdecode(b"/" + b"/".join(names))


def test_every_path_comes_back_from_its_uri():
    rng = random.Random(12)
    for path in ("/", "/a", *(random_path(rng) for _ in range(2000))):
        uri = uri_of(path)
        assert uri.isascii() and uri.isprintable() and uri.startswith("file:///")
        assert path_of(uri) == path
        assert text_of(uri) == display_path(path)


def test_different_paths_have_different_uris():
    rng = random.Random(13)
    paths = {random_path(rng) for _ in range(2000)} | {"/a%2Fb", "/a/b", "/a%252Fb", "/A/b"}
    assert len({uri_of(path) for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("C:\\photos\\m\u00fc 1.jpg", "file:///C:/photos/m%C3%BC%201.jpg"),
        ("C:\\", "file:///C:/"),
        ("\\\\nas\\share\\a.jpg", "file://nas/share/a.jpg"),
    ],
)
def test_paths_of_windows(path, uri):
    assert uri_of(path, windows=True) == uri
    assert path_of(uri, windows=True) == path


@pytest.mark.parametrize(
    "uri", ["", "/a.jpg", "file:/a.jpg", "s3://bucket/a.jpg", "file://nas/a.jpg", "file:///a%00b"]
)
def test_what_is_no_address_of_a_file_is_refused(uri):
    with pytest.raises(ValueError, match="no address"):
        path_of(uri, windows=False)


def test_path_of_takes_this_machine_by_its_name():
    assert path_of("file://localhost/a%20b.jpg", windows=False) == "/a b.jpg"
    assert path_of("file:///caf\udce9.jpg", windows=False) == "/caf\udce9.jpg"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("file:///p/Wow!/a.jpg", None),
        ("file:///p/Wow!/x.zip", None),
        ("/p/Wow!/a.jpg", None),
        ("s3://b/x.zip!/a.jpg", None),
        ("x.zip!1f/a.jpg", None),
        ("x.zip!/a;2.jpg", ("x.zip", "", "a;2.jpg", 1)),
        ("file:///Wow!/x.tar!1f/a%21.jpg", ("file:///Wow!/x.tar", "1f", "a%21.jpg", 1)),
        ("file:///x.TGZ!/a.tif;3#page=2", ("file:///x.TGZ", "", "a.tif", 3)),
        ("file:///x.zip!/a;" + "1" * 18, ("file:///x.zip", "", "a", int("1" * 18))),
        ("file:///x.zip!/a;" + "1" * 5000, ("file:///x.zip", "", "a;" + "1" * 5000, 1)),
    ],
)
def test_inside_tells_archives_from_names_with_an_exclamation_mark(address, parts):
    assert Inside.of(address) == parts


def test_the_root_and_its_doubles_are_one_directory():
    assert {directory_uri(root) for root in ("/", "//", "///", "/..", "/./")} == {"file:///"}
    assert Discovery(["/", "//"]).notes == ["// is named twice; it is covered once"]


def test_moved_goes_by_whole_names(tmp_path):
    (tmp_path / "new=er").mkdir()
    (tmp_path / "link").symlink_to("old")
    moved = Moved.parse(f"{tmp_path}/link={tmp_path}/new=er/")
    base = directory_uri(str(tmp_path))
    assert moved.apply(f"{base}old/a%FF.jpg") == f"{base}new%3Der/a%FF.jpg"
    assert moved.apply(f"{base}link/a.jpg") == f"{base}new%3Der/a.jpg"
    assert moved.apply(f"{base}older/a.jpg") == f"{base}older/a.jpg"
    for text in ("", "a", "=a", "a="):
        with pytest.raises(UsageError, match="OLD=NEW"):
            Moved.parse(text)


def test_moved_apply_leaves_what_lies_below_the_new_directory_already(tmp_path):
    """Also where that lies below the old one."""
    (tmp_path / "old/new").mkdir(parents=True)
    moved = Moved.parse(f"{tmp_path}/old={tmp_path}/old/new")
    base = directory_uri(str(tmp_path))
    assert moved.apply(f"{base}old/a.jpg") == f"{base}old/new/a.jpg"
    assert moved.apply(f"{base}old/new/a.jpg") == f"{base}old/new/a.jpg"
    assert moved.apply(f"{base}old/newer/a.jpg") == f"{base}old/new/newer/a.jpg"
