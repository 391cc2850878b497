"""Fitting of the out-of-distribution score: its head, and the threshold on it.

The head separates training images, as they are and augmented, from synthetic images of other things
(`inspector.synthesis.outliers`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inspector.errors import DataError
from inspector.model.ood import OodHead, fit_ood_head, pool_for_ood
from inspector.synthesis import outlier_images
from inspector.training.data import HeldOut, Pixels, load
from inspector.training.loop import Trainer

PLAIN = 1600
"""Training images at most that are used as they are."""
AUGMENTED = 800
"""Training images at most in other light, at other distances, and as hard examples."""
OUTLIERS = 800
"""Synthetic outliers; fewer where there are fewer training images."""
SHARE = 0.015
"""Share of a source's validation images that may be called out of distribution."""
_MIN_AUGMENTED = 128
_BATCH = 32
_DECIMALS = 10_000


def fit_ood(trainer: Trainer) -> OodHead:
    """Fit the head to the training images of `trainer`, whose judged network has its final weights.
    Raises DataError without a readable image."""
    config, pooled = trainer.config, _pooled(trainer)
    rng = np.random.default_rng([config.seed, 1])
    chosen = [trainer.images[int(k)] for k in rng.permutation(len(trainer.images))[:PLAIN]]
    plain = HeldOut(chosen, trainer.spec, batch_size=_BATCH, workers=config.workers)
    features = [found for _, found in plain.predict(pooled)]
    count = min(AUGMENTED, max(_MIN_AUGMENTED, len(trainer.images)))
    drawn = trainer.draw(config.epochs, count, config.size)
    augmented = load(drawn, _BATCH, workers=config.workers, pin=False)
    features += [pooled(batch.pixels_NHWC) for batch in augmented if len(batch.label_N)]
    training_NF = joined(features)
    outliers = outlier_images(min(OUTLIERS, len(training_NF)), config.size, config.seed)
    batches = iter(lambda: list(islice(outliers, _BATCH)), [])
    return fit_ood_head(training_NF, joined([pooled(np.stack(batch)) for batch in batches]))


def ood_threshold(trainer: Trainer, head: OodHead) -> float:
    """Choose the score from which on a photo is out of distribution, on the validation images."""
    validation = trainer.validation
    found = list(validation.predict(_pooled(trainer)))
    sources = [validation.images[place].source for places, _ in found for place in places]
    return choose_ood_threshold(head.score(joined([f for _, f in found])).numpy(), sources)


def choose_ood_threshold(
    scores_N: NDArray[np.floating[Any]], sources: Sequence[str], share: float = SHARE
) -> float:
    """Choose the lowest score that at most a `share` of the validation images reach, in every
    source alone and in all of them together. A source of fewer than 1 / `share` images is not
    looked at alone, because a single image would decide. Raises DataError where there are no images
    or a score is not finite."""
    exact_N: NDArray[np.float64] = np.asarray(scores_N, dtype=np.float64)
    if not len(exact_N):
        raise DataError("no validation image to choose the out-of-distribution threshold on")
    if not np.isfinite(exact_N).all():
        raise DataError("a validation image has no out-of-distribution score; check the weights")
    names_N = np.array(sources)
    if len(names_N) != len(exact_N):
        raise ValueError(f"{len(names_N)} sources for {len(exact_N)} scores")
    parts = [exact_N[names_N == name] for name in np.unique(names_N)]
    large = [part for part in parts if len(part) * share >= 1]
    return max(_reached_by(part, share) for part in [exact_N, *large])


def _reached_by(scores_N: NDArray[np.float64], share: float) -> float:
    """Lowest four-decimal number above the largest score that more than `share` of the images
    reach: rounded down, it would let in one more."""
    allowed = int(share * len(scores_N))
    first_kept = np.sort(scores_N)[len(scores_N) - allowed - 1]
    above = np.nextafter(np.float32(first_kept), np.float32(np.inf))
    return math.ceil(float(above) * _DECIMALS) / _DECIMALS


def joined(features: Sequence[Tensor]) -> Tensor:
    """The features of all batches, (N, F). Raises DataError where there is no image."""
    if not features:
        raise DataError("no readable image to fit the out-of-distribution score to")
    return torch.cat(list(features))


def _pooled(trainer: Trainer) -> Callable[[Pixels | Tensor], Tensor]:
    """Make the function that pools the features which the score reads, float32 (N, F) on the CPU,
    of pixels uint8 (N, H, W, 3), by the judged network."""
    model = trainer.judged.eval()

    @torch.no_grad()  # inference_mode would leave buffers that cannot be loaded over
    def pooled(pixels_NHWC: Pixels | Tensor) -> Tensor:
        pixels = torch.as_tensor(pixels_NHWC).to(trainer.device)
        return pool_for_ood(model.stages(model.normalise(pixels))).cpu()

    return pooled
