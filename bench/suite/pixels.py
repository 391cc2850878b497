"""The decoded images that engines are measured on, and a file of them for each engine's process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.mistakes import MISTAKEN, mistaken
from inspector.engines.contract import joined
from inspector.types import Scores

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.mistakes import Mistaken
    from inspector.engines import Backend
    from inspector.model.preprocess import PreprocessSpec

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Pool:
    """Images in memory, uint8 (N, size, size, 3), and the right answers to them."""

    pixels_NHWC: NDArray[np.uint8]
    expected: Scores
    mistakes: Mistaken = field(default_factory=dict)
    """What known mistakes would answer to the first of them, by their number as text; not in the
    file, because only the comparison asks for it."""


def make_pool(eager: Backend, pixels_NHWC: NDArray[np.uint8], spec: PreprocessSpec) -> Pool:
    """With what the reference says about them."""
    parts = [eager.run(pixels_NHWC[i : i + _BATCH]) for i in range(0, len(pixels_NHWC), _BATCH)]
    examples = {str(k): pixels_HWC for k, pixels_HWC in enumerate(pixels_NHWC[:MISTAKEN])}
    return Pool(pixels_NHWC, joined(parts), mistaken(eager, examples, spec))


def write_pool(file: Path, pool: Pool) -> None:
    right = pool.expected
    np.savez(
        file,
        pixels=pool.pixels_NHWC,
        p_crack=right.p_crack_N,
        cam=right.cam_NHW,
        domain=right.ood_N,
    )


def read_pool(file: Path) -> Pool:
    """Without the mistakes."""
    with np.load(file) as kept:
        return Pool(kept["pixels"], Scores(kept["p_crack"], kept["cam"], kept["domain"]))
