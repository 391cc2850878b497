"""The narrow network learns the full model's answers, from lessons as they are written.

A step takes photos and tiles from one shard, the one that was used least. The rate rises, is
constant, and falls at the end; from where it falls on, batch norm keeps its statistics, so that the
network settles on what it will compute when it is deployed.
"""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, smooth_l1_loss
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.recipe.narrow.network import NarrowNetwork, Widths
from bench.recipe.precision import mixed_precision
from inspector.core.durable import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from inspector.model.preprocess import PreprocessSpec

    Batch = dict[str, Tensor]

KINDS = ("photo", "tile")
_KNEE = 4.0
"""Log odds about which differences begin to count less: what is sure may be surer or less sure."""
_MOST_DOMAIN = 4.0
"""Out-of-distribution score above which it does not matter by how much."""
_FAR = 4.0
"""Bent log odds up to which a difference counts by its square."""
_DOMAIN_WEIGHT = 2.0
_AVERAGE = 0.998
_POLL_S = 0.5
_NORM_MOMENTUM = 0.02
_HEAD_BIAS, _HEAD_GAIN = -4.0, 4.0
"""Log odds of an ordinary cell, and how much larger than usual the first answers vary."""


@dataclass(frozen=True, slots=True)
class NarrowConfig:
    """How a narrow network learns."""

    widths: Widths = field(default_factory=Widths)
    steps: int = 12_000
    photos: int = 4
    """Photos a step, of 448 px."""
    tiles: int = 12
    rate: float = 2.2e-3
    decay: float = 0.02
    falls_from: float = 0.6
    """Share of the steps after which the rate falls and batch norm keeps its statistics."""
    warmup: int = 150
    seed: int = 15


class NarrowTrainer:
    """The state of a training, which can be saved after any step."""

    def __init__(
        self,
        config: NarrowConfig,
        spec: PreprocessSpec,
        temperature: float,
        *,
        network: NarrowNetwork | None = None,
        threads: int = 2,
    ) -> None:
        """`temperature` is that of the teacher's probabilities, `network` one that goes on, None: a
        new one. With two `threads` photos and tiles are computed side by side, which on a busy
        machine does more than two threads within each operation; the statistics of batch norm then
        depend on which comes first."""
        torch.manual_seed(config.seed)
        self.config, self.temperature = config, temperature
        self.network = network or begun(NarrowNetwork(config.widths, spec))
        update = get_ema_multi_avg_fn(_AVERAGE)  # type: ignore[no-untyped-call]
        self.learned = [p for p in self.network.parameters() if p.requires_grad]
        self.average = AveragedModel(self.network, multi_avg_fn=update, use_buffers=True)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=config.rate)
        self.pair = ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1))
        self.step = 0
        self.used: dict[str, int] = {}
        """How often each shard was used, by its file's name."""

    def _groups(self) -> list[dict[str, Any]]:
        """Weight decay is for kernels only."""
        kernels = [p for p in self.learned if p.ndim > 1]
        others = [p for p in self.learned if p.ndim == 1]
        return [
            {"params": kernels, "weight_decay": self.config.decay},
            {"params": others, "weight_decay": 0.0},
        ]

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        config = self.config
        rising = min(1.0, (self.step + 1) / config.warmup)
        falls = config.falls_from * config.steps
        if self.step < falls:
            return config.rate * rising
        share = (self.step - falls) / (config.steps - falls)
        return config.rate * rising * 0.5 * (1 + math.cos(math.pi * share))

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step. Returns the parts of the loss. Raises FloatingPointError where it is no
        number; nothing was updated then."""
        self.network.train()
        if self.step >= self.config.falls_from * self.config.steps:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        rate = self.rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        halves = list(self.pair.map(lambda kind: self._half(batch, kind), KINDS))
        parts = {name: value for _, found in halves for name, value in found.items()}
        if not math.isfinite(sum(parts.values())):
            raise FloatingPointError(f"the loss of step {self.step} is no number: {parts}")
        for parameter, *gradients in zip(self.learned, *(half[0] for half in halves), strict=True):
            parameter.grad = sum(gradients[1:], start=gradients[0])
        nn.utils.clip_grad_norm_(self.learned, 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        self.step += 1
        return parts

    def _half(self, batch: Batch, kind: str) -> tuple[Sequence[Tensor], dict[str, float]]:
        """Gradients by parameter, and parts of the loss, of the pictures of one kind."""
        with mixed_precision("cpu"):
            answers = self.network(batch[kind])
        cells, domain = batch[f"{kind}_cells"], batch[f"{kind}_domain"]
        found = losses(answers, cells, domain, self.temperature)
        loss = torch.stack(list(found.values())).sum()
        gradients = torch.autograd.grad(loss, self.learned)
        return gradients, {f"{kind} {name}": float(part.detach()) for name, part in found.items()}

    def batches(self, folder: Path, more: Callable[[], bool]) -> Iterator[Batch]:
        """Steps' batches of the shards in `folder`, the least used one first, for ever; those that
        are written meanwhile join. While there is none, `more` says whether one will come; raises
        RuntimeError where it does not."""
        while True:
            expected = more()
            files = sorted(file.name for file in folder.glob("lessons-*.npz"))
            if not files:
                if not expected:
                    raise RuntimeError(f"nobody writes lessons to {folder}; its error stands above")
                time.sleep(_POLL_S)
                continue
            name = min(files, key=lambda name: (self.used.get(name, 0), name))
            rng = np.random.default_rng([self.config.seed, self.used.get(name, 0)])
            self.used[name] = self.used.get(name, 0) + 1
            with np.load(folder / name, allow_pickle=False) as shard:
                arrays = {key: shard[key] for key in shard.files}
            yield from self._of_shard(arrays, rng)

    def _of_shard(self, arrays: dict[str, Any], rng: np.random.Generator) -> Iterator[Batch]:
        each = dict(zip(KINDS, (self.config.photos, self.config.tiles), strict=True))
        order = {kind: rng.permutation(len(arrays[kind])) for kind in KINDS}
        for number in range(min(len(order[kind]) // each[kind] for kind in KINDS)):
            batch = {}
            for kind in KINDS:
                chosen = order[kind][number * each[kind] : (number + 1) * each[kind]]
                for key in (kind, f"{kind}_cells", f"{kind}_domain"):
                    batch[key] = torch.from_numpy(arrays[key][chosen])
            yield batch

    @property
    def judged(self) -> NarrowNetwork:
        """The averaged network, as it is deployed."""
        return cast("NarrowNetwork", self.average.module.eval())

    def save(self, file: Path) -> None:
        """Write all of the state in one step."""
        state = {f"network.{n}": t for n, t in self.network.state_dict().items()}
        state |= {f"average.{n}": t for n, t in self.average.state_dict().items()}
        for place, values in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{place}.{name}": value for name, value in values.items()}
        notes = {"step": str(self.step), "used": json.dumps(self.used)}
        content = save({name: t.contiguous().clone() for name, t in state.items()}, notes)
        publish(content, file)

    def restore(self, file: Path) -> None:
        """Go on from what `save` wrote, for the same network."""
        state = load_file(file)
        for name, part in (("network.", self.network), ("average.", self.average)):
            part.load_state_dict(_below(state, name))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(state, "optimizer.").items():
            place, _, key = name.partition(".")
            moments.setdefault(int(place), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        with safe_open(file, "np") as opened:
            notes = opened.metadata()
        self.step, self.used = int(notes["step"]), json.loads(notes["used"])


def losses(
    answers: tuple[Tensor, Tensor], taught: Tensor, taught_domain: Tensor, temperature: float
) -> dict[str, Tensor]:
    """Parts of the loss of N pictures: log odds of cells (N, h, w) and scores of windows (N, n, n)
    against the teacher's. Cracks count double, and large differences between windows most: a crack
    that is called clear costs more than a photo that is judged twice."""
    log_odds, domain = answers
    side = taught.shape[1] - taught_domain.shape[1] + 1
    means, wanted = (avg_pool2d(cells[:, None], side, 1)[:, 0] for cells in (log_odds, taught))
    weight = 1 + (wanted > 0).float()
    far = smooth_l1_loss(_bent(means), _bent(wanted), beta=_FAR, reduction="none")
    sure = binary_cross_entropy_with_logits(
        means / temperature, torch.sigmoid(wanted / temperature), weight
    )
    mine, theirs = (each.clamp(max=_MOST_DOMAIN) for each in (domain, taught_domain))
    return {
        "cells": smooth_l1_loss(_bent(log_odds), _bent(taught)),
        "windows": (weight * far).mean(),
        "sure": sure,
        "domain": _DOMAIN_WEIGHT * smooth_l1_loss(mine, theirs, beta=0.5),
    }


def begun(network: NarrowNetwork) -> NarrowNetwork:
    """The network, ready to learn its first answers."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = _NORM_MOMENTUM
    with torch.no_grad():
        network.head.weight *= _HEAD_GAIN
        cast("Tensor", network.head.bias).copy_(torch.tensor([_HEAD_BIAS, 1.0]))
    return network


def _bent(log_odds: Tensor) -> Tensor:
    return _KNEE * torch.asinh(log_odds / _KNEE)


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
