"""The trainer of every variation: the product's, with one step of it replaced.

What helps becomes an option or a default of the product; until then it lives here.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax
from torch.optim.swa_utils import AveragedModel
from torchvision.transforms import v2

from bench.studies.training.blurpool import antialias
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.model.network import load_deployed
from inspector.training.data import (
    augmentation,
    haze,
    jpeg_artifacts,
    quarter_turn,
    rescale,
    sensor_noise,
    white_balance,
)
from inspector.training.loop import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.model.network import DeployedModel
    from inspector.training.data import AugmentedPixels, TrainBatch

_SMOOTHING = 0.1
"""Share of the label that is spread over both classes (Szegedy et al. 2016)."""
_MIX_ALPHA = 0.2
"""Parameter of the beta distribution that shares come from (Zhang et al. 2018, section 3.1)."""
_DECAY_PER_STAGE = 0.5
"""Learning rate of a stage over that of the stage behind it."""
_STAGES = ("fc", "layer4", "layer3", "layer2", "layer1")
_TEACHER_SHARE = 0.5
_TEACHER_TEMPERATURE = 2.0
"""Soft labels weigh as much as the real ones, at the temperature of Hinton et al. 2015."""


def rng_of(trainer: Trainer) -> torch.Generator:
    """Seeded by how far the training is, so that a repetition draws the same."""
    step = trainer.schedule.last_epoch
    return torch.Generator().manual_seed(trainer.config.seed * 1_000_003 + step)


def beta(alpha: float, rng: torch.Generator) -> float:
    """One draw from Beta(alpha, alpha) for alpha below 1 (Johnk 1964)."""
    while True:
        first, second = (torch.rand(2, generator=rng, dtype=torch.float64) ** (1 / alpha)).tolist()
        if 0 < first + second <= 1:
            return float(first / (first + second))


class LabelSmoothing(Trainer):
    def _loss(self, pixels_NHWC: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
        logits = self._logits(self.model, pixels_NHWC)
        return cross_entropy(logits, label_N, label_smoothing=_SMOOTHING), logits


class Mixed(Trainer):
    """Pairs of images of one batch are mixed, and so are their labels."""

    def _loss(self, pixels_NHWC: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
        rng = rng_of(self)
        other_N = torch.randperm(len(label_N), generator=rng).to(label_N.device)
        mixed, share = self._mix(pixels_NHWC, pixels_NHWC[other_N], rng)
        logits = self._logits(self.model, mixed)
        own, others = cross_entropy(logits, label_N), cross_entropy(logits, label_N[other_N])
        return share * own + (1 - share) * others, logits

    def _mix(self, own: Tensor, other: Tensor, rng: torch.Generator) -> tuple[Tensor, float]:
        """The mixed pixels (N, H, W, 3), and which share of them is `own`."""
        raise NotImplementedError


class Mixup(Mixed):
    """Faded into each other (Zhang et al. 2018)."""

    def _mix(self, own: Tensor, other: Tensor, rng: torch.Generator) -> tuple[Tensor, float]:
        share = beta(_MIX_ALPHA, rng)
        return share * own.float() + (1 - share) * other.float(), share


class CutMix(Mixed):
    """A rectangle of one stands in the other (Yun et al. 2019)."""

    def _mix(self, own: Tensor, other: Tensor, rng: torch.Generator) -> tuple[Tensor, float]:
        side = own.shape[1]
        part = float(torch.rand((), generator=rng)) ** 0.5
        cut = max(1, round(part * side))
        top, left = (int(torch.randint(side - cut + 1, (), generator=rng)) for _ in range(2))
        mixed = own.clone()
        place = (slice(None), slice(top, top + cut), slice(left, left + cut))
        mixed[place] = other[place]
        return mixed, 1 - (cut / side) ** 2


class FrozenStatistics(Trainer):
    """Batch norm keeps the initial checkpoint's means and variances; its scales still learn."""

    def _step(self, batch: TrainBatch) -> tuple[float, int]:
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return super()._step(batch)


class LayerWiseRates(Trainer):
    """Early stages, which see edges and textures, move less than late ones."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        config = self.config
        groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in self.model.network.named_parameters():
            stage = name.split(".")[0]
            depth = _STAGES.index(stage) if stage in _STAGES else len(_STAGES)
            groups.setdefault((depth, parameter.dim() > 1), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": config.peak_rate * _DECAY_PER_STAGE**depth,
                    "weight_decay": config.weight_decay if is_matrix else 0.0,
                }
                for (depth, is_matrix), parameters in groups.items()
            ]
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate_at)


class StochasticAverage(Trainer):
    """Weights are averaged equally over the second half of all steps (Izmailov et al. 2018), here
    under the product's falling rate."""

    def _make_average(self) -> AveragedModel:
        def tail_mean(average: Tensor, current: Tensor, seen: Tensor | int) -> Tensor:
            begin = self.config.epochs * self.steps_per_epoch // 2
            return average + (current - average) / max(1, int(seen) - begin + 1)

        return AveragedModel(self.model, avg_fn=tail_mean, use_buffers=True)


class Antialiased(Trainer):
    """Blurred before every step that drops pixels (Zhang 2019)."""

    def __init__(self, config: Any, network: Any, *args: Any) -> None:
        super().__init__(config, antialias(network), *args)


class Distilled(Trainer):
    """Learns from the labels and from what the model that comes along says, half each."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        teacher = load_deployed(ModelBundle.load(DEFAULT_PATH)).requires_grad_(False)
        self.teacher: DeployedModel = teacher.to(self.device)

    def _loss(self, pixels_NHWC: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits = super()._loss(pixels_NHWC, label_N)
        with torch.no_grad():
            told = self._logits(self.teacher, pixels_NHWC) / _TEACHER_TEMPERATURE
        own = log_softmax(logits / _TEACHER_TEMPERATURE, dim=1)
        # The square keeps the gradients as large as at temperature 1 (Hinton et al. 2015).
        soft = kl_div(own, softmax(told, 1), reduction="batchmean") * _TEACHER_TEMPERATURE**2
        return (1 - _TEACHER_SHARE) * loss + _TEACHER_SHARE * soft, logits


def without_shifts(size: int) -> v2.Compose:
    """The product's augmentation without white balance and haze."""
    shifts = ([white_balance], [haze])
    steps = augmentation(size).transforms
    return v2.Compose([step for step in steps if getattr(step, "transforms", None) not in shifts])


def without_scale(size: int) -> v2.Compose:
    """The product's augmentation with a plain resize for `rescale`."""
    return _with_scale(size, v2.Resize([size, size], antialias=True))


def wide_scale(size: int) -> v2.Compose:
    """From a third of a tile's size, so that wide cracks become hairlines more often."""
    return _with_scale(size, partial(rescale, size=size, smallest=0.3, largest=1.4))


def _with_scale(size: int, scale: Callable[[Tensor], Tensor]) -> v2.Compose:
    steps = augmentation(size).transforms
    return v2.Compose([scale if getattr(s, "func", None) is rescale else s for s in steps])


def photometric(size: int, *, strength: float) -> v2.Compose:
    """Turns, mirrors and scale as in the product; light, blur, noise and JPEG by `strength` (1 is
    about the product's)."""
    shift = 0.35 * strength
    changes = (
        (v2.ColorJitter(shift, shift, shift, 0.03 * strength), 0.8),
        (partial(white_balance, largest=0.16 * strength), 0.3),
        (v2.Grayscale(3), 0.1),
        (partial(haze, thickest=0.5 * strength), 0.15),
        (v2.GaussianBlur(5, (0.3, 0.3 + 1.3 * strength)), 0.25),
        (sensor_noise, 0.3),
        (jpeg_artifacts, 0.4),
    )
    sometimes = [v2.RandomApply([each], p=min(1.0, p * strength)) for each, p in changes]
    scale = partial(rescale, size=size)
    return v2.Compose([v2.RandomHorizontalFlip(), quarter_turn, scale, *sometimes])


class WeightSpace(Trainer):
    """Half way between the weights it started from and those it learned (WiSE-FT, Wortsman et al.
    2022, alpha 0.5)."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.start = copy.deepcopy(self.model.state_dict())

    @property
    def judged(self) -> DeployedModel:
        between = copy.deepcopy(super().judged)
        learned = between.state_dict()
        between.load_state_dict(
            {name: _middle(self.start[name], learned[name]) for name in learned}
        )
        return between


def _middle(first: Tensor, second: Tensor) -> Tensor:
    """Batch norm also counts its batches, which has no middle."""
    return (first + second) / 2 if first.is_floating_point() else second


class WithAugmentation(Trainer):
    """The images are changed by another function of the training size."""

    def __init__(self, change: Any, *args: Any) -> None:
        super().__init__(*args)
        self.change = change

    def _drawn(self, epoch: int) -> AugmentedPixels:
        dataset = super()._drawn(epoch)
        dataset.change = self.change(self.config.size_in(epoch))
        return dataset


def augmented(change: Any) -> Any:
    """Maker of a trainer with that augmentation."""
    return partial(WithAugmentation, change)
