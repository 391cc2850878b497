"""Images of a benchmark: tiles and photos, from the user's folder or made for the purpose."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench.results import Images
from export.photos import spread_evenly
from inspector.core.text import display_path
from inspector.errors import DataError, SourceError
from inspector.labelled.folder import find_labelled
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.photos.source import Discovery
from inspector.synthesis import Kind, make_scene
from inspector.types import Decoded, ImageRef, View

TILES, PHOTOS, NATIVE = "tiles", "photos", "native"
"""Names of inputs. `photos` are judged whole, as far smaller images; some of the same files are
judged at their own scale as well."""
TILE = 227
"""Side of a tile, pixels, as METU's are."""
LARGE = 1000
"""Shorter side, pixels, from which a user's image is a photo and not a tile."""
WIDTH, HEIGHT = 4000, 3000
"""Pixels of a photo that is made."""
PHOTO_QUALITY, TILE_QUALITY = 90, 95
"""JPEG qualities; photos as cameras write them, about 4 MB each."""
_PATCH = 224
"""Side of the tiles in a photo that is made of them."""
_MOST_PATCHES = 512
_LOOKED_AT = 25
"""Files whose size is read before a folder is taken for tiles or photos."""


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

    @property
    def view(self) -> View:
        """How scans judge it."""
        return View.DENSE if self.name == NATIVE else View.WHOLE

    def facts(self) -> Images:
        """Description for the results."""
        sizes = [_size_of(ref) for ref in spread_evenly(self.refs, _LOOKED_AT)]
        width, height = (int(median(side)) for side in zip(*filter(None, sizes), strict=True))
        return Images(
            files=len(self.refs),
            width=width,
            height=height,
            megabytes=round(sum(ref.size or 0 for ref in self.refs) / 1e6, 1),
            origin=self.origin,
        )


def decoded(images: Input, count: int, spec: PreprocessSpec) -> dict[str, NDArray[np.uint8]]:
    """At most so many of the images, uint8 (size, size, 3) by path. Raises SourceError where none
    of them can be decoded."""
    outcomes = [decode(ref, spec) for ref in spread_evenly(images.refs, count)]
    good = {display_path(o.ref.path): o.pixels_HWC for o in outcomes if isinstance(o, Decoded)}
    if not good:
        raise SourceError(f"none of the {images.name} can be decoded; name another folder")
    return good


def find_photos(source: Path) -> tuple[list[ImageRef], int]:
    """The user's photos, and the shorter side that they typically have, pixels. Raises SourceError
    where a folder holds no photo that can be read."""
    refs = list(Discovery([os.path.abspath(source)])) if source.is_dir() else []
    sides = [min(size) for ref in spread_evenly(refs, _LOOKED_AT) if (size := _size_of(ref))]
    if not sides:
        raise SourceError(f"{source} holds no photo that can be read; name a folder with photos")
    return refs, int(median(sides))


def make_inputs(source: Path | None, folder: Path, tiles: int, photos: int) -> list[Input]:
    """At most so many tiles and photos in `folder`. The kind that the user's `source` does not hold
    is made out of the one it does; without a source both are made by the project's generator.
    Raises SourceError where the source holds nothing that can be decoded."""
    if source is None:
        made = _generated(folder / TILES, tiles)
        return [made, _mosaics(folder / PHOTOS, photos, made, made.origin)]
    refs, side = find_photos(source)
    name, most = (PHOTOS, photos) if side >= LARGE else (TILES, tiles)
    chosen = spread_evenly(refs, most)
    link_photos(chosen, folder / name, root=source)
    own = gathered(name, folder / name, f"{len(chosen)} files of the folder given, evenly spread")
    if name == PHOTOS:
        return [_cut(folder / TILES, tiles, own), own]
    return [own, _mosaics(folder / PHOTOS, photos, own, "the tiles")]


def link_photos(refs: Iterable[ImageRef], folder: Path, *, root: Path) -> None:
    """Make links in `folder` to the files of `refs`, all below `root`, under the same relative
    names; copies where links are not allowed."""
    folder.mkdir(parents=True)
    for ref in refs:
        place = folder / os.path.relpath(ref.path, root)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.symlink_to(ref.path)
        except OSError:
            shutil.copyfile(ref.path, place)


def gathered(name: str, folder: Path, origin: str) -> Input:
    """The images in a folder."""
    try:
        truth = {display_path(image.path): image.is_crack for image in find_labelled(folder)}
    except DataError:  # there are no class folders
        truth = {}
    refs = tuple(Discovery([str(folder)]))
    return Input(name=name, folder=folder, refs=refs, origin=origin, truth=truth)


def _generated(folder: Path, count: int) -> Input:
    """Synthetic scenes in class folders, so that the truth is known; every second has a crack."""
    rng = np.random.default_rng(0)
    others = cycle(kind for kind in Kind if kind is not Kind.CRACK)
    for number in range(count):
        kind = next(others) if number % 2 else Kind.CRACK
        place = folder / ("Positive" if kind is Kind.CRACK else "Negative")
        place.mkdir(parents=True, exist_ok=True)
        scene = Image.fromarray(make_scene(rng, TILE, TILE, kind).pixels)
        scene.save(place / f"{number:05}.jpg", quality=TILE_QUALITY)
    return gathered(TILES, folder, f"{count} scenes made by inspector.synthesis, no photos")


def _mosaics(folder: Path, count: int, tiles: Input, origin: str) -> Input:
    """JPEGs laid out of tiles that are drawn at random."""
    pool = decoded(tiles, _MOST_PATCHES, PreprocessSpec(size=_PATCH))
    pool_NHWC, rng = np.stack(list(pool.values())), np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        photo = Image.fromarray(_mosaic(pool_NHWC, rng))
        photo.save(folder / f"photo_{number:04}.jpg", quality=PHOTO_QUALITY)
    return gathered(PHOTOS, folder, f"{count} mosaics of {origin}")


def _mosaic(pool_NHWC: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Tiles drawn at random, uint8 (HEIGHT, WIDTH, 3); cut off at the right and lower edge."""
    rows, columns = -(-HEIGHT // _PATCH), -(-WIDTH // _PATCH)
    drawn = pool_NHWC[rng.integers(len(pool_NHWC), size=(rows, columns))]
    whole = drawn.transpose(0, 2, 1, 3, 4).reshape(rows * _PATCH, columns * _PATCH, 3)
    return np.ascontiguousarray(whole[:HEIGHT, :WIDTH])


def _cut(folder: Path, count: int, photos: Input) -> Input:
    """Tiles from all over the photos, at full resolution."""
    folder.mkdir(parents=True)
    each, made = -(-count // len(photos.refs)), 0
    for ref in photos.refs:
        with suppress(Exception), Image.open(ref.path) as opened:  # damaged photos give no tiles
            photo = ImageOps.exif_transpose(opened).convert("RGB")
            columns, rows = (range(0, side - TILE + 1, TILE) for side in photo.size)
            corners = [(x, y) for y in rows for x in columns]
            for x, y in spread_evenly(corners, min(each, count - made)):
                tile = photo.crop((x, y, x + TILE, y + TILE))
                tile.save(folder / f"{made:05}.jpg", quality=TILE_QUALITY)
                made += 1
    if not made:
        raise SourceError("none of the photos can be decoded; name a folder with photos")
    return gathered(TILES, folder, f"{made} tiles of {TILE} px cut from the photos")


def _size_of(ref: ImageRef) -> tuple[int, int] | None:
    try:
        with Image.open(ref.path) as image:
            return image.size
    except Exception:  # Pillow raises many types on damaged files
        return None
