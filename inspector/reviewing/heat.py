"""Where in a photo the model sees evidence for a crack. Runs in a process of its own."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from inspector.engines import open_backend
from inspector.errors import BundleError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.photos.decode import decode
from inspector.reviewing.pictures import CannotShowError
from inspector.types import Failure, ImageRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.engines import Backend

_SIDE = 224
"""Of the map as a picture, pixels: smooth enough to be stretched over a photo."""
_COLOURS = np.array([(255, 214, 102), (240, 120, 40), (200, 20, 40)], np.float64)
"""From weak to strong evidence: yellow, orange, red, told apart by lightness alone as well."""
_OPAQUE = 0.72

_opened: tuple[str, ModelBundle, Backend] | None = None


def find_bundle(model: Path | None, digest: str) -> Path | None:
    """The bundle that made a table, if it is at hand: `model`, or the one that comes along."""
    for path in (model, DEFAULT_PATH):
        if path is None:
            continue
        try:
            if ModelBundle.load(path, verify=False).digest == digest:
                return path
        except BundleError:
            if path == model:
                raise
    return None


def heat(bundle_path: str, address: str) -> bytes:
    """The class-activation map of one photo as a PNG with transparency, to be stretched over it:
    opaque where this photo's evidence is strongest, clear where there is none. Raises
    CannotShowError."""
    bundle, backend = _engine(bundle_path)
    outcome = decode(ImageRef.of(address), bundle.preprocess)
    if isinstance(outcome, Failure):
        raise CannotShowError(f"{outcome.code}: {outcome.detail}")
    cam_HW = backend.run(outcome.pixels_HWC[np.newaxis]).cam_NHW[0]
    return as_png(cam_HW)


def as_png(cam_HW: NDArray[np.float32]) -> bytes:
    """A map (h, w) in logits as an RGBA picture; only positive evidence shows."""
    evidence = np.maximum(cam_HW, 0) / max(float(cam_HW.max()), 1e-6)
    small = Image.fromarray(evidence.astype(np.float32))
    smooth = np.clip(np.asarray(small.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)), 0, 1)
    steps = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(smooth, steps, _COLOURS[:, c]) for c in range(3)]
    rgba = np.stack([*channels, 255 * _OPAQUE * smooth], axis=2).round().astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(rgba, "RGBA").save(stream, "PNG")
    return stream.getvalue()


def _engine(bundle_path: str) -> tuple[ModelBundle, Backend]:
    global _opened
    if _opened is None or _opened[0] != bundle_path:
        bundle = ModelBundle.load(Path(bundle_path))
        _opened = bundle_path, bundle, open_backend(bundle, device="cpu", threads=1)
    return _opened[1:]
