"""Photos of 12 megapixels for a measurement, laid out of tiles."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bench.files import spread_evenly
from inspector.errors import SourceError, UsageError
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.photos.source import Discovery
from inspector.synthesis import Kind, make_scene
from inspector.types import Decoded

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SEED = 0
WIDTH, HEIGHT = 4000, 3000
QUALITY = 90
"""Of the JPEG, as cameras write it: about 4 MB a photo, depending on the tiles."""
TILE = 224
_MOST_TILES = 512
_SCENES = 48
"""Scenes that the generator makes; drawing 12 megapixels of new ones per photo takes minutes."""


def make_photos(folder: Path, count: int, tiles: Path | None) -> str:
    """Write `count` JPEGs to `folder`; returns a sentence on what they are made of.

    `tiles`: a folder of tiles; None: the project's generator makes them. Raises UsageError for a
    count that cannot be right, SourceError when the folder holds nothing that can be decoded.
    """
    if count < 1:
        raise UsageError(f"--photos {count} is less than 1")
    rng = np.random.default_rng(SEED)
    pool_NHWC, origin = _tiles(tiles, rng)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(_mosaic(pool_NHWC, rng)).save(
            folder / f"photo_{number:04}.jpg", quality=QUALITY
        )
    return f"{count} JPEGs of {WIDTH} x {HEIGHT} px, quality {QUALITY}, mosaics of {origin}"


def _tiles(folder: Path | None, rng: np.random.Generator) -> tuple[NDArray[np.uint8], str]:
    """uint8 (N, TILE, TILE, 3) and where they come from."""
    if folder is None:
        kinds = islice(cycle(Kind), _SCENES)
        made = [make_scene(rng, TILE, TILE, kind).pixels for kind in kinds]
        return np.stack(made), f"{len(made)} scenes made by inspector.synthesis, no photos"
    refs = spread_evenly(list(Discovery([str(folder)])), _MOST_TILES)
    spec = PreprocessSpec(size=TILE)
    found = [o.pixels_HWC for ref in refs if isinstance(o := decode(ref, spec), Decoded)]
    if not found:
        raise SourceError(f"{folder} holds no tile that can be decoded; name a folder with tiles")
    return np.stack(found), f"{len(found)} tiles from {folder}"


def _mosaic(pool_NHWC: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Tiles drawn at random, uint8 (HEIGHT, WIDTH, 3); those at the right and lower edge are
    cut off."""
    rows, columns = -(-HEIGHT // TILE), -(-WIDTH // TILE)
    drawn = pool_NHWC[rng.integers(len(pool_NHWC), size=(rows, columns))]
    whole = drawn.transpose(0, 2, 1, 3, 4).reshape(rows * TILE, columns * TILE, 3)
    return np.ascontiguousarray(whole[:HEIGHT, :WIDTH])
