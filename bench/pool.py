"""Images in memory and the right answers to them, for engines that are measured alone."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from bench.files import spread_evenly
from bench.mistakes import mistaken
from inspector.backends import open_backend
from inspector.backends.contract import joined
from inspector.data.decode import decode
from inspector.data.source import Discovery
from inspector.data.synthesis import Kind, make_scene
from inspector.errors import SourceError
from inspector.machine import usable_cores
from inspector.types import Decoded, Scores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.mistakes import Mistaken
    from inspector.bundle import ModelBundle
    from inspector.preprocess import PreprocessSpec

SEED = 0
MISTAKEN = 48
"""Images on which the reference is also given known mistakes."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Images in memory, uint8 (N, size, size, 3), and the right answers to them."""

    pixels_NHWC: NDArray[np.uint8]
    expected: Scores
    mistakes: Mistaken
    """What known mistakes would answer to the first of them, by their number as text."""

    def batches(self, size: int) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
        """Full batches only, so that every run of a case costs the same, and their places."""
        for start in range(0, len(self.pixels_NHWC) - size + 1, size):
            place = slice(start, start + size)
            yield place, self.pixels_NHWC[place]


def load_images(
    folder: Path | None, spec: PreprocessSpec, count: int
) -> tuple[NDArray[np.uint8], str]:
    """`count` model inputs, repeated where there are fewer, and a sentence on their origin. Raises
    SourceError when the folder holds no photo that can be decoded."""
    if folder is None:
        rng = np.random.default_rng(SEED)
        scenes = islice(cycle(Kind), count)
        made = [make_scene(rng, spec.size, spec.size, kind).pixels for kind in scenes]
        return np.stack(made), f"{count} made by inspector.data.synthesis, no photos"
    refs = spread_evenly(list(Discovery([str(folder)])), count)
    found = [o.pixels_HWC for ref in refs if isinstance(o := decode(ref, spec), Decoded)]
    if not found:
        raise SourceError(f"{folder} holds no photo that can be decoded; name a folder with photos")
    pixels_NHWC = np.stack(found)[np.arange(count) % len(found)]
    repeated = f", repeated to {count}" if len(found) < count else ""
    return pixels_NHWC, f"{len(found)} photos from {folder}{repeated}"


def make_pool(bundle: ModelBundle, pixels_NHWC: NDArray[np.uint8]) -> Pool:
    """With what the weights say in eager torch on the CPU."""
    with closing(open_backend(bundle, "eager", device="cpu", threads=usable_cores())) as eager:
        parts = [eager.run(pixels_NHWC[i : i + 32]) for i in range(0, len(pixels_NHWC), 32)]
        examples = {str(k): pixels_HWC for k, pixels_HWC in enumerate(pixels_NHWC[:MISTAKEN])}
        mistakes = mistaken(eager, examples, bundle.preprocess)
    return Pool(pixels_NHWC, joined(parts), mistakes)
