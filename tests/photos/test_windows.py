"""What is other on Windows: how paths are spelled, which names there are, and what a link is."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from PIL import Image

from inspector.errors import SourceError
from inspector.photos import address, archive, local, selection
from inspector.photos.address import Inside, Moved, decoded, own_name, path_of, text_of, uri_of
from inspector.photos.local import reached
from inspector.photos.name_lists import names_in
from inspector.photos.selection import Pattern, split_pattern
from inspector.photos.source import Discovery

LONG = "\\".join(["x" * 60] * 5)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "thumbs/b.jpg", "thumbs/c.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "photos"


def listed(*sources, **options):
    return [os.path.relpath(ref.path, "photos") for ref in Discovery(sources, **options)]


@pytest.mark.parametrize(
    ("text", "top", "pattern"),
    [
        ("C:/*.jpg", "C:/", "*.jpg"),
        ("C:\\photos\\**\\*.JPG", "C:/photos", "**/*.JPG"),
        ("\\\\nas\\share\\*.jpg", "//nas/share", "*.jpg"),
        ("*.jpg", ".", "*.jpg"),
    ],
)
def test_patterns_are_split_at_either_slash(text, top, pattern):
    found = split_pattern(text, windows=True)
    assert found is not None and (found[0], found[1].text) == (top, pattern)


def test_patterns_know_no_capitals_where_names_do_not():
    assert Pattern.of("A*\\B.jpg", hidden=True, windows=True).matches(["ab", "b.JPG"], is_dir=False)
    assert not Pattern.of("B.jpg", hidden=True, windows=False).matches(["b.JPG"], is_dir=False)


def test_a_pattern_is_tried_where_its_star_is_no_name_at_all(photos, monkeypatch):
    ask = os.stat

    def refuse(path, **options):
        if "*" in str(path):
            raise OSError(errno.EINVAL, "The filename, directory name, or ... is incorrect", path)
        return ask(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert listed("photos/*.jpg") == ["a.jpg"]


def test_excludes_are_split_at_backslashes_as_well(photos, monkeypatch):
    monkeypatch.setattr(selection._slashed, "__defaults__", (True,))
    of: Any = Pattern.of
    monkeypatch.setattr(of.__func__, "__kwdefaults__", {"windows": True})
    assert listed("photos", exclude=["thumbs\\*.PNG"]) == ["a.jpg", "thumbs/b.jpg"]
    (photos.parent / "list").write_text("photos\\thumbs\\b.jpg\nphotos\\a.jpg\n")
    discovery = Discovery(["@list"], exclude=["thumbs"])
    assert len(list(discovery)) == 1 and discovery.excluded == {"thumbs": 1}


def test_a_list_that_is_not_utf8_says_so(photos, monkeypatch):
    """There, names have no other bytes."""
    monkeypatch.setattr(os, "fsdecode", lambda name: name.decode("utf-8", "surrogatepass"))
    (photos / "list").write_bytes(b"a.jpg\nBr\x81cke.jpg\n")
    with pytest.raises(SourceError, match=r"list is not in UTF-8; save it as UTF-8"):
        list(names_in(f"@{photos}/list"))


@pytest.mark.parametrize("name", [b"caf\xe9.jpg", b"\xed\xa0\x80.jpg"])
def test_names_that_windows_cannot_have_are_text_that_a_table_takes(name):
    uri = f"file:///C:/{quote_from_bytes(name)}"
    for text in (decoded(name, windows=True), text_of(uri, windows=True)):
        assert text.encode().endswith(b".jpg") and "\\x" in text


def test_archives_keep_the_bytes_of_their_names(tmp_path):
    uri = uri_of(f"{tmp_path}/x.zip") + "!/caf%E9/%ED%A0%80.jpg"
    assert archive._uri_of(uri) == uri and Inside.of(uri) is not None


def test_a_file_has_the_name_that_is_there_and_a_link_its_own(tmp_path, monkeypatch):
    (tmp_path / "IMG.jpg").touch()
    (tmp_path / "link.jpg").symlink_to("IMG.jpg")
    monkeypatch.setattr(os.path, "realpath", lambda path: f"{tmp_path}/IMG.jpg")
    assert own_name(f"{tmp_path}/img.JPG", windows=True) == "IMG.jpg"
    assert own_name(f"{tmp_path}/link.jpg", windows=True) == "link.jpg"
    assert own_name(f"{tmp_path}/img.JPG", windows=False) == "img.JPG"


def test_one_file_has_one_row_however_its_name_is_typed(photos, monkeypatch):
    for module in (local, archive):
        monkeypatch.setattr(module, "own_name", lambda path: os.path.basename(path).lower())
    (photos / "A.JPG").symlink_to("a.jpg")
    (photos.parent / "list").write_text("photos/a.jpg\nphotos/A.JPG\n")
    assert [ref.uri for ref in Discovery(["@list"])] == [uri_of(str(photos / "a.jpg"))]
    assert local.Local().root("photos/A.JPG").uri == uri_of(str(photos / "a.jpg"))
    assert archive._uri_of("photos/A.ZIP") == f"{uri_of(str(photos / 'a.zip'))}!/"


def test_junctions_are_links(photos, monkeypatch):
    monkeypatch.setattr(local, "_is_junction", lambda entry: entry.name == "thumbs")
    discovery = Discovery(["photos"])
    assert [os.path.basename(ref.path) for ref in discovery] == ["a.jpg"]
    assert discovery.linked_dirs == ["photos/thumbs"]
    assert listed("photos", follow_symlinks=True) == ["a.jpg", "thumbs/b.jpg", "thumbs/c.png"]


@pytest.mark.parametrize(("tag", "path", "expected"), [
    (local._JUNCTION, "C:\\p\\x", True), (0, "C:\\p\\x", False), (local._JUNCTION, "/", False),
])  # fmt: skip
def test_what_a_junction_is(tag, path, expected):
    stated = SimpleNamespace(st_reparse_tag=tag)
    entry: Any = SimpleNamespace(path=path, stat=lambda follow_symlinks: stated)
    assert local._is_junction(entry, windows=True) is expected
    assert local._is_junction(entry, windows=False) is False


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"C:\\{LONG}", f"\\\\?\\C:\\{LONG}"),
        (f"C:/p/../{LONG}", f"\\\\?\\C:\\{LONG}"),
        (f"\\\\nas\\share\\{LONG}", f"\\\\?\\UNC\\nas\\share\\{LONG}"),
        (f"\\\\?\\C:\\{LONG}", f"\\\\?\\C:\\{LONG}"),
        ("C:\\p\\a.jpg", "C:\\p\\a.jpg"),
    ],
)
def test_long_paths_are_opened_by_their_prefix_and_have_the_same_uri(path, expected):
    assert reached(path, windows=True) == expected
    assert reached(path, windows=False) == path
    plain = path.replace("p/../", "").replace("/", "\\")
    assert uri_of(expected, windows=True) == uri_of(plain, windows=True)


def test_every_way_to_a_photo_takes_the_prefix(photos, monkeypatch):
    def there(path):
        return str(path).replace("far:", "photos/")

    monkeypatch.setattr(local, "reached", there)
    assert [ref.path for ref in Discovery(["far:."])] == [
        "photos/./a.jpg", "photos/./thumbs/b.jpg", "photos/./thumbs/c.png",
    ]  # fmt: skip
    source = local.Local()
    assert source.facts("far:a.jpg").size == 1 and source.pages("far:a.jpg") == 1
    with source.open("far:a.jpg") as file:
        assert file.read(9) == b"x"
    assert [each[2].size for each in source.named("far:a.jpg", Discovery(()))] == [1]
    (photos / "a.jpg").write_bytes(b"PK\x05\x06")
    assert local._head("far:a.jpg", 2) == b"PK"
    page = Image.new("RGB", (8, 8))
    page.save(photos / "a.tif", save_all=True, append_images=[page])
    about = local._stat("far:a.tif")
    assert source.pages("far:a.tif") == local._page_count("far:a.tif", about) == 2


@pytest.mark.parametrize("uri", ["file:///photos/a.jpg", "file:///C:/a%00.jpg", "s3://b/a.jpg"])
def test_what_is_no_address_of_a_file_there(uri):
    with pytest.raises(ValueError, match="no address"):
        path_of(uri, windows=True)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("file:///C:/p/a%20b.tif#page=2", "C:\\p\\a b.tif#page=2"),
        ("file://nas/share/a.jpg", "\\\\nas\\share\\a.jpg"),
        ("file:///photos/a.jpg", "/photos/a.jpg"),
    ],
)
def test_uris_read_as_paths_of_the_system_that_they_are_from(uri, text):
    assert text_of(uri, windows=True) == text


def test_moved_takes_a_directory_of_the_other_system_by_its_spelling(tmp_path):
    for old in ("C:\\photos", "c:/photos/"):
        moved = Moved.parse(f"{old}={tmp_path}")
        assert moved.apply("file:///C:/photos/a.jpg") == f"{uri_of(str(tmp_path))}/a.jpg"
    moved = Moved.parse(f"\\\\nas\\share={tmp_path}")
    assert moved.apply("file://nas/share/a.jpg") == f"{uri_of(str(tmp_path))}/a.jpg"
    (tmp_path / "b.tif").touch()
    moved = Moved.parse(f"D:\\p\\a.tif={tmp_path}/b.tif")
    assert moved.apply("file:///D:/p/a.tif#page=2") == f"{uri_of(str(tmp_path))}/b.tif#page=2"
    assert address._foreign("/photos/2024", windows=True) == ["file:///photos/2024"]
    assert address._foreign("photos", windows=True) == address._foreign("/photos") == []


def test_a_photo_in_an_archive_is_found_at_either_slash():
    found = Inside.of("C:\\p\\x.zip!\\north\\1.jpg", windows=True)
    assert found == ("C:/p/x.zip", "", "north/1.jpg", 1)
    assert Inside.of("/p/x.zip!\\north", windows=False) is None
