"""Fitting of the out-of-distribution score: its head, and the threshold on it.

The head separates training images, as they are and augmented, from synthetic images of other things
(`inspector.synthesis.outliers`).
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from inspector.errors import DataError
from inspector.model.ood import fit_ood_head, pool_for_ood
from inspector.synthesis import outlier_images
from inspector.training.data import HeldOut, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from inspector.model.ood import OodHead
    from inspector.training.data import Pixels
    from inspector.training.loop import Trainer

    Stages = Callable[[Tensor], Sequence[Tensor]]
    """uint8 pixels (N, H, W, 3) -> the outputs of layer1 to layer4, (N, C, h, w) each."""

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
    config, stages = trainer.config, _stages(trainer)
    rng = np.random.default_rng([config.seed, 1])
    chosen = [trainer.images[int(k)] for k in rng.permutation(len(trainer.images))[:PLAIN]]
    plain = HeldOut(chosen, trainer.spec, batch_size=_BATCH, workers=config.workers)
    plain_NF = _joined([found for _, found in plain.predict(_pooled(trainer, stages))])
    count = min(AUGMENTED, max(_MIN_AUGMENTED, len(trainer.images)))
    drawn = trainer.draw(config.epochs, count, config.size)
    augmented = load(drawn, _BATCH, workers=config.workers, pin=False)
    augmented_NF = collect_features(
        stages, (b.pixels_NHWC.to(trainer.device) for b in augmented if len(b.label_N))
    )
    training_NF = torch.cat([plain_NF, augmented_NF])
    outliers = _outliers(trainer, min(OUTLIERS, len(training_NF)))
    return fit_ood_head(training_NF, collect_features(stages, outliers))


def ood_threshold(trainer: Trainer, head: OodHead) -> float:
    """Choose the score from which on a photo is out of distribution, on the validation images."""
    validation = trainer.validation
    found = list(validation.predict(_pooled(trainer, _stages(trainer))))
    sources = [validation.images[place].source for places, _ in found for place in places]
    return choose_ood_threshold(head.score(_joined([f for _, f in found])).numpy(), sources)


def choose_ood_threshold(
    scores_N: NDArray[np.floating[Any]], sources: Sequence[str] | None = None, share: float = SHARE
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
    parts = [exact_N]
    if sources is not None:
        names_N = np.array(sources)
        if len(names_N) != len(exact_N):
            raise ValueError(f"{len(names_N)} sources for {len(exact_N)} scores")
        parts += [exact_N[names_N == name] for name in np.unique(names_N)]
    large = [part for part in parts[1:] if len(part) * share >= 1]
    return max(_reached_by(part, share) for part in [exact_N, *large])


def _reached_by(scores_N: NDArray[np.float64], share: float) -> float:
    """Lowest four-decimal number above the largest score that more than `share` of the images
    reach: rounded down, it would let in one more."""
    allowed = int(share * len(scores_N))
    first_kept = np.sort(scores_N)[len(scores_N) - allowed - 1]
    above = np.nextafter(np.float32(first_kept), np.float32(np.inf))
    return math.ceil(float(above) * _DECIMALS) / _DECIMALS


def collect_features(stages: Stages, batches: Iterable[Tensor]) -> Tensor:
    """Pool the features that the score reads, float32 (N, F) on the CPU, of batches uint8 (n, H, W,
    3) on the network's device. Raises DataError where there is no image."""
    with torch.no_grad():  # inference_mode would leave buffers that cannot be loaded over
        return _joined([pool_for_ood(stages(pixels_NHWC)).cpu() for pixels_NHWC in batches])


def _joined(parts: list[Tensor]) -> Tensor:
    if not parts:
        raise DataError("no readable image to fit the out-of-distribution score to")
    return torch.cat(parts)


def _pooled(trainer: Trainer, stages: Stages) -> Callable[[Pixels], Tensor]:
    return lambda pixels_NHWC: collect_features(
        stages, [torch.from_numpy(pixels_NHWC).to(trainer.device)]
    )


def _stages(trainer: Trainer) -> Stages:
    model = trainer.judged.eval()
    return lambda pixels_NHWC: model.stages(model.normalise(pixels_NHWC))


def _outliers(trainer: Trainer, count: int) -> Iterator[Tensor]:
    images = outlier_images(count, trainer.config.size, trainer.config.seed)
    while batch := list(islice(images, _BATCH)):
        yield torch.from_numpy(np.stack(batch)).to(trainer.device)
