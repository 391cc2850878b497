"""Which files are images, by name and by content, and which of them can be decoded."""

from __future__ import annotations

from os import path

DECODABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
"""Pillow's names of the formats that may be opened; nothing else ever reaches a decoder. An MPO
(several JPEGs in one file) is opened as a JPEG; Pillow knows no opener of that name."""

_DECODABLE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .webp .tif .tiff .bmp .dib .gif".split()
)
_OTHER_IMAGE_SUFFIXES = frozenset(
    ".heic .heif .avif .jxl .jp2 .j2k .dng .raw .cr2 .cr3 .nef .arw .orf .rw2 .raf .psd .exr"
    " .hdr .tga .ppm .pgm .pbm .pnm .ico".split()
)
IMAGE_SUFFIXES = _DECODABLE_SUFFIXES | _OTHER_IMAGE_SUFFIXES
"""Lower-case name endings that promise an image, decodable or not."""

MAGIC_BYTES = 16
"""How many leading bytes `sniff` looks at."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "BigTIFF"),
    (0, b"MM\x00+", "BigTIFF"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypcrx", "CR3"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"8BPS", "PSD"),
    (0, b"v/1\x01", "EXR"),
    (0, b"#?RADIANCE", "HDR"),
    (0, b"P5\n", "PGM"),
    (0, b"P6\n", "PPM"),
)


def named_like_an_image(name: str) -> bool:
    return path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def sniff(head: bytes) -> str | None:
    """The image format that the first bytes of a file announce, or None."""
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "BMP"
    for offset, signature, name in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return name
    return None
