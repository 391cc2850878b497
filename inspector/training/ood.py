"""What a training teaches its model about what is foreign to it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from inspector.model.ood import fit_ood_head
from inspector.synthesis.outliers import outlier_images
from inspector.training.data import AugmentedPixels, LabelledPixels, epoch_plan, load
from inspector.training.ood_features import collect_features
from inspector.training.ood_threshold import choose_ood_threshold

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from inspector.labelled.folder import LabelledImage
    from inspector.model.ood import OodHead
    from inspector.training.data import TrainBatch
    from inspector.training.loop import Trainer
    from inspector.training.ood_features import Stages

PLAIN = 1600
"""Training images at most that show what is familiar as it is."""
ALTERED = 800
"""Such images in another light, at another distance, with synthetic cracks and distractors."""
FOREIGN = 800
"""Synthetic pictures of no concrete; as many as there are familiar ones where those are fewer."""
_LEAST_ALTERED = 128
_BATCH = 32


def fit_ood(trainer: Trainer) -> OodHead:
    """The head that tells the training images of `trainer`, whose judged network has its final
    weights, from everything else. Raises DataError without a readable image."""
    rng = np.random.default_rng([trainer.config.seed, 1])
    places = rng.permutation(len(trainer.images))[:PLAIN]
    plain = LabelledPixels([trainer.images[int(place)] for place in places], trainer.spec)
    training_NF = torch.cat([_features(trainer, plain), _features(trainer, _altered(trainer))])
    count = min(FOREIGN, len(training_NF))
    outliers_MF = collect_features(_stages(trainer), _foreign(trainer, count), count)
    return fit_ood_head(training_NF, outliers_MF)


def ood_threshold(trainer: Trainer, head: OodHead, validation: Sequence[LabelledImage]) -> float:
    """The score from which on a photo is out of distribution, chosen on the validation images."""
    sources: list[str] = []

    def noted() -> Iterator[Tensor]:
        for batch in _loaded(trainer, LabelledPixels(validation, trainer.spec)):
            sources.extend(validation[int(place)].source for place in batch.place_N)
            yield batch.pixels_NHWC.to(trainer.device)

    pooled_NF = collect_features(_stages(trainer), noted(), len(validation))
    return choose_ood_threshold(head.score(pooled_NF).numpy(), sources)


def _altered(trainer: Trainer) -> AugmentedPixels:
    config = trainer.config
    count = min(ALTERED, max(_LEAST_ALTERED, len(trainer.images)))
    plan = epoch_plan(
        trainer.images, count, seed=config.seed, epoch=config.epochs, synthetic=config.synthetic
    )
    return AugmentedPixels(
        trainer.images, trainer.spec, plan, train_size=config.size,
        synthetic=config.synthetic, seed=(config.seed, config.epochs),
    )  # fmt: skip


def _foreign(trainer: Trainer, count: int) -> Iterator[Tensor]:
    pictures = outlier_images(count, trainer.config.size, trainer.config.seed)
    while batch := list(islice(pictures, _BATCH)):
        yield torch.from_numpy(np.stack(batch)).to(trainer.device)


def _features(trainer: Trainer, dataset: LabelledPixels) -> Tensor:
    batches = (b.pixels_NHWC.to(trainer.device) for b in _loaded(trainer, dataset))
    return collect_features(_stages(trainer), batches, len(dataset))


def _loaded(trainer: Trainer, dataset: LabelledPixels) -> Iterator[TrainBatch]:
    batches = load(dataset, _BATCH, workers=trainer.config.workers, pin=False)
    return (batch for batch in batches if len(batch.place_N))


def _stages(trainer: Trainer) -> Stages:
    model = trainer.judged.eval()
    return lambda pixels_NHWC: model.stages(model.normalise(pixels_NHWC))
