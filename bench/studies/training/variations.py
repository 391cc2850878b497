"""The table of what is tried: each entry differs from the baseline in one thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.studies.training import trainers
from inspector.training.loop import Trainer

BASELINE = "baseline"
SECOND = "seed-2"
SHIPPED = "shipped"
"""The model that comes along, as a scan uses it: what views and further training must beat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    name: str
    what: str
    """In words, for the table."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of TrainConfig that differ."""
    base: str = BASELINE
    """Name of the case that it is compared with."""
    longer: int = 1
    """Times as many epochs."""
    trainer: Callable[..., Trainer] = Trainer


_photometric = trainers.photometric
_FURTHER = {"init": "default", "learning_rate": 1e-4}

VARIATIONS = (
    Variation(name=BASELINE, what="the recipe in small: see the settings"),
    Variation(name=SECOND, what="the baseline with another seed", config={"seed": 2}),
    Variation(name="no-synthetic", what="no synthetic cracks or distractors",
              config={"synthetic": 0.0}),
    Variation(name="frozen-bn", what="batch norm keeps ImageNet's statistics",
              trainer=trainers.FrozenStatistics),
    Variation(name="layer-rates", what="half the learning rate per stage towards the input",
              trainer=trainers.LayerWiseRates),
    Variation(name="layer-rates-2", what="the same with the other seed",
              config={"seed": 2}, base=SECOND, trainer=trainers.LayerWiseRates),
    Variation(name="no-shifts", what="no white balance or haze",
              trainer=trainers.augmented(trainers.without_shifts)),
    Variation(name="low-rate", what="a third of the learning rate everywhere",
              config={"learning_rate": 1e-4}),
    Variation(name="label-smoothing", what="labels smoothed by 0.1",
              trainer=trainers.LabelSmoothing),
    Variation(name="mixup", what="mixup, alpha 0.2", trainer=trainers.Mixup),
    Variation(name="no-ema", what="the last weights instead of their moving average",
              config={"ema_decay": 0.0}),
    Variation(name="strong-light", what="photometric changes 1.5 times as strong and frequent",
              trainer=trainers.augmented(partial(_photometric, strength=1.5))),
    Variation(name="distilled", what="half of the loss from the shipped model's answers",
              trainer=trainers.Distilled),
    Variation(name="cutmix", what="CutMix in every batch", trainer=trainers.CutMix),
    Variation(name="blur-pool", what="blurred before every stride", trainer=trainers.Antialiased),
    Variation(name="no-scale", what="no scale augmentation",
              trainer=trainers.augmented(trainers.without_scale)),
    Variation(name="more-synthetic", what="80 % of crack-free images made harder, not 60 %",
              config={"synthetic": 0.8}),
    Variation(name="decay", what="weight decay 0.2, not 0.02", config={"weight_decay": 0.2}),
    Variation(name="wide-scale", what="scales from 0.3 to 1.4 of the tile, not 0.45 to 1.15",
              trainer=trainers.augmented(trainers.wide_scale)),
    Variation(name="longer", what="twice as many epochs", longer=2),
    Variation(name="larger", what="every epoch at the full input size",
              config={"train_size": None}),
    Variation(name="swa", what="equal mean of the second half's weights, not a moving average",
              trainer=trainers.StochasticAverage),
    Variation(name="no-decay", what="no weight decay", config={"weight_decay": 0.0}),
    Variation(name="weak-light", what="photometric changes half as strong and frequent",
              trainer=trainers.augmented(partial(_photometric, strength=0.5))),
    Variation(name="further", what="the shipped model learns on, at a third of the rate",
              config=_FURTHER, base=SHIPPED),
    Variation(name="wise-ft", what="half way between the shipped model and `further`",
              config=_FURTHER, base=SHIPPED, trainer=trainers.WeightSpace),
    Variation(name="seed-3", what="the baseline with a third seed", config={"seed": 3}),
)  # fmt: skip
"""In order of promise, for a run that is stopped."""
