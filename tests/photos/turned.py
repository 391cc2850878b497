"""One photo, stored in each of the eight ways that EXIF knows."""

from __future__ import annotations

from PIL import Image
from PIL.Image import Transpose

TURNS = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
"""What is done to an upright photo to store it, by EXIF orientation."""


def save_turned(upright, file, orientation):
    """Save a JPEG that is `upright` when it is shown, stored as `orientation` says."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = TURNS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    stored.save(file, exif=exif, quality=92)
    return file.resolve()
