"""The view of photos at their own scale that a training takes over from another model.

Its rule says what log odds of cells mean for a photo, and was fitted on photos with known cracks,
which few people have. The log odds of another network are brought to the same scale instead: what
the surroundings of a tile add to what the network says of the tile alone is the same afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.photos import spread_evenly
from inspector.model.bundle import DEFAULT_PATH, DenseView, ModelBundle, Thresholds
from inspector.model.network import DenseModel, DeployedModel, initial_bundle, load_deployed
from inspector.model.windows import STRIDE
from inspector.training.data import HeldOut, Pixels
from inspector.training.loop import Trainer

IMAGES = 256
"""Validation images at most that are looked at with and without surroundings."""
_BATCH = 32
_AROUND = 3
"""Cells around a tile in which its mirror image continues it."""
CHOSEN = "as in the model that the rule for photos comes from; not chosen on photos of this one"


def bundle_with_view(init: str) -> ModelBundle:
    """The bundle that `init` names, as for `build_network`, or, where that is none or has no view
    of photos, the one that comes along. Raises BundleError."""
    began = initial_bundle(init)
    return ModelBundle.load(DEFAULT_PATH) if began is None or began.dense is None else began


def take_over_view(
    source: ModelBundle, model: DeployedModel, thresholds: Thresholds, trainer: Trainer
) -> DenseView | None:
    """The view of photos of the bundle `source`, matched to `model`, the network that `trainer` has
    made, with its temperature and `thresholds` for tiles. None where there is no such view, or
    tiles have another size. Raises DataError without a readable validation image."""
    view = source.dense
    if view is None or source.preprocess != trainer.spec:
        return None
    chosen = spread_evenly(trainer.validation.images, IMAGES)
    workers = trainer.config.workers
    images = HeldOut(chosen, trainer.spec, batch_size=_BATCH, workers=workers)
    device, temperature = trainer.device, view.temperature * model.temperature / source.temperature
    before = _surroundings(load_deployed(source).to(device), view.temperature, images, device)
    now = _surroundings(model.to(device), temperature, images, device)
    limit = view.thresholds.out_of_distribution
    own, old = thresholds.out_of_distribution, source.thresholds.out_of_distribution
    if limit is not None and own is not None and old is not None:
        limit = round(max(limit + own - old, own), 4)
    kept = replace(view.thresholds, out_of_distribution=limit, chosen=CHOSEN, evidence={})
    shift = round(view.shift + before - now, 4)
    return replace(view, temperature=temperature, shift=shift, thresholds=kept)


def _surroundings(
    model: DeployedModel, temperature: float, images: HeldOut, device: torch.device
) -> float:
    """Log odds that the surroundings of a tile add to those of the tile, each divided by its own
    temperature, in the median."""
    size, around = images.spec.size, _AROUND * STRIDE
    dense = DenseModel(model.eval(), size)
    middle = slice(_AROUND, _AROUND + size // STRIDE)
    pad = ((0, 0), (around, around), (around, around), (0, 0))

    def means(pixels_NHWC: Pixels, cells: slice) -> Tensor:
        log_odds_NHW, _ = dense(torch.from_numpy(pixels_NHWC).to(device))
        return cast("Tensor", log_odds_NHW[:, cells, cells].mean(dim=(1, 2)).cpu())

    @torch.inference_mode()
    def added(pixels_NHWC: Pixels) -> NDArray[np.float32]:
        lone_N = means(pixels_NHWC, slice(None))
        within_N = means(np.pad(pixels_NHWC, pad, mode="reflect"), middle)
        return (within_N / temperature - lone_N / model.temperature).numpy()

    return float(np.median(np.concatenate([found for _, found in images.predict(added)])))
