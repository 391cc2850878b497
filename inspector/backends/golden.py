"""The golden images of a bundle: model inputs with the answers they had when it was exported.

`golden.npz` lets `inspector doctor` replay them on another machine, without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.bundle import GOLDEN
from inspector.errors import BundleError
from inspector.types import Scores

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.bundle import ModelBundle


@dataclass(frozen=True, slots=True)
class Golden:
    """K images, uint8 (K, size, size, 3), their names, and the float32 answers of eager torch."""

    names: tuple[str, ...]
    pixels_NHWC: NDArray[np.uint8]
    scores: Scores

    def write(self, file: Path) -> None:
        """Equal values give equal bytes."""
        np.savez_compressed(
            file,
            names=np.array(self.names),
            images=self.pixels_NHWC,
            p_crack=self.scores.p_crack_N,
            cam=self.scores.cam_NHW,
            domain=self.scores.domain_N,
        )


def read_golden(bundle: ModelBundle) -> Golden:
    """Raises BundleError when the bundle has no golden images or they cannot be read."""
    file = bundle.file(GOLDEN)
    size = bundle.preprocess.size
    try:
        with np.load(file, allow_pickle=False) as arrays:
            names = tuple(str(name) for name in arrays["names"])
            pixels_NHWC = arrays["images"]
            scores = Scores(arrays["p_crack"], arrays["cam"], arrays["domain"])
    except Exception as error:  # NumPy and zipfile raise many types on foreign files
        raise BundleError(
            f"{file} cannot be read ({error}); make it with: inspector export {bundle.path}"
        ) from error
    if pixels_NHWC.shape != (len(names), size, size, 3) or len(scores.p_crack_N) != len(names):
        raise BundleError(f"{file} does not fit this model; export it again")
    return Golden(names, pixels_NHWC, scores)
