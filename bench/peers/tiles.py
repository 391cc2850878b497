"""Tiles of a photo as peers cut them: of the model's size, overlapping by a fifth, the last of each
row and column aligned to the border."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OVERLAP = 0.2
"""Share of a tile's side that it has in common with its neighbour; the default of the tools that
cut photos up (SAHI, Ultralytics)."""


def read_photo(path: Path, least: int) -> NDArray[np.uint8] | None:
    """Upright pixels at full size, uint8 (H, W, 3), sides of at least `least`; None for a file that
    cannot be read."""
    try:
        with Image.open(path) as opened:
            photo = ImageOps.exif_transpose(opened.convert("RGB"))
            if min(photo.size) < least:
                photo = ImageOps.pad(photo, (max(photo.width, least), max(photo.height, least)))
            return np.asarray(photo)
    except Exception:  # Pillow raises many types on damaged files
        return None


def cut(photo_HWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """All tiles of a photo in reading order, uint8 (N, size, size, 3)."""
    rows, columns = (starts(side, size) for side in photo_HWC.shape[:2])
    tiles = [photo_HWC[y : y + size, x : x + size] for y in rows for x in columns]
    return np.stack(tiles)


def starts(side: int, size: int) -> list[int]:
    """First pixels of the tiles along a side of `side` >= `size` pixels."""
    return sorted({*range(0, side - size + 1, round(size * (1 - OVERLAP))), side - size})
