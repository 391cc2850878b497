"""Photos in archives: each is listed once, and its bytes are its own or it says why not."""

from __future__ import annotations

import io
import os
import random
import re
import struct
import tarfile
import zipfile

import pytest

from inspector.errors import SourceError
from inspector.photos import blocks, open_archive
from inspector.photos.address import text_of
from inspector.photos.blocks import FileBlock, Inflated
from inspector.photos.opened import DecodeLimits
from inspector.photos.reading import read, sha256_within
from inspector.photos.source import Discovery, count_images, is_gone, source_of, suffix_of
from inspector.types import Failure, ImageRef
from tests.photos.packed import JPEG, KINDS, listed, pack

LIMITS = DecodeLimits(max_bytes=1 << 20)


def outcome(ref: ImageRef) -> bytes | str:
    found = read(ref, LIMITS)
    return str(found.code) if isinstance(found, Failure) else bytes(found.data[:])


def some(seed: int, count: int = 12) -> list[tuple[str, bytes]]:
    rng = random.Random(seed)
    names = ["a.jpg", "ä/ö #?%;!.png", "b" * 90 + "/" + "c" * 140 + ".jpg", "no ending", "a.jpg",
             "../up.jpg", "/abs.jpg", "back\\slash.jpg", "new\nline.jpg", "x;2.jpg", "x.jpg#page=2",
             "%41.jpg", "A.jpg"]  # fmt: skip
    return [
        (rng.choice(names), JPEG + rng.randbytes(rng.choice([0, 1, 507, 508, 509, 3000, 70_000])))
        for _ in range(count)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_is_a_photo_of_its_own(kind, tmp_path):
    for seed in range(4):
        members = some(seed)
        archive = pack(tmp_path / kind, members)
        refs, discovery = listed(archive)
        assert [outcome(ref) for ref in refs] == [content for _, content in members]
        assert len({ref.uri for ref in refs}) == len(members) == discovery.discovered
        backwards = [outcome(ImageRef.of(ref.uri)) for ref in reversed(refs)]
        assert backwards[::-1] == [content for _, content in members]
        for ref, (name, content) in zip(refs, members, strict=True):
            assert ref.uri.isascii() and ref.uri.isprintable() and ref.size == len(content)
            assert text_of(ref.uri).startswith(f"{archive}!/{name}") and "!/" in ref.uri
            assert text_of(ref.path) == text_of(ref.uri)
            assert not is_gone(ref.uri) and is_gone(f"{ref.uri}x") and is_gone(f"{ref.uri};99")
            own = (bytes.fromhex(read(ref, LIMITS).content_hash),)
            assert (sha256_within(ref.uri, 1 << 20),) == own
        again, _ = listed(refs[0].uri, *{ref.uri for ref in refs[1:]})
        assert {ref.uri for ref in again} == {ref.uri for ref in refs}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_off_gives_what_comes_before(kind, tmp_path):
    members = [(f"{k}.jpg", JPEG + random.Random(k).randbytes(400 * k + 50)) for k in range(8)]
    whole = pack(tmp_path / kind, members).read_bytes()
    refs, _ = listed(tmp_path / kind)
    uris = [ref.uri for ref in refs]
    for cut in random.Random(kind).sample(range(40, len(whole)), 25):
        (tmp_path / kind).write_bytes(whole[:cut])
        try:
            refs, discovery = listed(tmp_path / kind)
        except SourceError:
            assert cut < 600
            continue
        outcomes = [outcome(ref) for ref in refs]
        assert [ref.uri for ref in refs] == uris[: len(refs)]
        good = [found for found in outcomes if isinstance(found, bytes)]
        assert good == [content for _, content in members[: len(good)]]
        assert outcomes[len(good) :] in ([], ["truncated"], ["corrupt"])
        if not kind.endswith("gz") and len(good) < len(members):  # as many as are whole
            begin = whole.index(members[len(good)][1])
            assert cut < begin + len(members[len(good)][1])
        if kind.endswith(".tar") and len(good) == len(members):
            continue  # perhaps in what fills up the last block
        (unread,) = discovery.unreadable_dirs
        assert unread.startswith(f"{tmp_path / kind}: ")
        assert not any(is_gone(uri) for uri in uris[len(refs) :])


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_archive_never_raises_and_never_gives_other_bytes(kind, tmp_path):
    members = [(f"{k}.jpg", JPEG + random.Random(k).randbytes(300)) for k in range(6)]
    whole = pack(tmp_path / kind, members).read_bytes()
    contents = {content for _, content in members}
    rng = random.Random(7)
    for _ in range(60):
        damaged = bytearray(whole)
        at = rng.randrange(len(whole))
        damaged[at : at + rng.choice([1, 4])] = rng.randbytes(rng.choice([1, 4]))
        (tmp_path / kind).write_bytes(damaged)
        try:
            refs, _ = listed(tmp_path / kind)
        except SourceError:
            continue
        found = [outcome(ref) for ref in refs]
        assert len({ref.uri for ref in refs}) == len(refs)
        if kind.endswith("zip"):  # a tar has no checksum of what is in it
            assert {each for each in found if isinstance(each, bytes)} <= contents
        count_images(Discovery([str(tmp_path / kind)])) if "gz" not in kind else None
        [is_gone(ref.uri) for ref in refs]


def patched(archive, signature, offset, form, *values):
    """Change numbers at an offset from each place of a signature."""
    data = bytearray(archive.read_bytes())
    at = data.find(signature)
    while at >= 0:
        struct.pack_into(form, data, at + offset, *values)
        at = data.find(signature, at + 4)
    archive.write_bytes(data)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([(b"PK\1\2", 8, "<H", 1), (b"PK\3\4", 6, "<H", 1)], "unsupported: it is encrypted"),
        ([(b"PK\1\2", 10, "<H", 9)], "unsupported: .*Deflate64"),
        ([(b"PK\1\2", 10, "<H", 77)], "unsupported: .*number 77"),
        ([(b"PK\1\2", 24, "<I", 20)], "corrupt: .*more than the 20 bytes"),
        ([(b"PK\1\2", 24, "<I", 600_000)], "truncated: the archive has 500,004 of its 600,000"),
        ([(b"PK\1\2", 24, "<I", 2_000_000)], "too_large: more than 1,048,576"),
        ([(b"PK\1\2", 16, "<I", 1)], "corrupt: .*checksum"),
        ([(b"PK\1\2", 42, "<I", 5)], "corrupt: .*no member where"),
    ],
)
def test_what_a_zip_says_of_a_member_is_not_believed(changes, expected, tmp_path):
    archive = pack(tmp_path / "deflated.zip", [("a.jpg", JPEG + bytes(500_000))])
    for change in changes:
        patched(archive, *change)
    (ref,), _ = listed(archive)
    found = read(ref, LIMITS)
    assert isinstance(found, Failure)
    assert re.match(expected, f"{found.code}: {found.detail}")


def test_numbers_that_archives_state_may_be_anything(tmp_path):
    stated = zipfile.ZipInfo("a.jpg")
    stated.extra = struct.pack("<HHQQ", 1, 16, (1 << 64) - 1, (1 << 64) - 1)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(stated, JPEG)
    patched(tmp_path / "a.zip", b"PK\1\2", 20, "<II", 0xFFFFFFFF, 0xFFFFFFFF)
    (ref,), _ = listed(tmp_path / "a.zip")
    assert (outcome(ref), ref.size) == ("too_large", (1 << 63) - 1)
    huge = tarfile.TarInfo("a.jpg")
    huge.size = 1 << 80
    (tmp_path / "a.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + JPEG)
    (ref,), discovery = listed(tmp_path / "a.tar")
    assert (outcome(ref), ref.size) == ("too_large", (1 << 63) - 1)
    assert "cut off" in discovery.unreadable_dirs[0]
    for digits in ("9" * 5000, "-1", "x"):
        odd = tarfile.TarInfo("a.jpg")
        odd.pax_headers = {"size": digits}
        (tmp_path / "a.tar").write_bytes(odd.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
        refs, discovery = listed(tmp_path / "a.tar")
        assert not refs and "damaged" in discovery.unreadable_dirs[0]


def test_a_bomb_costs_what_its_row_may_take(tmp_path, monkeypatch):
    archive = pack(tmp_path / "deflated.zip", [("a.jpg", bytes(20 << 20))])
    patched(archive, b"PK\1\2", 24, "<I", 1000)
    unpacked = []
    one_piece = Inflated._next

    def counted(self, most):
        unpacked.append(piece := one_piece(self, most))
        return piece

    monkeypatch.setattr(Inflated, "_next", counted)
    (ref,), _ = listed(archive)
    assert outcome(ref) == "corrupt"
    assert sum(map(len, unpacked)) == 1001
    packed = tmp_path / "bomb.tgz"
    with tarfile.open(packed, "w:gz", compresslevel=1) as opened:
        for name, size in (("a.jpg", 10), ("b.jpg", 20 << 20), ("c.jpg", 10)):
            info = tarfile.TarInfo(name)
            info.size = size
            opened.addfile(info, io.BytesIO(bytes(size)))
    monkeypatch.setattr("inspector.photos.tar._ALLOWED", 1 << 20)
    monkeypatch.setattr("inspector.photos.tar._MOST_TIMES", 2)
    refs, discovery = listed(packed)
    assert [outcome(ref) for ref in refs] == [bytes(10), "too_large"]
    assert "more bytes than photos" in discovery.unreadable_dirs[0]


def test_names_are_read_as_their_program_wrote_them(tmp_path):
    archive = pack(tmp_path / "stored.zip", [("\u00e4\u00df.jpg", JPEG), ("b.jpg", JPEG)])
    data = archive.read_bytes()
    (tmp_path / "stored.zip").write_bytes(data.replace("\u00e4\u00df".encode(), b"\x84\xe1AB"))
    patched(archive, b"PK\1\2", 8, "<H", 0)
    refs, _ = listed(archive)
    assert text_of(refs[0].uri) == f"{archive}!/\u00e4\u00dfAB.jpg" and outcome(refs[0]) == JPEG
    tar = pack(tmp_path / "gnu.tar", [("caf\udce9.jpg", JPEG)])
    ((ref,), _) = listed(tar)
    assert ref.uri.endswith("gnu.tar!/caf%E9.jpg") and text_of(ref.uri).endswith("caf\\xe9.jpg")
    assert outcome(ImageRef.of(ref.uri)) == JPEG


@pytest.mark.parametrize("kind", ["stored.zip", "pax.tar", "packed.tgz"])
def test_what_is_no_photo_is_counted(kind, tmp_path):
    inner = [
        ("__MACOSX/a/._1.jpg", b"\0\5\x16\7x"), ("._2.jpg", b"\0\5\x16\7x"), ("._3.jpg", JPEG),
        ("notes.txt", b"x"), ("inner.zip", b"PK\3\4"), ("old/4.jpg", JPEG), ("old/5.jpg", JPEG),
        ("5.dat", JPEG), ("5.json", b"{}"),
    ]  # fmt: skip
    archive = pack(tmp_path / kind, inner)
    refs, discovery = listed(archive, exclude=["old/"])
    assert [text_of(ref.uri).partition("!/")[2] for ref in refs] == ["._3.jpg", "5.dat"]
    assert discovery.ignored_by_suffix == {".txt": 1, ".zip": 1, ".json": 1}
    assert discovery.excluded == {"__MACOSX/": 1, "._*": 1, "old/": 1}
    (note,) = discovery.notes
    assert "within archives" in note and f"1, first {archive}!/inner.zip; unpack" in note
    with pytest.raises(SourceError, match=r"cannot scan .*no such photo"):
        Discovery([f"{archive}!/inner.zip.jpg"])


def test_links_and_devices_in_a_tar_have_rows_that_say_so(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("ok.jpg")
        info.size = 4
        archive.addfile(info, io.BytesIO(JPEG))
    refs, discovery = listed(path)
    assert [outcome(ref) for ref in refs] == ["not_a_file"] * 3 + [JPEG]
    assert not discovery.unreadable_dirs


def test_archives_in_a_directory_wait_to_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("photos/sub")
    for name in ("photos/1.jpg", "photos/sub/2.jpg"):
        (tmp_path / name).write_bytes(JPEG)
    for name in ("photos/x.zip", "photos/sub/y.tar"):
        pack(tmp_path / name, [("a.jpg", JPEG), ("b.jpg", JPEG)])
    os.mkdir("photos/folder.zip")
    (tmp_path / "photos/folder.zip/3.jpg").write_bytes(JPEG)

    def names(*sources):
        refs, discovery = listed(*sources)
        assert count_images(Discovery(sources)) >= len(refs)
        return [text_of(r.uri).rpartition("photos/")[2] for r in refs], discovery

    found, discovery = names("photos")
    assert found == ["1.jpg", "folder.zip/3.jpg", "sub/2.jpg"]
    assert discovery.ignored_by_suffix == {".tar": 1, ".zip": 1}
    (note,) = discovery.notes
    assert "2, first photos/sub/y.tar" in note and "'DIR/**/*.tar'" in note
    inside = {"x.zip!/a.jpg", "x.zip!/b.jpg", "sub/y.tar!/a.jpg", "sub/y.tar!/b.jpg"}
    found, discovery = names("photos/**/*.[tz]*")
    assert set(found) == inside | {"folder.zip/3.jpg"} and not discovery.notes
    inside_tar = ["sub/y.tar!/a.jpg", "sub/y.tar!/b.jpg"]
    assert names("photos/sub", "photos/**/*.tar")[0] == ["sub/2.jpg", *inside_tar]
    found, discovery = names("photos", "photos/**/*.tar")
    assert found[-2:] == inside_tar
    (note,) = discovery.notes
    assert "1, first photos/x.zip" in note
    (root,) = Discovery(["photos/**/*.zip"]).sources
    uri = f"file://{tmp_path}/photos/x.zip!/gone.jpg"
    assert root.covers(uri) and not root.covers(uri.replace("zip!", "tar!"))
    (tmp_path / "list").write_text("photos/x.zip\nphotos/sub/y.tar!/a.jpg\nphotos/gone.zip\n")
    refs, _ = listed("@list")
    assert [outcome(ref) for ref in refs] == [JPEG] * 3 + ["vanished"]
    _, discovery = names("photos/x.zip", "photos/../photos/x.zip")
    assert "named twice" in discovery.notes[0]
    assert len(names("photos/x.zip", "photos/*.zip")[0]) == 3


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.zip", b"<html>", "no ZIP"),
        ("a.zip", b"", "no ZIP"),
        ("a.tar", b"x" * 600, "no tar"),
        ("a.tgz", b"\x1f\x8bxx", "cannot be unpacked"),
        ("a.zip", b"PK\5\6" + struct.pack("<HHHHIIH", 1, 1, 1, 1, 0, 0, 0), "split"),
        ("a.zip", b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 99, 0, 0), "not where"),
    ],
)
def test_what_is_no_archive_is_refused_in_one_line(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=f"cannot scan .*{words}"):
        Discovery([str(tmp_path / name)])
    refs, discovery = listed(f"{tmp_path}/*{name[1:]}")
    assert refs == [] and words in discovery.unreadable_dirs[0]


def test_empty_archives_are_empty(tmp_path):
    for kind in ("stored.zip", "pax.tar", "packed.tgz"):
        refs, discovery = listed(pack(tmp_path / kind, []))
        assert not refs and not discovery.unreadable_dirs


def test_large_places_and_programs_in_front(tmp_path, monkeypatch):
    archive = tmp_path / "a.zip"
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    with zipfile.ZipFile(archive, "w", allowZip64=True) as opened:
        opened.writestr("a.jpg", JPEG + b"1")
        opened.fp.seek(5 << 30)  # a hole; it takes no room
        opened.start_dir = 5 << 30
        with opened.open("b.jpg", "w", force_zip64=True) as member:
            member.write(JPEG + b"2")
    refs, _ = listed(archive)
    assert [outcome(ref) for ref in refs] == [JPEG + b"1", JPEG + b"2"]
    small = pack(tmp_path / "deflated.zip", [("a.jpg", JPEG)])
    small.write_bytes(b"#!/bin/sh\n" * 99 + small.read_bytes())
    assert [outcome(ref) for ref in listed(small)[0]] == [JPEG]


@pytest.mark.parametrize("kind", ["stored.zip", "gnu.tar", "packed.tgz"])
def test_a_changed_archive_is_noticed(kind, tmp_path):
    archive = pack(tmp_path / kind, [("a.jpg", JPEG), ("b.jpg", JPEG + b"b")])
    os.utime(archive, ns=(0, 10**18))
    before, _ = listed(archive)
    assert before == listed(archive)[0]
    pack(tmp_path / "other", [("0.jpg", JPEG), ("b.jpg", JPEG + b"c")], kind)
    os.replace(tmp_path / "other", archive)
    after, _ = listed(archive)
    assert before[1].uri == after[1].uri and before[1].mtime_us != after[1].mtime_us
    assert outcome(before[1]) == JPEG + b"c" and outcome(before[0]) == "vanished"
    assert read(before[1], LIMITS).ref.mtime_us == after[1].mtime_us
    with source_of(after[0].path).open(after[0].path) as file:
        was = file.facts()
        os.utime(archive)
        assert file.facts() != was
    archive.unlink()
    assert outcome(after[0]) == "vanished" and is_gone(after[0].uri)


def test_packed_bytes_are_read_at_any_place(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "_APART", 1000)
    monkeypatch.setattr(blocks, "_MARKS", 8)
    import gzip

    plain = b"".join(random.Random(k).randbytes(50) * 20 for k in range(300))
    (tmp_path / "x").write_bytes(gzip.compress(plain[:100_000]) + gzip.compress(plain[100_000:]))
    inflated = Inflated(FileBlock(os.open(tmp_path / "x", os.O_RDONLY)), blocks.GZIP)
    rng = random.Random(1)
    for _ in range(300):
        begin, count = rng.randrange(len(plain) + 50), rng.choice([1, 300, 5000])
        assert inflated.read_at(begin, count) == plain[begin : begin + count]
    assert len(inflated._marks) <= 9


def test_few_archives_stay_open(tmp_path):
    held = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for number in range(20):
        archive = pack(tmp_path / f"{number}.zip", [("a.jpg", JPEG)], "stored.zip")
        assert outcome(listed(archive)[0][0]) == JPEG
    if held:
        assert len(os.listdir("/proc/self/fd")) <= held + open_archive._OPEN_AT_ONCE + 1


def test_names_end_behind_what_is_added_to_them():
    assert suffix_of("file:///a.zip!1f/b.JPG;2") == ".jpg"
    assert suffix_of("file:///a.zip!/b.tif;3#page=2") == ".tif"
    assert suffix_of("a.jpg;2") == ".jpg;2"


@pytest.mark.parametrize("zips_first", [True, False])
def test_archives_that_are_read_are_not_counted_as_no_photos(zips_first, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    pack(tmp_path / "a.zip", [("1.jpg", JPEG)])
    (tmp_path / "link.zip").symlink_to("a.zip")
    pack(tmp_path / "b.tar", [("1.jpg", JPEG)])
    sources = [tmp_path, f"{tmp_path}/**/a.zip"]
    refs, discovery = listed(*(sources[::-1] if zips_first else sources))
    assert [text_of(ref.uri) for ref in refs] == [f"{tmp_path}/a.zip!/1.jpg"]
    assert discovery.ignored_by_suffix == {".txt": 1, ".tar": 1}
    (note,) = discovery.notes
    assert "archives not looked into: 1, first" in note and "b.tar" in note


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tgz"])
def test_what_an_archive_holds_decides_and_not_its_name(kind, name, tmp_path):
    members = some(3)
    pack(tmp_path / kind, members).rename(tmp_path / name)
    assert [outcome(ref) for ref in listed(tmp_path / name)[0]] == [data for _, data in members]
