"""The images of a run: tiles and photos, from the user's folder or made for the purpose."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from bench.files import link_photos, spread_evenly
from bench.photos import make_photos
from inspector.core.text import display_path
from inspector.errors import DataError, SourceError
from inspector.labelled.folder import find_labelled
from inspector.photos.source import Discovery
from inspector.synthesis import Kind, make_scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.types import ImageRef, JsonObject

TILES, PHOTOS = "tiles", "photos"
TILE = 227
"""Side of a tile, as METU's are."""
LARGE = 1000
"""Shorter side, in pixels, from which a user's image is a photo and not a tile."""
_LOOKED_AT = 25
"""Files whose size is read before a folder is taken for tiles or photos."""
QUALITY = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A folder that every program judges."""

    name: str
    folder: Path
    refs: tuple[ImageRef, ...]
    origin: str
    """Where the images come from, in words."""
    truth: dict[str, bool] = field(default_factory=dict)
    """Whether there is a crack, by path, where that is known."""

    def facts(self) -> JsonObject:
        """For results.json; width and height are the median ones."""
        sizes = [_size_of(ref) for ref in spread_evenly(self.refs, _LOOKED_AT)]
        known = [size for size in sizes if size]
        width, height = (int(median(side)) for side in zip(*known, strict=True))
        return {
            "files": len(self.refs),
            "width": width,
            "height": height,
            "megabytes": round(sum(ref.size or 0 for ref in self.refs) / 1e6, 1),
            "origin": self.origin,
        }


def make_inputs(source: Path | None, folder: Path, tiles: int, photos: int) -> list[Input]:
    """Tiles and photos in `folder`; what the user's folder does not hold is made out of what it
    does. Raises SourceError when it holds nothing that can be decoded."""
    if source is None:
        made = _made_tiles(folder / TILES, tiles)
        return [made, _mosaics(folder / PHOTOS, photos, made.folder, made.origin)]
    root = Path(os.path.abspath(source))
    refs = list(Discovery([str(root)]))
    found = [size for ref in spread_evenly(refs, _LOOKED_AT) if (size := _size_of(ref))]
    if not found or not root.is_dir():
        raise SourceError(f"{source} holds no photo that can be read; name a folder with photos")
    if median(map(min, found)) >= LARGE:
        chosen = _linked(PHOTOS, spread_evenly(refs, photos), folder / PHOTOS, root)
        return [_cut(folder / TILES, tiles, chosen), chosen]
    chosen = _linked(TILES, spread_evenly(refs, tiles), folder / TILES, root)
    return [chosen, _mosaics(folder / PHOTOS, photos, chosen.folder, "the tiles")]


def _linked(name: str, refs: Sequence[ImageRef], folder: Path, root: Path) -> Input:
    link_photos(refs, folder, root=root)
    return _input(name, folder, f"{len(refs)} files of the folder given, evenly spread")


def _input(name: str, folder: Path, origin: str) -> Input:
    refs = tuple(Discovery([str(folder)]))
    return Input(name=name, folder=folder, refs=refs, origin=origin, truth=_truth(folder))


def _truth(folder: Path) -> dict[str, bool]:
    """By class folders; empty where there are none."""
    try:
        return {display_path(image.path): image.is_crack for image in find_labelled(folder)}
    except DataError:
        return {}


def _made_tiles(folder: Path, count: int) -> Input:
    """Synthetic scenes in class folders, so that the truth is known; every second has a crack."""
    rng = np.random.default_rng(0)
    others = cycle(kind for kind in Kind if kind is not Kind.CRACK)
    for number in range(count):
        kind = next(others) if number % 2 else Kind.CRACK
        place = folder / ("Positive" if kind is Kind.CRACK else "Negative")
        place.mkdir(parents=True, exist_ok=True)
        scene = Image.fromarray(make_scene(rng, TILE, TILE, kind).pixels)
        scene.save(place / f"{number:05}.jpg", quality=QUALITY)
    return _input(TILES, folder, f"{count} scenes made by inspector.synthesis, no photos")


def _mosaics(folder: Path, count: int, tiles: Path, origin: str) -> Input:
    make_photos(folder, count, tiles)
    return _input(PHOTOS, folder, f"{count} mosaics of 4000 x 3000 px, quality 90, of {origin}")


def _cut(folder: Path, count: int, photos: Input) -> Input:
    """Tiles from all over the photos, at full resolution."""
    folder.mkdir(parents=True)
    each, made = -(-count // len(photos.refs)), 0
    for ref in photos.refs:
        with suppress(Exception), Image.open(ref.path) as opened:  # damaged photos give no tiles
            photo = ImageOps.exif_transpose(opened).convert("RGB")
            for x, y in spread_evenly(_corners(*photo.size), min(each, count - made)):
                tile = photo.crop((x, y, x + TILE, y + TILE))
                tile.save(folder / f"{made:05}.jpg", quality=QUALITY)
                made += 1
    if not made:
        raise SourceError("none of the photos can be decoded; name a folder with photos")
    return _input(TILES, folder, f"{made} tiles of {TILE} px cut from the photos")


def _corners(width: int, height: int) -> list[tuple[int, int]]:
    """Upper left corners of all whole tiles, in reading order."""
    columns, rows = range(0, width - TILE + 1, TILE), range(0, height - TILE + 1, TILE)
    return [(x, y) for y in rows for x in columns]


def _size_of(ref: ImageRef) -> tuple[int, int] | None:
    try:
        with Image.open(ref.path) as image:
            return image.size
    except Exception:  # Pillow raises many types on damaged files
        return None
