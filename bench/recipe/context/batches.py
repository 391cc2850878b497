"""Steps' batches, each from (seed, epoch, step) and the epoch's odds alone: a resumed training sees
what an unbroken one would have seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from bench.recipe.context.labels import CLEAR, IGNORED, WINDOW, window_labels
from bench.recipe.context.material import draw, pick
from bench.recipe.context.views import lit, scene_view, tile_view
from bench.studies.photos.sources import read
from inspector.training.data import TrainBatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from bench.recipe.context.material import Material, Pixels

CONTEXTS = ((320, 14), (384, 10), (448, 7))
"""Crops with context a step, in turn: side in pixels, number. Each costs as much as the tiles."""
_TILE_ODDS = {"tile": 0.36, "crop": 0.06, "drone": 0.16, "scene": 0.42}
_DRONE_CONTEXT = 0.3
"""Share of the contexts that are untouched drone crops."""
_TRIES = 8
_NO_SCENE = -1


@dataclass(frozen=True, slots=True)
class ContextBatch(TrainBatch):
    """Tiles, and crops with context whose windows have labels."""

    scene_N: NDArray[np.int64] = None  # type: ignore[assignment]
    """Numbers of the scenes that the tiles show, or -1."""
    context_MHWC: Tensor = None  # type: ignore[assignment]
    """uint8 (M, s, s, 3)."""
    window_MHW: Tensor = None  # type: ignore[assignment]
    """int64 (M, n, n), see `window_labels`."""
    context_scene_M: NDArray[np.int64] = None  # type: ignore[assignment]


class Steps(Dataset[ContextBatch]):
    """The batches of one epoch."""

    def __init__(
        self, material: Material, shards: Sequence[Path], first: int,
        odds_S: NDArray[np.float64], *, tiles: int, steps: int, seed: tuple[int, int],
    ) -> None:  # fmt: skip
        """`shards` are the epoch's files, `first` the number of their first scene, `odds_S` how
        often each scene is drawn; `tiles` a step."""
        self.material, self.files, self.first = material, shards, first
        self.shards: list[Pixels] = []
        self.reached_S = np.cumsum(odds_S / odds_S.sum())
        self.tiles, self.steps, self.seed = tiles, steps, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> ContextBatch:
        rng = np.random.default_rng([*self.seed, step])
        tiles = [self._tile(rng) for _ in range(self.tiles)]
        side, count = CONTEXTS[step % len(CONTEXTS)]
        contexts = [self._context(rng, side) for _ in range(count)]
        return ContextBatch(
            pixels_NHWC=torch.from_numpy(np.stack([tile[0] for tile in tiles])),
            label_N=torch.tensor([tile[1] for tile in tiles]),
            scene_N=np.array([tile[2] for tile in tiles]),
            context_MHWC=torch.from_numpy(np.stack([context[0] for context in contexts])),
            window_MHW=torch.from_numpy(np.stack([context[1] for context in contexts])),
            context_scene_M=np.array([context[2] for context in contexts]),
        )

    def _tile(self, rng: np.random.Generator) -> tuple[Pixels, int, int]:
        """Pixels, label, number of the scene."""
        kind = draw(rng, _TILE_ODDS)
        # Drone crops show cracks more often than not, crops of textures none: together, even.
        wanted = int(rng.random() < (0.55 if kind == "tile" else 0.5))
        material = self.material
        if kind == "tile":
            pool = material.cracked if wanted else material.clear
            return lit(tile_view(read(pick(rng, pool)), rng, WINDOW), rng), wanted, _NO_SCENE
        found = None
        for _ in range(0 if kind == "crop" else _TRIES):
            scene, number = self._drone(rng) if kind == "drone" else self._scene(rng)
            pixels, truth = scene_view(scene, rng, WINDOW)
            label = int(window_labels(truth)[0, 0])
            if label != IGNORED:
                found = pixels, label, number
                if label == wanted:
                    break
        if found is None:
            crop = tile_view(read(pick(rng, material.crops)), rng, WINDOW)
            return lit(crop, rng), CLEAR, _NO_SCENE
        return lit(found[0], rng), found[1], found[2]

    def _context(
        self, rng: np.random.Generator, side: int
    ) -> tuple[Pixels, NDArray[np.int64], int]:
        """Pixels, labels of the windows, number of the scene."""
        scene, number = self._drone(rng) if rng.random() < _DRONE_CONTEXT else self._scene(rng)
        pixels, truth = scene_view(scene, rng, side)
        return lit(pixels, rng), window_labels(truth), number

    def _drone(self, rng: np.random.Generator) -> tuple[Pixels, int]:
        drone = self.material.drone
        return drone[int(rng.integers(len(drone)))], _NO_SCENE

    def _scene(self, rng: np.random.Generator) -> tuple[Pixels, int]:
        """A scene (H, H, 4) and its number, counted over all shards ever made."""
        if not self.shards:  # mapped in the process that draws
            self.shards = [np.load(file, mmap_mode="r") for file in self.files]
        place = int(np.searchsorted(self.reached_S, rng.random()))
        place = min(place, len(self.reached_S) - 1)
        shard, within = divmod(place, len(self.shards[0]))
        return self.shards[shard][within], self.first + place
