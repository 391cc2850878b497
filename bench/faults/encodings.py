"""Image files of the odd kinds that Pillow reads and does not write."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_FIRST_CHUNKS = 33
"""Bytes of a PNG up to the end of its header chunk."""

_COLOUR_TYPES = {1: 0, 3: 2}
"""PNG's colour type by number of channels: grey, RGB."""
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
          (1, 0, 2, 1))  # fmt: skip
"""First row, first column, row step and column step of each pass (PNG, section 8.2)."""

ARITHMETIC_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywt"
    "QFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT09PT09PT09PT0//yQARCAAgACgDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwDOs8Gy"
    "laGLKhJV02gyhvKY/DfbN1kqITKoSOdz3DVsP5wmDqYWljTZtKlQ6ZN5MyOPxjvQ+z8B6YN3/KTqSPnfNXko6+ZYdi6K"
    "f1+p6A/2jLRA2ausNl7SSglsGiRimqDFLDe5KmOkLIuKEePf23VvHdKXsSnNle9PkLUTQsctGqmeD3pdjdfT/wA7P7kY"
    "5Fj69v0CqgN3bmjNK0+wwlrKRcIzwl0qm5S2iJpLCfJuGjPKB44Uaz0J2nU25EQ7iGjCS++0UNaPShaCdr7jD3hwR+r6"
    "OQ0CclVdt0g0ZWYqRlYL3NJfaY8VXZYWHfpC24D/2Q=="
)
"""40 x 32 pixels, arithmetic-coded: made once by jpegtran from a Huffman-coded JPEG."""
HUFFMAN_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywt"
    "QFdBRkxOUlNSMj5aYVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09P"
    "T09PT09PT09PT09PT09PT09PT0//wAARCAAgACgDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcI"
    "CQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRol"
    "JicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ip"
    "qrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAA"
    "AAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLR"
    "ChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaX"
    "mJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEA"
    "PwCawlEEoZq0NWvUvLcIhycVhTOWX5aSxLJJlzxWWNxnM+WBONwzhSbo6o1tGYWhy/FW7zX7ZH2lhms+b96mErBu9DuJ"
    "5/MBbGa5IZdPEL39EcOWYyUfcmtDphILobk5BoqlYP8AY4gjnkUV1LMMVQXs4xukc1fC1Z1HJIrRRFm+YU+6QQplOtbO"
    "rWyW9uzoOlYGlyG7uij8jNb5bTpToSrzWx7yp1aNGTk9C/pLiU/vDj61uSJGtuSmDxXH+JJ20xh5JxmrvhvUJL2DEhzW"
    "1CrKq/aQ+HscSlRhT9q1oY2sX80dyyqDiiutl0WCdtzKCTRVSxlBOzidEKVSa5ovQ//Z"
)
"""The JPEG that it was made from: the same pixels."""


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """`image` as Pillow writes it in the format `form`."""
    stream = io.BytesIO()
    image.copy().save(stream, form, **options)  # encoders leave settings behind in what they save
    return stream.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, *, bits: int = 8, colour: int = 2, adam7: int = 0) -> bytes:
    """Signature and header chunk; colour type 2 is RGB."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, adam7)
    return PNG_SIGNATURE + png_chunk(b"IHDR", header)


def png(pixels: NDArray[Any], *, interlaced: bool = False) -> bytes:
    """Pixels (H, W, C), uint8 or uint16, grey or RGB, as a PNG."""
    height, width, channels = pixels.shape
    bits = pixels.itemsize * 8
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(
        b"\0" + row.astype(f">u{pixels.itemsize}").tobytes()
        for top, left, down, right in passes
        for row in pixels[top::down, left::right]
        if row.size
    )
    header = png_header(
        width, height, bits=bits, colour=_COLOUR_TYPES[channels], adam7=int(interlaced)
    )
    return header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def with_png_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return data[:PNG_FIRST_CHUNKS] + png_chunk(kind, body) + data[PNG_FIRST_CHUNKS:]


def with_jpeg_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment in front of all others."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def with_jpeg_frame(
    data: bytes, *, marker: int = 0xC0, bits: int = 8, sides: tuple[int, int] | None = None
) -> bytes:
    """A baseline JPEG whose frame header says something else; `sides` are width and height."""
    at = data.index(b"\xff\xc0")
    size = data[at + 5 : at + 9] if sides is None else struct.pack(">HH", sides[1], sides[0])
    return data[: at + 1] + bytes([marker]) + data[at + 2 : at + 4] + bytes([bits]) + size + (
        data[at + 9 :]
    )  # fmt: skip


def with_adobe_transform(data: bytes, transform: int) -> bytes:
    """A JPEG that says which colours it holds as Adobe does (Technical Note 5116)."""
    return with_jpeg_segment(data, 0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


def with_tiff_fields(data: bytes, values: dict[int, int]) -> bytes:
    """A little-endian TIFF with other values of some fields, each a single integer."""
    changed = bytearray(data)
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in values:
            struct.pack_into("<HII", changed, entry + 2, 4, 1, values[tag])
    return bytes(changed)


def with_tiff_loop(data: bytes) -> bytes:
    """A little-endian TIFF whose first directory names itself as the next."""
    changed = bytearray(data)
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", changed, directory + 2 + 12 * count, directory)
    return bytes(changed)


def tiff(
    pixels: NDArray[Any],
    changes: Mapping[int, tuple[int, ...] | bytes | None] | None = None,
    *,
    strips: Sequence[bytes] = (),
    order: Literal["<", ">"] = "<",
    big: bool = False,
    head: bytes = b"",
) -> bytes:
    """Pixels (H, W, C), uint8 or uint16, as an uncompressed TIFF with the directory at its end;
    `order` "<" is low bytes first. Fields that `changes` names are other than they should be,
    `strips` stand in place of the pixels, `head` behind the file's header."""
    height, width, channels = pixels.shape
    strips = strips or [pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()]
    header = struct.pack(f"{order}2sH", b"II" if order == "<" else b"MM", 43 if big else 42)
    body = bytearray(header + bytes(12 if big else 4) + head)
    offsets = [len(body) + sum(map(len, strips[:i])) for i in range(len(strips))]
    body += b"".join(strips)
    fields: dict[int, tuple[int, ...] | bytes | None] = {
        256: (width,),
        257: (height,),
        258: (pixels.itemsize * 8,) * channels,
        259: (1,),
        262: (2 if channels > 2 else 1,),
        273: tuple(offsets),
        277: (channels,),
        278: (height,),
        279: tuple(map(len, strips)),
        284: (1,),
    }
    values = {tag: value for tag, value in (fields | dict(changes or {})).items() if value}
    word, number = ("Q", "Q") if big else ("I", "H")
    inline = struct.calcsize(word)
    directory = struct.pack(order + number, len(values))
    for tag, value in sorted(values.items()):
        code, kind = ("s", 7) if isinstance(value, bytes) else ("I", 4)
        if kind == 4 and max(value) < 1 << 16:
            code, kind = "H", 3
        data = (
            value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}{code}", *value)
        )
        if len(data) > inline:
            place = struct.pack(order + word, len(body))
            body += data
        else:
            place = data.ljust(inline, b"\0")
        directory += struct.pack(f"{order}HH{word}", tag, kind, len(value)) + place
    struct.pack_into(order + word, body, 8 if big else 4, len(body))
    if big:
        struct.pack_into(f"{order}HH", body, 4, 8, 0)
    return bytes(body) + directory + bytes(inline)


def exif_loop() -> bytes:
    """The body of an EXIF segment whose directory of details is itself."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 8)
