"""Pixels of any type as 8-bit RGB, by rules that do not depend on their values, and upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image
from PIL.Image import Transpose

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

BACKDROP = (128, 128, 128)
"""Mid grey, near the model's zero, where a photo is transparent: an edge of the alpha mask then
looks least like a crack."""
TURNS: Mapping[int, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""The turn that brings each EXIF orientation upright (EXIF 2.32, tag 0x0112); 1 and unknown ones
need none."""
_SWAPPING = (5, 6, 7, 8)
"""Orientations in which width and height are exchanged."""
_ROWS_AT_ONCE = 256


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any supported pixel type to 8-bit RGB."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        # Pillow has no way from premultiplied grey to RGBA.
        layered = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        backdrop = Image.new("RGBA", layered.size, (*BACKDROP, 255))
        return Image.alpha_composite(backdrop, layered).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    import numpy as np

    values = np.asarray(image)
    grey = (values >> 8).astype(np.uint8)
    grey[values == image.info.get("transparency", -1)] = BACKDROP[0]  # a PNG's colour key
    return Image.fromarray(grey).convert("RGB")


def in_pieces(image: Image.Image) -> NDArray[np.uint8]:
    """Convert an image to an RGB array, a few rows at a time: it is never there a third time."""
    import numpy as np

    image.load()  # may change the mode
    width, height = image.size
    pixels_HWC = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS_AT_ONCE):
        bottom = min(top + _ROWS_AT_ONCE, height)
        pixels_HWC[top:bottom] = np.asarray(to_rgb(image.crop((0, top, width, bottom))))
    return pixels_HWC


def upright_sides(sides: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height, or height and width, of a photo that is brought upright."""
    return sides[::-1] if orientation in _SWAPPING else sides


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image upright, by its EXIF orientation."""
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def turned(pixels_HWC: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of the pixels that shows them upright, by their EXIF orientation; nothing is moved."""
    if orientation in _SWAPPING:
        pixels_HWC = pixels_HWC.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels_HWC[::rows, ::columns]


def as_stored(pixels_HWC: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of upright pixels as they lie in a file of that orientation."""
    return turned(pixels_HWC, {6: 8, 8: 6}.get(orientation, orientation))
