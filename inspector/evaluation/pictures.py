"""Images inside the page: what the model saw, and where it saw evidence for a crack."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.photos.decode import decode
from inspector.types import Decoded, ImageRef

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from inspector.model.preprocess import PreprocessSpec

JPEG_QUALITY = 85
HEAT_SIDE = 56
"""Pixels of a heat map's longer side: the browser smooths it up to the photo's size."""
HEAT_OPACITY = 0.85
"""Where the evidence is strongest."""


@dataclass(frozen=True, slots=True)
class HeatScale:
    """Activations (logit units) drawn as nothing and as the full colour, the same for a whole
    report, so that a pale picture means little evidence."""

    low: float
    high: float

    @classmethod
    def of(cls, cam_NHW: NDArray[np.float32]) -> HeatScale:
        """From the typical cell to the strongest cell of a typical crack."""
        strongest_N = cam_NHW.max(axis=(1, 2))
        low, high = float(np.median(cam_NHW)), float(np.quantile(strongest_N, 0.9))
        return cls(low, max(high, low + 1e-6))


def picture_of(path: str, spec: PreprocessSpec) -> str | None:
    """A data URI of the image as the model sees it; None where it cannot be decoded any more."""
    from PIL import Image

    outcome = decode(ImageRef.of(path), spec)
    if not isinstance(outcome, Decoded):
        return None
    return _data_uri(Image.fromarray(outcome.pixels_HWC), "JPEG", quality=JPEG_QUALITY)


def heat_of(cam_HW: NDArray[np.float32], scale: HeatScale) -> str:
    """A data URI of the activation map in the colours of Matplotlib's `inferno`, which are ordered
    by lightness for every kind of eye; no evidence is transparent."""
    import matplotlib as mpl
    from PIL import Image

    share = np.clip((cam_HW - scale.low) / (scale.high - scale.low), 0, 1).astype(np.float32)
    rows, columns = share.shape
    factor = HEAT_SIDE / max(rows, columns)
    size = (round(columns * factor), round(rows * factor))
    smooth = Image.fromarray(share).resize(size, Image.Resampling.BICUBIC)
    share = np.clip(np.asarray(smooth), 0, 1)
    rgba = mpl.colormaps["inferno"](share, bytes=True)
    rgba[..., 3] = np.round(255 * HEAT_OPACITY * np.sqrt(share))
    return _data_uri(Image.fromarray(rgba), "PNG", optimize=True)


def _data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{text}"
