"""The dense variants: made from those for tiles, each compared with what it must agree with.

What a dense variant says of a lone tile must be what the tile's variant says. Of scenes that are
larger than a tile, fp32 must say what eager torch does; a lower precision is compared with fp32 on
the user's photos at their own scale.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.config import DENSE, ExportConfig
from export.densify import densify_to
from export.gates import CpuEngines, engine_version
from export.photos import Photos, golden_inputs, native_pixels, spread_evenly
from inspector.engines import Device
from inspector.engines.contract import VARIANTS
from inspector.engines.dense import DenseEngine
from inspector.engines.onnxruntime import check_session, open_session
from inspector.engines.parity import OOD_TOLERANCE, PROBABILITY_TOLERANCE
from inspector.errors import ExportError
from inspector.model.bundle import DenseView, ModelBundle, Variant
from inspector.model.network import DenseModel, load_deployed
from inspector.model.stamp import model_metadata
from inspector.model.verdict import probability
from inspector.model.windows import WindowMap
from inspector.synthesis import Kind, make_scene
from inspector.types import JsonObject, View

EXACT_TOLERANCE = 1e-3
"""Largest accepted difference of log odds in float32, as a share of them or of 1, whichever is
more; what one of another order of additions comes to is 1e-5."""
MOVED_SHARE = 0.99
MOST_MOVED = 1.5
"""Log odds by which a lower precision may move `MOVED_SHARE` of the windows at most. On the shipped
model int8 moves them by 0.7."""
MOST_OTHER = 0.02
"""Largest share of windows that may come to lie on the other side of even odds."""
MOST_PHOTOS = 32
LARGEST_SIDE = 768
"""Pixels along a side, in the middle of a photo, that are compared: enough windows, and bounded."""
_SCENES = ((Kind.CRACK, 352, 448), (Kind.JOINT, 384, 320), (Kind.CLEAN, 256, 288))
_SEED = 21


def make_dense(
    source: ModelBundle, proven: ModelBundle, config: ExportConfig, photos: Photos | None
) -> ModelBundle:
    """`proven`, a bundle with new ONNX variants for tiles, with the dense variants that belong to
    them, written beside. A lower precision whose windows are too far from fp32's is left out: the
    dense view then runs in fp32. Raises ExportError for a variant that was not made rightly."""
    made = {}
    for name, variant in config.dense.items():
        tiles = _tiles(source, proven, variant)
        out = proven.file(variant.file)
        densify_to(
            tiles.file(tiles.variants[""].file), out, source.positive_index, model_metadata(source)
        )
        seen = _gate(source, proven, variant, photos)
        if seen is not None:
            made[name] = replace(variant, parity=seen)
    return replace(proven, variants={**proven.variants, **made})


def _tiles(source: ModelBundle, proven: ModelBundle, variant: Variant) -> ModelBundle:
    """A bundle of nothing but the variant for tiles that belongs to a dense one, as `""`."""
    name = f"onnx-{variant.precision}"
    holder = proven if name in proven.variants else source
    return replace(holder, variants={"": holder.variants[name]})


def _gate(
    source: ModelBundle, proven: ModelBundle, variant: Variant, photos: Photos | None
) -> JsonObject | None:
    """Evidence for a variant; None for one of lower precision that is of no use for this model.
    Raises ExportError for one that was not made rightly."""
    with closing(open_variant(source, proven, variant)) as engine:
        seen: JsonObject = {
            "tiles": compare_tiles(source, proven, variant, engine),
            "engine": engine_version(VARIANTS),
        }
        if variant.precision == "fp32":
            return seen | _compare_exact(source, variant, engine)
        with closing(open_variant(source, proven, DENSE["dense-fp32"])) as exact:
            windows = _compare_windows(engine, exact, photos, source.preprocess.size)
            return windows and seen | windows


def open_variant(source: ModelBundle, proven: ModelBundle, variant: Variant) -> DenseEngine:
    """A dense variant that lies in `proven`, calibrated as tiles are."""
    file = proven.file(variant.file)
    session, _ = open_session(file, Device("cpu"), None)
    check_session(source, file, session, View.DENSE)
    view = DenseView(temperature=source.temperature, shift=0.0)
    return DenseEngine(session, view, variant.precision, source.preprocess.size)


def compare_tiles(
    source: ModelBundle, proven: ModelBundle, variant: Variant, engine: DenseEngine,
    raised_to: float = inf,
) -> JsonObject:  # fmt: skip
    """The golden images as the tile variant judges them and as the dense one does. Where the tile
    variant raises out-of-distribution scores to `raised_to` by a measure of its own, these are not
    compared. Raises ExportError where others, or probabilities, differ."""
    _, pixels_NHWC = golden_inputs(source.preprocess.size)
    bundle, precision = _tiles(source, proven, variant), variant.precision
    with CpuEngines() as opened:
        expected = opened(bundle, precision).run(pixels_NHWC)
    log_odds_N, ood_N = engine.judge_lone(pixels_NHWC)
    p_N = probability(log_odds_N / source.temperature)
    moved = float(_relative(p_N, expected.p_crack_N).max())
    alike_N = expected.ood_N < raised_to
    moved_ood = float(_relative(ood_N, expected.ood_N).max(where=alike_N, initial=0.0))
    if moved > PROBABILITY_TOLERANCE or moved_ood > OOD_TOLERANCE:
        tile = bundle.variants[""].file
        raise ExportError(
            f"{variant.file} does not judge tiles as {tile} does: p_crack {moved:.2g} off, "
            f"out-of-distribution score {moved_ood:.2g}; nothing was written"
        )
    return {"images": len(p_N), "max_difference": moved, "max_ood_difference": moved_ood}


def _compare_exact(source: ModelBundle, variant: Variant, engine: DenseEngine) -> JsonObject:
    """Scenes larger than a tile through eager torch and through the fp32 variant."""
    reference = DenseModel(load_deployed(source), source.preprocess.size).eval()
    moved = moved_ood = 0.0
    for pixels_HWC in scenes(source.preprocess.size):
        with torch.no_grad():
            expected = [part.numpy() for part in reference(torch.from_numpy(pixels_HWC[None]))]
        log_odds_NHW, ood_NHW = engine.judge_block(pixels_HWC)
        moved = max(moved, float(_relative(log_odds_NHW, expected[0]).max()))
        moved_ood = max(moved_ood, float(_relative(ood_NHW, expected[1]).max()))
    if max(moved, moved_ood) > EXACT_TOLERANCE:
        raise ExportError(
            f"{variant.file} does not judge like the original model: log odds {moved:.2g} off, "
            f"out-of-distribution scores {moved_ood:.2g}; nothing was written"
        )
    return {
        "scenes": len(_SCENES),
        "max_difference": moved,
        "max_ood_difference": moved_ood,
        "reference": f"torch {importlib.metadata.version('torch')}",
    }


def _compare_windows(
    engine: DenseEngine, exact: DenseEngine, photos: Photos | None, size: int
) -> JsonObject | None:
    """Every window of photos at their own scale through fp32 and through a lower precision; None
    when they are too far apart."""
    chosen = [] if photos is None else spread_evenly(photos.gating, MOST_PHOTOS)
    found = [_middle(pixels) for photo in chosen if (pixels := native_pixels(photo)) is not None]
    pairs = [(exact.run(pixels), engine.run(pixels)) for pixels in [*scenes(size), *found]]
    reference_W, candidate_W = (_joined(maps, "log_odds_HW") for maps in zip(*pairs, strict=True))
    ood_W = [_joined(maps, "ood_HW") for maps in zip(*pairs, strict=True)]
    moved_W = np.abs(candidate_W - reference_W)
    seen: JsonObject = {
        "photos": len(found),
        "windows": len(moved_W),
        "max_difference": float(moved_W.max()),
        "mean_difference": float(moved_W.mean()),
        "moved": float(np.quantile(moved_W, MOVED_SHARE)),
        "other_side": float(((reference_W >= 0) != (candidate_W >= 0)).mean()),
        "max_ood_difference": float(np.abs(ood_W[1] - ood_W[0]).max()),
        "reference": f"{engine_version(VARIANTS)}, fp32",
    }
    near = seen["moved"] <= MOST_MOVED and seen["other_side"] <= MOST_OTHER
    return seen if near else None


def _relative(found: NDArray[np.floating[Any]], expected: NDArray[np.floating[Any]]) -> Any:
    """Differences as a share of what is expected, or of 1, whichever is more; infinite where there
    is no number."""
    off = np.abs(found - expected) / np.maximum(np.abs(expected), 1)
    return np.nan_to_num(off, nan=np.inf)


def _joined(maps: Sequence[WindowMap], name: str) -> NDArray[np.float32]:
    return np.concatenate([getattr(each, name).ravel() for each in maps])


def scenes(size: int) -> list[NDArray[np.uint8]]:
    """Scenes of at least `size` px along a side, the model's input."""
    rng = np.random.default_rng(_SEED)
    return [make_scene(rng, max(h, size), max(w, size), kind).pixels for kind, h, w in _SCENES]


def _middle(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, left = (max(side - LARGEST_SIDE, 0) // 2 for side in pixels_HWC.shape[:2])
    return pixels_HWC[top : top + LARGEST_SIDE, left : left + LARGEST_SIDE]
