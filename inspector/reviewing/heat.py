"""Heat maps of the review: run the model on one photo. Runs in a process of its own."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines import open_backend
from inspector.engines.dense import open_dense
from inspector.engines.photo import OVERLAP, TileMapper, dense_variant
from inspector.model.bundle import ModelBundle
from inspector.model.golden import read_golden
from inspector.model.preprocess import ALL_WHOLE, Views
from inspector.photos.decode import decode
from inspector.photos.drawing import CELLS, WINDOWS, HeatScale, draw_heat, draw_window_heat
from inspector.photos.pictures import LIMITS, CannotShowError
from inspector.types import Failure, ImageRef, View

if TYPE_CHECKING:
    from inspector.engines import Backend
    from inspector.engines.dense import DenseEngine


def heat(bundle_path: str, address: str, view: str | None = None) -> bytes:
    """Draw where the model sees evidence in a photo as a PNG, on one scale: the same evidence has
    the same colour in every photo. One that was judged whole is drawn by its activation map, on the
    scale of the model's golden images; others by their windows. Raises CannotShowError."""
    bundle = _bundle(bundle_path)
    whole = view in (None, View.WHOLE)
    views = ALL_WHOLE if whole else Views(View.DENSE)
    outcome = decode(ImageRef.of(address), bundle.preprocess, LIMITS, views)
    if isinstance(outcome, Failure):
        raise CannotShowError(f"{outcome.code}: {outcome.detail}")
    pixels_HWC = np.ascontiguousarray(outcome.pixels_HWC)
    backend, scale = _engine(bundle_path)
    height, width = pixels_HWC.shape[:2]
    if whole:
        drawn = draw_heat(backend.run(pixels_HWC[np.newaxis]).cam_NHW[0], scale)
    elif bundle.dense is None:
        found = TileMapper(backend, bundle.preprocess.size, OVERLAP).run(pixels_HWC)
        drawn = draw_window_heat(found, WINDOWS, width, height)
    else:
        found = _dense(bundle_path).run(pixels_HWC)
        offset = bundle.dense.offset_x, bundle.dense.offset_y
        drawn = draw_window_heat(found, CELLS, width, height, offset)
    file = BytesIO()
    drawn.save(file, "PNG")
    return file.getvalue()


@lru_cache(maxsize=1)
def _bundle(bundle_path: str) -> ModelBundle:
    return ModelBundle.load(Path(bundle_path))


@lru_cache(maxsize=1)
def _engine(bundle_path: str) -> tuple[Backend, HeatScale]:
    bundle = _bundle(bundle_path)
    scale = HeatScale.of(read_golden(bundle).scores.cam_NHW)
    return open_backend(bundle, device="cpu", threads=1), scale


@lru_cache(maxsize=1)
def _dense(bundle_path: str) -> DenseEngine:
    """In int8 where the bundle has it: a person waits for it."""
    bundle = _bundle(bundle_path)
    precision = dense_variant(bundle, "int8").precision
    return open_dense(bundle, "onnxruntime", device="cpu", precision=precision, threads=1)
