"""Draw where in a photo the model sees evidence for a crack."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 56
"""Pixels of a drawn map's longer side: who shows it smooths it up to the photo's size."""
OPACITY = 0.85
"""Opacity where the evidence is strongest."""
_INFERNO = np.array(
    [(0, 0, 3), (32, 12, 74), (87, 15, 109), (137, 34, 105), (187, 55, 84), (228, 90, 49),
     (249, 142, 8), (248, 203, 52), (252, 254, 164)],
    np.float64,
)  # fmt: skip
"""Every eighth of Matplotlib's `inferno`, whose colours are ordered by lightness for every kind of
eye (S. van der Walt and N. Smith, CC0)."""


@dataclass(frozen=True, slots=True)
class HeatScale:
    """Activations (logit units) drawn as nothing and as the full colour. One scale for all photos
    that are looked at together: a pale map means little evidence."""

    low: float
    high: float

    @classmethod
    def of(cls, cam_NHW: NDArray[np.float32]) -> HeatScale:
        """Span from the typical cell to the strongest cell of a typical crack."""
        strongest_N = cam_NHW.max(axis=(1, 2))
        low, high = float(np.median(cam_NHW)), float(np.quantile(strongest_N, 0.9))
        return cls(low, max(high, low + 1e-6))


def draw_heat(cam_HW: NDArray[np.float32], scale: HeatScale) -> bytes:
    """Draw an activation map.

    Args:
        cam_HW: Activations (h, w), logit units.
        scale: The scale of all maps that are shown together.

    Returns:
        A PNG with transparency, to be stretched over the photo; no evidence is transparent.
    """
    share_HW = np.clip((cam_HW - scale.low) / (scale.high - scale.low), 0, 1).astype(np.float32)
    rows, columns = share_HW.shape
    factor = SIDE / max(rows, columns)
    size = (round(columns * factor), round(rows * factor))
    smooth = Image.fromarray(share_HW).resize(size, Image.Resampling.BICUBIC)
    share_HW = np.clip(np.asarray(smooth), 0, 1)
    steps = np.linspace(0, 1, len(_INFERNO))
    channels = [np.interp(share_HW, steps, _INFERNO[:, channel]) for channel in range(3)]
    rgba = np.stack([*channels, 255 * OPACITY * np.sqrt(share_HW)], axis=2)
    file = BytesIO()
    Image.fromarray(rgba.round().astype(np.uint8)).save(file, "PNG", optimize=True)
    return file.getvalue()
