"""The golden images of a bundle: model inputs with their outputs when it was exported.

`golden.npz` lets `inspector doctor` replay them on another machine, without torch.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.errors import BundleError
from inspector.model.bundle import GOLDEN
from inspector.types import Scores

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.model.bundle import ModelBundle

_LARGEST = 1 << 30
"""Bytes of an array."""
_ANY = -1


@dataclass(frozen=True, slots=True)
class Golden:
    """K images, uint8 (K, size, size, 3), their names, and the float32 outputs of eager torch."""

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
            domain=self.scores.ood_N,
        )


def read_golden(bundle: ModelBundle) -> Golden:
    """Raises BundleError when the bundle has no golden images or they cannot be read."""
    file, size = bundle.file(GOLDEN), bundle.preprocess.size
    try:
        if GOLDEN not in bundle.files:
            raise ValueError("it is not listed")
        with zipfile.ZipFile(file) as arrays:
            names_N = _read(arrays, "names", "U", (_ANY,))
            count = len(names_N)
            golden = Golden(
                tuple(str(name) for name in names_N),
                _read(arrays, "images", "u1", (count, size, size, 3)),
                Scores(
                    _read(arrays, "p_crack", "f4", (count,)),
                    _read(arrays, "cam", "f4", (count, _ANY, _ANY)),
                    _read(arrays, "domain", "f4", (count,)),
                ),
            )
    except Exception as error:  # NumPy and zipfile raise many types on foreign files
        raise BundleError(
            f"{file} cannot be read ({error}); make it with: inspector export {bundle.path}"
        ) from error
    return golden


def _read(arrays: zipfile.ZipFile, name: str, kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """One array, whose header is read before its values: a small file may unpack to a huge array.
    Raises ValueError for another type or shape (`_ANY`: any length), and for values not finite."""
    with arrays.open(f"{name}.npy") as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} is of another format")
        found, by_column, dtype = np.lib.format.read_array_header_1_0(stream)
        fits = len(found) == len(shape) and all(
            want in (have, _ANY) for have, want in zip(found, shape, strict=True)
        )
        if by_column or not fits or not (dtype.kind == kind or dtype == np.dtype(f"<{kind}")):
            raise ValueError(f"{name} does not fit this model: {found} of {dtype}")
        length = math.prod(found) * dtype.itemsize
        if not 0 <= length <= _LARGEST:
            raise ValueError(f"{name} would take {length:,} bytes")
        values = np.frombuffer(bytearray(stream.read(length)), dtype).reshape(found)
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are not finite")
    return values
