"""The fast way to the pixels of a plain JPEG.

Everything else about a JPEG is Pillow's: whether it is one, its facts, and what is wrong with a
bad one. This way gives the very pixels that Pillow would, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import features

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

try:
    from simplejpeg import decode_jpeg, decode_jpeg_header
except ImportError:
    decode_jpeg = None

_SAME_LIBRARY = features.check_feature("libjpeg_turbo")
"""Pillow can be built with another libjpeg, which upsamples by other arithmetic."""

_PLAIN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Start-of-frame markers (ITU-T T.81, table B.1) of baseline, extended sequential and progressive
JPEGs with Huffman codes. Whether arithmetic codes can be read depends on the build."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # these three define tables
_FIRST_SEGMENT = 2
_SEGMENTS = range(0xC0, 0xFF)
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA))  # restarts, start and end of image


def plain_pixels(data: bytes, sides: tuple[int, int]) -> NDArray[np.uint8] | None:
    """RGB pixels (H, W, 3) of the JPEG `data`, in which Pillow found a photo of `sides` (width,
    height), each at least 8 px.

    None for a JPEG that is not plain, not whole, or not without a flaw, and where simplejpeg is
    not installed: Pillow then has to decode it, or to say why not.
    """
    if decode_jpeg is None or not _SAME_LIBRARY:
        return None
    try:
        if not _is_plain(data) or decode_jpeg_header(data)[2] not in ("YCbCr", "Gray"):
            return None
        # `strict` makes errors of what libjpeg only warns about, such as data that end too early.
        pixels_HWC: NDArray[np.uint8] = decode_jpeg(data, "RGB", strict=True)
    except Exception:  # of many types; the file is Pillow's to judge
        return None
    width, height = sides
    return pixels_HWC if pixels_HWC.shape == (height, width, 3) else None


def _is_plain(data: bytes) -> bool:
    """Whether the first frame is 8-bit and of a kind that every libjpeg-turbo can decode; False
    also where the header is not one segment after the other."""
    at = _FIRST_SEGMENT
    while data[at] == 0xFF and (marker := data[at + 1]) in _SEGMENTS:
        if marker in _FRAMES:
            return marker in _PLAIN_FRAMES and data[at + 4] == 8
        if marker in _WITHOUT_LENGTH:
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False
