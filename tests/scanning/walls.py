"""Small photos for scans that only need photos that differ."""

from __future__ import annotations

import numpy as np
from PIL import Image


def wall(seed: int, width: int = 90, height: int = 70) -> Image.Image:
    """A smooth image that no other seed gives, so that its score is its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
