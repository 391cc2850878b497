"""Archives that would be read for ever: the listing says so, and has what comes before."""

from __future__ import annotations

import gzip
import os
import tarfile

import pytest

from inspector.photos import blocks
from inspector.photos.blocks import FileBlock, Inflated
from inspector.photos.opened import DecodeLimits
from inspector.photos.reading import Contents, read
from inspector.types import ImageRef
from tests.photos.packed import JPEG, listed, pack


def content(ref: ImageRef) -> bytes:
    found = read(ref, DecodeLimits())
    assert isinstance(found, Contents)
    return bytes(found.data[:])


class Counted(FileBlock):
    """A file that knows how many bytes it was asked for."""

    asked = 0

    def read_at(self, begin: int, count: int) -> bytes:
        self.asked += count
        return super().read_at(begin, count)


def test_many_small_gzips_in_one_are_read_in_small_pieces(tmp_path):
    (tmp_path / "x").write_bytes(gzip.compress(b"1") * 500 + gzip.compress(bytes(10_000)))
    file = Counted(os.open(tmp_path / "x", os.O_RDONLY))
    assert Inflated(file, blocks.GZIP).read_at(0, 20_000) == b"1" * 500 + bytes(10_000)
    assert file.asked < 500 * 8192 + 2 * blocks._INPUT


def test_gzips_without_end_that_hold_nothing_are_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "_MOST_EMPTY", 1000)
    whole = pack(tmp_path / "a.tgz", [("a.jpg", JPEG)]).read_bytes()
    for empty, good in ((990, True), (1010, False)):
        packed = gzip.compress(gzip.decompress(whole)[:1024])
        (tmp_path / "a.tgz").write_bytes(packed + gzip.compress(b"") * empty)
        refs, discovery = listed(tmp_path / "a.tgz")
        assert [content(ref) for ref in refs] == [JPEG]
        assert ("unpacked" in "".join(discovery.unreadable_dirs)) is not good


@pytest.mark.parametrize("kind", ["gnu.tar", "packed.tgz"])
def test_a_sparse_file_described_without_end_is_damage(kind, tmp_path):
    pack(tmp_path / "gnu.tar", [("a.jpg", JPEG), ("b.jpg", JPEG)])
    whole = bytearray((tmp_path / "gnu.tar").read_bytes())
    header = tarfile.TarInfo.frombuf(whole[1024:1536], "utf-8", "strict")
    header.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[482] = 1
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    data = bytes(whole[:1024] + block) + b"\1" * (20 << 20)
    (tmp_path / kind).write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    refs, discovery = listed(tmp_path / kind)
    assert [content(ref) for ref in refs] == [JPEG]
    assert "description of a member is too long" in discovery.unreadable_dirs[0]
