"""Archives of kinds that are not read are named, and those that are read are known by content."""

from __future__ import annotations

import pytest

from inspector.errors import SourceError
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.photos.formats import unread_archive
from inspector.photos.source import Discovery
from inspector.types import Failure
from tests.photos.packed import listed, pack

UNREAD = {
    "a.7z": b"7z\xbc\xaf\x27\x1c\0\4", "b.rar": b"Rar!\x1a\x07\1\0", "c.tar.xz": b"\xfd7zXZ\0\0\4",
    "d.tbz2": b"BZh91AY&SY", "e.tar.zst": b"\x28\xb5\x2f\xfd", "f.z01": b"PK\7\x08PK\3\4",
}  # fmt: skip


def test_archives_of_other_kinds_are_named_where_they_are_met(tmp_path):
    for name, magic in UNREAD.items():
        (tmp_path / name).write_bytes(magic + bytes(99))
    (tmp_path / "notes.xz").write_bytes(b"no archive of photos")
    pack(tmp_path / "x.zip", [("inner.7z", b"7z")])
    refs, discovery = listed(tmp_path, tmp_path / "x.zip")
    assert refs == [] and discovery.ignored_by_suffix.total() == 8
    beside, within = discovery.notes
    first = f"6, first {tmp_path}/a.7z; unpack them"
    assert beside == f"archives of kinds that are not read: {first}"
    assert "within archives" in within and "x.zip!/inner.7z" in within


@pytest.mark.parametrize("name", UNREAD)
def test_an_archive_of_another_kind_that_is_named_is_no_photo(name, tmp_path):
    """It is refused like a ZIP that cannot be read; where a list names it or it has the name of a
    photo, its row says what it is."""
    (tmp_path / name).write_bytes(UNREAD[name] + bytes(99))
    with pytest.raises(SourceError, match=r"cannot scan .*: an? .*archive, which is not read; unp"):
        Discovery([str(tmp_path / name)])
    (tmp_path / "list.txt").write_text(f"{tmp_path / name}\n")
    (tmp_path / "photo.jpg").write_bytes(UNREAD[name] + bytes(99))
    for ref in listed(f"@{tmp_path}/list.txt", tmp_path / "photo.jpg")[0]:
        found = decode(ref, PreprocessSpec())
        assert isinstance(found, Failure)
        assert found.code == "unsupported" and found.detail.endswith("archive; unpack it")


def test_what_only_begins_like_an_archive_is_no_archive():
    assert unread_archive(b"BZh, said the wall") is None
    assert unread_archive(b"PK\3\4") is None and unread_archive(b"") is None
