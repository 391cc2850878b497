"""Random views of scenes and tiles: crop, scale, mirror, light. Truth maps follow the geometry."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from bench.recipe.context.labels import CLEAR, CRACK, UNCLEAR
from bench.studies.photos.sources import resized
from inspector.training.data import (
    haze,
    jpeg_artifacts,
    quarter_turn,
    rescale,
    sensor_noise,
    white_balance,
)

if TYPE_CHECKING:
    from bench.recipe.context.material import Pixels

LIGHT = v2.Compose(
    [
        v2.RandomApply([v2.ColorJitter(0.22, 0.25, 0.22, 0.02)], p=0.6),
        v2.RandomApply([white_balance], p=0.25),
        v2.RandomGrayscale(p=0.08),
        v2.RandomApply([partial(haze, thickest=0.4)], p=0.1),
        v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.2))], p=0.18),
        v2.RandomApply([sensor_noise], p=0.2),
        v2.RandomApply([partial(jpeg_artifacts, worst=35)], p=0.3),
    ]
)
"""Weaker and rarer than `inspector.training.data` has them: `weak-light` in
docs/explanation/training.md."""
_LARGEST = 1.35
_SMALLEST = 0.75
_PRESENT = 60
"""Of 255: share of a resampled pixel from which it counts as what the truth map marked."""


def lit(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The same view in other light, from another camera."""
    return _changed(LIGHT, pixels, rng)


def tile_view(tile: Pixels, rng: np.random.Generator, size: int) -> Pixels:
    """A whole labelled tile (`size` + 3 px or so a side) at 45 to 115 % of its size; a third of
    them as a scan sees it, its middle cut out."""
    shown = v2.CenterCrop(size) if rng.random() < 1 / 3 else partial(rescale, size=size)
    return _changed(v2.Compose([shown, quarter_turn, v2.RandomHorizontalFlip()]), tile, rng)


def scene_view(scene: Pixels, rng: np.random.Generator, size: int) -> tuple[Pixels, Pixels]:
    """Pixels (`size`, `size`, 3) and truth map of a square of a scene (H, H, 4), turned. Half of
    the views are at its own scale: resampling softens what is one pixel wide."""
    side, scale = scene.shape[0], 1.0
    if rng.random() < 0.5:
        lowest = max(_SMALLEST, size / side)
        scale = float(np.exp(rng.uniform(np.log(lowest), np.log(_LARGEST))))
    own = min(side, round(size / scale))
    top, left = (int(v) for v in rng.integers(side - own + 1, size=2))
    view = np.asarray(scene[top : top + own, left : left + own])
    quarters, mirror = int(rng.integers(4)), bool(rng.random() < 0.5)
    pixels, truth = resized(np.ascontiguousarray(view[:, :, :3]), size, size), view[:, :, 3]
    planes = [np.rot90(plane, quarters) for plane in (pixels, _fitted(truth, size))]
    planes = [plane[:, ::-1] if mirror else plane for plane in planes]
    return np.ascontiguousarray(planes[0]), np.ascontiguousarray(planes[1])


def _fitted(truth: Pixels, size: int) -> Pixels:
    if truth.shape[0] == size:
        return truth
    planes = []
    for value in (CRACK, UNCLEAR):
        share = Image.fromarray(((truth == value) * 255).astype(np.uint8))
        share = share.resize((size, size), Image.Resampling.BOX)
        planes.append(np.asarray(share) > _PRESENT)
    return np.where(planes[0], CRACK, np.where(planes[1], UNCLEAR, CLEAR)).astype(np.uint8)


def _changed(change: v2.Transform, pixels: Pixels, rng: np.random.Generator) -> Pixels:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        changed_CHW = change(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
    return np.ascontiguousarray(changed_CHW.permute(1, 2, 0).numpy())
