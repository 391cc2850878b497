"""The photos that are learned from, and crack-free surfaces made of them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.recipe.context.labels import CLEAR, CRACK
from bench.studies.photos.sources import LEARN, drone, mirrored, read, resized, textures, tiled
from inspector.synthesis import Kind, make_scene

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from inspector.labelled.folder import LabelledImage

    Pixels = NDArray[np.uint8]

_ODDS = {"texture": 0.40, "tile": 0.28, "crop": 0.16, "drawn": 0.16}


class Material:
    """Tiles of sources that have cracks, crops of those that have none, drone crops with masks and
    seamless textures; of the last two, what `bench.studies.photos.sources` leaves to learn from."""

    def __init__(self, images: Sequence[LabelledImage], data: Path) -> None:
        with_cracks = {image.source for image in images if image.is_crack}
        clear = [image for image in images if not image.is_crack]
        self.clear = [Path(image.path) for image in clear if image.source in with_cracks]
        self.crops = [Path(image.path) for image in clear if image.source not in with_cracks]
        self.cracked = [Path(image.path) for image in images if image.is_crack]
        self.data = data

    @cached_property
    def drone(self) -> list[Pixels]:
        """Drone crops, uint8 (448, 448, 4): colours, and the truth map last."""
        found = [photo for photo in drone(self.data) if photo.part == LEARN]
        return [
            np.dstack([photo.pixels, np.where(photo.mask, CRACK, CLEAR).astype(np.uint8)])
            for photo in found
        ]

    @cached_property
    def textures(self) -> dict[str, Pixels]:
        return textures(self.data, LEARN)

    def surface(self, rng: np.random.Generator, side: int) -> tuple[Pixels, str]:
        """A crack-free surface, uint8 (`side`, `side`, 3), and what it is: a texture's name, or a
        key of `_ODDS`."""
        kind = draw(rng, _ODDS)
        if kind == "texture":
            name = str(rng.choice(list(self.textures)))
            return tiled(rng, self.textures[name], side, side), name
        if kind == "drawn":
            return make_scene(rng, side, side, Kind.CLEAN).pixels, kind
        tile = read(pick(rng, self.clear if kind == "tile" else self.crops))
        scale = float(np.exp(rng.uniform(np.log(0.6), np.log(1.6))))
        own = max(round(tile.shape[0] * scale), side // 3 + 1)
        return mirrored(rng, resized(tile, own, own), side, side), kind


def draw(rng: np.random.Generator, odds: Mapping[str, float]) -> str:
    """One of the words, by their odds."""
    return str(rng.choice(list(odds), p=list(odds.values())))


def pick(rng: np.random.Generator, files: Sequence[Path]) -> Path:
    return files[int(rng.integers(len(files)))]
