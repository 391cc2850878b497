"""HEIC, HEIF and AVIF: photos in boxes (ISO/IEC 14496-12), opened by libheif and by Pillow itself.

Both turn and mirror a photo as its own boxes say, and correct what its EXIF says about that.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from inspector.photos.formats import decodable, missing_extra
from inspector.photos.opened import Refused
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = frozenset({"HEIC", "HEIF", "AVIF"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MOST_BRANDS_BYTES = 4096
_LOST = 4096
"""Zeros at the end of a file, as an interrupted copy leaves them, that no encoder writes."""


def open_boxes(data: bytes) -> Image.Image:
    """Open a photo, of several in the file the primary one. Raises Refused where what it needs is
    not installed, and whatever Pillow raises."""
    brands = data[8 : min(int.from_bytes(data[:4], "big"), _MOST_BRANDS_BYTES)]
    is_avif = not _AVIF_BRANDS.isdisjoint(brands[at : at + 4] for at in range(0, len(brands), 4))
    form = "AVIF" if is_avif else "HEIF"
    if form not in decodable():
        raise Refused(FailureCode.UNSUPPORTED, missing_extra("AVIF" if is_avif else "HEIC"))
    if data.endswith(bytes(_LOST)):
        raise Refused(FailureCode.TRUNCATED, f"the {form} file ends in nothing but zeros")
    _use_one_thread()
    return Image.open(BytesIO(data), formats=(form,))


@lru_cache
def _use_one_thread() -> None:
    """Every core has a decoder already; thumbnails and depths are no photos."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if "HEIF" in decodable():
        import pillow_heif

        pillow_heif.register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
        )


def is_whole(data: bytes) -> bool:
    """Whether the boxes fill the file, and what describes the pixels is among them, and they."""
    kinds = set()
    for kind, end in _boxes(data):
        if end > len(data):
            return False
        kinds.add(kind)
    return bool(kinds & {b"meta", b"moov"}) and b"mdat" in kinds


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield type and end of each outermost box."""
    at = 0
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8 and size != 0:
            return  # another fault
        at = len(data) if size == 0 and len(kind) == 4 else at + max(size, 8)
        yield kind, at
