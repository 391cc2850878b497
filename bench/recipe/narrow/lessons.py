"""Lessons: pictures with the full model's answers to them, in shards that a process writes ahead.

A picture is changed in light and place before the full model answers, so that what is learned is
what it said of these very pixels. Photos of `SIDE` px show contexts, tiles of `WINDOW` px what a
scan of tiles sees, padding included; both are taught, and pictures of other things, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.recipe.context.labels import WINDOW
from bench.recipe.context.material import pick
from bench.recipe.context.scenes import SIDE, make_with_truth, stones
from bench.recipe.context.views import lit, scene_view, tile_view
from bench.studies.photos.sources import read
from inspector.core.durable import replacing
from inspector.synthesis.outliers import outlier_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.recipe.context.material import Material

    Pixels = NDArray[np.uint8]
    Teacher = Callable[[Pixels], tuple[NDArray[np.float32], NDArray[np.float32]]]
    """uint8 (H, W, 3) -> log odds of the cells and scores of the windows."""
    Lessons = dict[str, NDArray[np.generic]]

_PHOTO_ODDS = {"scene": 0.56, "stones": 0.18, "drone": 0.14, "foreign": 0.12}
_TILE_ODDS = {"tile": 0.4, "crop": 0.07, "drone": 0.1, "scene": 0.3, "foreign": 0.13}
_PLAIN = 0.25
"""Share of the photos whose light is left as it was."""


class School:
    """Makes shards. Shard n comes of the generator (seed, n): any process can make it again."""

    def __init__(
        self, material: Material, teacher: Teacher, folder: Path, *,
        photos: int = 96, tiles: int = 288, seed: int = 0,
    ) -> None:  # fmt: skip
        """`photos` and `tiles` of each shard."""
        self.material, self.teacher, self.folder = material, teacher, folder
        self.photos, self.tiles, self.seed = photos, tiles, seed
        self.foreign: dict[int, Iterator[Pixels]] = {}

    def make(self, number: int) -> Path:
        """Write a shard in one step, unless it is there."""
        file = self.folder / f"lessons-{number:05}.npz"
        if file.exists():
            return file
        rng = np.random.default_rng([self.seed, number])
        seed = int(rng.integers(2**31))
        self.foreign = {
            side: outlier_images(self.photos + self.tiles, side, seed) for side in (SIDE, WINDOW)
        }
        photos = [self.photo(rng) for _ in range(self.photos)]
        tiles = [self.tile(rng, photos) for _ in range(self.tiles)]
        arrays = {**self._taught("photo", photos), **self._taught("tile", tiles)}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as draft, draft.open("xb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        return file

    def _taught(self, name: str, pictures: list[Pixels]) -> Lessons:
        answers = [self.teacher(pixels) for pixels in pictures]
        cells, domain = (np.stack(part) for part in zip(*answers, strict=True))
        return {name: np.stack(pictures), f"{name}_cells": cells, f"{name}_domain": domain}

    def photo(self, rng: np.random.Generator) -> Pixels:
        """A context, uint8 (SIDE, SIDE, 3)."""
        kind = _drawn(rng, _PHOTO_ODDS)
        if kind == "foreign":
            return next(self.foreign[SIDE])
        makers = {"drone": self._drone, "stones": self._stones, "scene": self._scene}
        pixels, _ = scene_view(makers[kind](rng), rng, SIDE)
        return pixels if rng.random() < _PLAIN else lit(pixels, rng)

    def tile(self, rng: np.random.Generator, photos: list[Pixels]) -> Pixels:
        """A tile, uint8 (WINDOW, WINDOW, 3); some are cut from `photos`."""
        kind = _drawn(rng, _TILE_ODDS)
        if kind == "foreign":
            return next(self.foreign[WINDOW])
        if kind == "scene":
            photo = photos[int(rng.integers(len(photos)))]
            top, left = rng.integers(SIDE - WINDOW + 1, size=2)
            return np.ascontiguousarray(photo[top : top + WINDOW, left : left + WINDOW])
        if kind == "drone":
            return lit(scene_view(self._drone(rng), rng, WINDOW)[0], rng)
        material = self.material
        either = material.cracked if rng.random() < 0.5 else material.clear
        pool = material.crops if kind == "crop" else either
        pixels = tile_view(read(pick(rng, pool)), rng, WINDOW)
        return pixels if rng.random() < _PLAIN else lit(pixels, rng)

    def _scene(self, rng: np.random.Generator) -> Pixels:
        return make_with_truth(self.material, rng)

    def _stones(self, rng: np.random.Generator) -> Pixels:
        return np.dstack(stones(self.material, rng))

    def _drone(self, rng: np.random.Generator) -> Pixels:
        drone = self.material.drone
        return drone[int(rng.integers(len(drone)))]


def _drawn(rng: np.random.Generator, odds: dict[str, float]) -> str:
    return str(rng.choice(list(odds), p=list(odds.values())))
