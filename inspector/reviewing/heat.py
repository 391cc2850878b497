"""Heat maps of the review: run the model on one photo. Runs in a process of its own."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines import open_backend
from inspector.model.bundle import ModelBundle
from inspector.model.golden import read_golden
from inspector.photos.decode import decode
from inspector.photos.drawing import HeatScale, draw_heat
from inspector.photos.pictures import CannotShowError
from inspector.types import Failure, ImageRef

if TYPE_CHECKING:
    from inspector.engines import Backend


def heat(bundle_path: str, address: str) -> bytes:
    """Draw the class-activation map of a photo as a PNG, on the scale of the model's golden images:
    the same evidence has the same colour in every photo. Raises CannotShowError."""
    bundle, backend, scale = _engine(bundle_path)
    outcome = decode(ImageRef.of(address), bundle.preprocess)
    if isinstance(outcome, Failure):
        raise CannotShowError(f"{outcome.code}: {outcome.detail}")
    cam_HW = backend.run(outcome.pixels_HWC[np.newaxis]).cam_NHW[0]
    file = BytesIO()
    draw_heat(cam_HW, scale).save(file, "PNG")
    return file.getvalue()


@lru_cache(maxsize=1)
def _engine(bundle_path: str) -> tuple[ModelBundle, Backend, HeatScale]:
    bundle = ModelBundle.load(Path(bundle_path))
    scale = HeatScale.of(read_golden(bundle).scores.cam_NHW)
    return bundle, open_backend(bundle, device="cpu", threads=1), scale
