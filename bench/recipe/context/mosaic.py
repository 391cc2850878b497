"""Labelled tiles side by side, smaller than they were: their wide cracks become fine ones in the
context of a wall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bench.recipe.context.labels import CLEAR, CRACK, UNCLEAR
from bench.recipe.context.material import pick
from bench.studies.photos.sources import read, resized

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.recipe.context.material import Material, Pixels

_TILE = 227
_SURROUNDINGS = 61
"""Side of the square that a pixel is compared with."""
_SHORTEST = 110
"""Extent in pixels of a dark component that counts as a tile's crack."""
_FULLEST = 0.30
"""Share of its bounding square that a crack fills at most: more is a shadow or a stain."""


def mosaic(material: Material, rng: np.random.Generator, side: int) -> tuple[Pixels, Pixels]:
    """Pixels (`side`, `side`, 3) and truth map of tiles at 30 to 100 % of their size, flatter or
    narrower by up to 1.8; the cracked ones are one tile, mirrored."""
    tall = float(np.exp(rng.uniform(np.log(0.3), np.log(1.0))))
    wide = tall * float(np.exp(rng.uniform(-0.6, 0.6)))
    height, width = (int(np.clip(round(_TILE * scale), 56, _TILE)) for scale in (tall, wide))
    rows, columns = -(-side // height), -(-side // width)
    pixels = np.zeros((rows * height, columns * width, 3), np.uint8)
    truth = np.full(pixels.shape[:2], CLEAR, np.uint8)
    cracked = pick(rng, material.cracked)
    share = float(rng.choice((0.0, 0.15, 0.4, 0.8)))
    tone: NDArray[np.float32] | None = None
    alike = rng.random() < 0.7
    for n in range(rows * columns):
        is_crack = rng.random() < share
        tile = read(cracked if is_crack else pick(rng, material.clear))
        own = _truth(tile, height, width) if is_crack else np.full((height, width), CLEAR, np.uint8)
        tile = resized(tile, height, width)
        mean = tile.mean(axis=(0, 1), dtype=np.float32)
        tone = mean if tone is None else tone
        if alike:
            tile = (tile * (tone / np.maximum(mean, 1))).clip(0, 255).astype(np.uint8)
        top, left = height * (n // columns), width * (n % columns)
        place = np.s_[top : top + height, left : left + width]
        flips = tuple(slice(None, None, int(rng.choice((-1, 1)))) for _ in range(2))
        pixels[place], truth[place] = tile[flips], own[flips]
    top, left = (int(rng.integers(full - side + 1)) for full in truth.shape)
    cut = np.s_[top : top + side, left : left + side]
    return np.ascontiguousarray(pixels[cut]), np.ascontiguousarray(truth[cut])


def _truth(tile: Pixels, height: int, width: int) -> Pixels:
    """Truth map of a cracked tile, shrunk: UNCLEAR outside what was found of its crack."""
    mask = crack_pixels(tile)
    if mask is None:
        return np.full((height, width), UNCLEAR, np.uint8)
    # Thin lines must survive: a shrunk pixel that a crack fills by a fifth is a crack's.
    share = resized((mask * 255).astype(np.uint8), height, width)
    return np.where(share > 51, CRACK, UNCLEAR).astype(np.uint8)


def crack_pixels(tile: Pixels) -> NDArray[np.bool_] | None:
    """Where the crack lies in a tile of which only the label is known, (H, W): its dark thin lines.
    None where none stands out."""
    grey = ndimage.gaussian_filter(tile.astype(np.float32).mean(axis=2), 1.0)
    depth = ndimage.uniform_filter(grey, _SURROUNDINGS, mode="reflect") - grey
    usual = 1.4826 * float(np.median(np.abs(depth - np.median(depth))))
    dark = depth > max(10.0, 2.8 * usual)
    labels, _ = ndimage.label(dark, structure=np.ones((3, 3)))
    mask = np.zeros_like(dark)
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        extent = max(where.stop - where.start for where in place)
        part = labels[place] == number
        if extent >= _SHORTEST and part.sum() <= _FULLEST * extent * extent:
            mask[place] |= part
    return mask if mask.any() else None
