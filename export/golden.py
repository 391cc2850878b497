"""Which images become golden: synthetic ones only, because a bundle may be handed on and a
customer's photos may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inspector.synthesis import Kind, make_scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEED = 20
_SCENES = (Kind.CLEAN, Kind.CRACK, Kind.CRACK, Kind.JOINT, Kind.STAIN, Kind.SHADOW)


def golden_inputs(size: int) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Names and pixels, uint8 (K, size, size, 3): the extremes, noise, saturated colours (which
    alone show exchanged channels) and scenes of concrete. Always the same."""
    rng = np.random.default_rng(_SEED)
    images = {
        "black": np.zeros((size, size, 3), np.uint8),
        "white": np.full((size, size, 3), 255, np.uint8),
        "noise": rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        "red": _stripes(size, 0),
        "green": _stripes(size, 1),
        "blue": _stripes(size, 2),
    }
    for place, kind in enumerate(_SCENES):
        images[f"{kind}-{place}"] = make_scene(rng, size, size, kind).pixels
    return tuple(images), np.stack(list(images.values()))


def _stripes(size: int, channel: int) -> NDArray[np.uint8]:
    """Bars of one pure colour on black, 16 px wide."""
    image = np.zeros((size, size, 3), np.uint8)
    image[:, np.arange(size) // 16 % 2 == 1, channel] = 255
    return image
