"""Archives of every kind that a scan may meet, with what must become of what is in them."""

from __future__ import annotations

import io
import struct
import tarfile
import warnings
import zipfile
from typing import TYPE_CHECKING

from bench.faults.bad_images import OK
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    Members = Sequence[tuple[str, bytes]]
    Outcome = tuple[str, str, str]
    """Name in the folder, what it is, and what must become of it."""

_ENTRY, _HEADER = b"PK\x01\x02", b"PK\x03\x04"
_CUT_OFF = "in an archive that is cut off"


def make_archives(folder: Path, photo: bytes) -> Iterator[Outcome]:
    """Fill a folder with archives of one photo under many names."""
    two = [("a.png", photo), ("sub/b.png", photo)]
    for name, make in (("stored.zip", _zip), ("plain.tar", _tar), ("packed.tar.gz", _tar)):
        (folder / name).write_bytes(make(two, packed=name.endswith(".gz")))
        yield f"{name}!/a.png", "in an archive", OK
        yield f"{name}!/sub/b.png", "in a folder of an archive", OK
    odd = [("../../up.png", photo), ("/abs.png", photo), ("a.png", photo), ("a.png", photo),
           ("inner.zip", _zip(two)), ("m\u00fcnchen \u6a4b!/x.png", photo)]  # fmt: skip
    (folder / "odd.zip").write_bytes(_zip(odd, method=zipfile.ZIP_DEFLATED))
    for name in ("../../up.png", "/abs.png", "a.png", "a.png;2", "m\u00fcnchen \u6a4b!/x.png"):
        yield f"odd.zip!/{name}", "an odd name in an archive", OK
    yield "odd.zip!/inner.zip", "an archive in an archive", "ignored"
    yield from _wrong(folder, photo)
    yield from _cut_off(folder, photo)
    (folder / "none.zip").write_bytes(b"<html>not found</html>")
    (folder / "links.tar").write_bytes(_tar([("a.png", photo)], link="link.png"))
    yield "links.tar!/link.png", "a link in an archive", FailureCode.NOT_A_FILE
    yield "links.tar!/a.png", "beside a link in an archive", OK


def _wrong(folder: Path, photo: bytes) -> Iterator[Outcome]:
    """ZIPs whose directory says something wrong or odd of the second of three members."""
    kinds: Mapping[str, tuple[str, int, str, int, str]] = {
        "encrypted": ("encrypted", 8, "<H", 1, FailureCode.UNSUPPORTED),
        "deflate64": ("packed by Deflate64", 10, "<H", 9, FailureCode.UNSUPPORTED),
        "checksum": ("whose checksum is another", 16, "<I", 1, FailureCode.CORRUPT),
        "longer": ("longer than its archive says", 24, "<I", 90, FailureCode.CORRUPT),
        "shorter": ("shorter than its archive says", 24, "<I", 1 << 20, FailureCode.TRUNCATED),
        "huge": ("of 4 GB by what its archive says", 24, "<I", (1 << 32) - 2,
                 FailureCode.TOO_LARGE),
        "elsewhere": ("not where its archive says", 42, "<I", 3, FailureCode.CORRUPT),
    }  # fmt: skip
    members = [(name, photo) for name in ("1.png", "2.png", "3.png")]
    for kind, (about, offset, form, value, expected) in kinds.items():
        data = bytearray(_zip(members, method=zipfile.ZIP_DEFLATED))
        second = data.index(_ENTRY, data.index(_ENTRY) + 1)
        struct.pack_into(form, data, second + offset, value)
        (folder / f"{kind}.zip").write_bytes(data)
        yield f"{kind}.zip!/1.png", "before a member that is wrong", OK
        yield f"{kind}.zip!/2.png", f"a member {about}", expected
        yield f"{kind}.zip!/3.png", "behind a member that is wrong", OK


def _cut_off(folder: Path, photo: bytes) -> Iterator[Outcome]:
    members = [(name, photo) for name in ("1.png", "2.png", "3.png")]
    for name, data, begin in (
        ("cut.zip", _zip(members), _HEADER),
        ("cut.tar", _tar(members), b"3.png\0"),
    ):
        last = data.rindex(begin)
        (folder / name).write_bytes(data[: last + 512 + len(photo) // 2])
        yield f"{name}!/1.png", _CUT_OFF, OK
        yield f"{name}!/2.png", _CUT_OFF, OK
        yield f"{name}!/3.png", f"the last {_CUT_OFF}", FailureCode.TRUNCATED


def _zip(members: Members, *, packed: bool = False, method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a name that repeats
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def _tar(members: Members, *, packed: bool = False, link: str = "") -> bytes:
    """With a symbolic `link` in front of its members if there is one."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz" if packed else "w") as archive:
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()
