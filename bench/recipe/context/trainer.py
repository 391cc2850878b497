"""The trainer of the full-length training: the product's, with other batches, steps and rates."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, cross_entropy
from torch.utils.data import DataLoader

from bench.recipe.context.batches import ContextBatch, Steps
from bench.recipe.context.labels import IGNORED, STRIDE, WINDOW
from bench.recipe.context.material import Material
from bench.recipe.context.shards import Odds, Shards, shards_of
from bench.recipe.precision import mixed_precision
from inspector.errors import TrainingError
from inspector.evaluation.metrics import roc_auc
from inspector.training.data import HeldOut
from inspector.training.loop import Trainer
from inspector.workers.process import begin_worker, start_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from numpy.typing import NDArray
    from torchvision.models import ResNet

    from inspector.labelled.folder import LabelledImage
    from inspector.model.network import DeployedModel
    from inspector.training.config import TrainConfig
    from inspector.training.data import Pixels, TrainBatch
    from inspector.training.loop import EpochResult, Logits

CONTEXT_SHARE = 0.4
"""Of the loss; the rest is the tiles'."""
FROZEN = ("conv1", "bn1", "layer1")
"""Parts that keep their weights: a third more images a second, where rates would be lowest."""
_STAGES = ("fc", "layer4", "layer3", "layer2")
_DECAY_PER_STAGE = {"fc": 1.0, "layer4": 1.0, "layer3": 0.5, "layer2": 0.25}
"""Learning rate of a stage over the highest."""
WARMUP_STEPS = 100
SCENES_PER_STEP = 4
"""New scenes a step; each is drawn some five times before it goes, in other crops and light."""
FALLS_FROM = 0.65
"""Share of all steps after which the constant rate falls, as half a cosine, to nothing."""

DOUBTED, MOST_DOUBTED = 0.1, 0.05
"""Probability of a crack from which a tile that is labelled clear is not learned from, and the
share of the clear ones of which this can be true at most: of METU's to which the first training,
which learned that they are clear, gives so much, two in three show a hairline or a scratch."""

_HERE = "bench.recipe.context.batches"

Part = tuple["Sequence[Tensor]", "Tensor", "Tensor"]
"""What half of a step found: gradients by parameter, loss by picture, how many were right."""


class ContextTrainer(Trainer):
    """Learns from whole tiles and from crops with context, whose windows all have labels.

    Batch norm keeps its statistics: tiles and contexts would mix theirs, and a padded tile then
    computes the same in training and in a scan. On a CPU tiles and contexts are computed side by
    side, a thread each, which on a busy machine does twice as much as two threads within each
    operation; in bfloat16 where it has that, and of GPUs one of 2020 or later is needed.
    """

    def __init__(
        self, data: Path, config: TrainConfig, network: ResNet, images: Sequence[LabelledImage],
        validation: Sequence[LabelledImage],
    ) -> None:  # fmt: skip
        """`network` has learned from these images' labels once; `data` has `photos/uavcrack` and
        `photos/no_crack`."""
        for name in FROZEN:
            network.get_submodule(name).requires_grad_(False)
        super().__init__(config, network, images, validation)
        groups: dict[str, list[nn.Parameter]] = defaultdict(list)
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                groups[name.split(".")[0]].append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": groups[name], "lr": config.peak_rate * _DECAY_PER_STAGE[name]}
                for name in _STAGES
            ],
            weight_decay=config.weight_decay,
        )
        self.learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate_at)
        self.images = images = self._believed(images)
        self.material = Material(images, data)
        scenes = SCENES_PER_STEP * self.steps_per_epoch
        self.shards = Shards(config.out / "training" / "scenes", scenes, config.seed)
        self.odds = Odds(self.shards)
        self.maker: tuple[BaseProcess, Any] | None = None
        self.pair: ThreadPoolExecutor | None = None
        if self.device.type == "cpu":
            self.pair = ThreadPoolExecutor(2, initializer=lambda: torch.set_num_threads(1))

    def _believed(self, images: Sequence[LabelledImage]) -> list[LabelledImage]:
        """The images without those that are labelled clear and look cracked to the network that
        learned from these labels."""
        clear = [image for image in images if not image.is_crack]
        held = HeldOut(clear, self.spec, batch_size=64, workers=self.config.workers)
        model = self.judged.eval()

        @torch.no_grad()
        def p_crack(pixels_NHWC: Pixels) -> NDArray[np.float32]:
            with self._mixed_precision():
                logits = self._logits(model, torch.as_tensor(pixels_NHWC).to(self.device))
            return np.asarray(logits.float().softmax(1)[:, 1].cpu().numpy())

        found = [
            (float(p), clear[place].path)
            for places, p_N in held.predict(p_crack)
            for place, p in zip(places, p_N, strict=True)
            if p >= DOUBTED
        ]
        most = int(MOST_DOUBTED * len(clear))
        doubted = {path for _, path in sorted(found, reverse=True)[:most]}
        return [image for image in images if image.path not in doubted]

    def _rate_at(self, step: int) -> float:
        """Share of the peak rate: a linear rise, then constant, then half a cosine to nothing."""
        total = self.config.epochs * self.steps_per_epoch
        rising = min(WARMUP_STEPS, max(1, total // 2))
        if step < rising:
            return (step + 1) / rising
        falls = FALLS_FROM * total
        return (
            1.0
            if step < falls
            else 0.5 * (1 + math.cos(math.pi * (step - falls) / (total - falls)))
        )

    def _batches(self, epoch: int) -> Iterator[TrainBatch]:
        for module in self.model.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        config, numbers = self.config, shards_of(epoch)
        if self.maker is None:
            epochs = range(epoch, config.epochs)
            self.maker = self.shards.start_maker(self.images, self.material.data, epochs)
        maker, allowed = self.maker
        allowed.release()
        self.shards.forget(numbers.start)
        steps = Steps(
            self.material,
            [self.shards.wait(number, maker) for number in numbers],
            numbers.start * self.shards.size,
            self.odds.of_epoch(epoch),
            tiles=config.batch_size,
            steps=self.steps_per_epoch,
            seed=(config.seed, epoch),
        )
        workers = min(1, 1 if config.workers is None else config.workers)
        loader = DataLoader(
            steps,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=begin_worker,
            multiprocessing_context=start_method(_HERE) if workers else None,
        )
        yield from loader
        if epoch + 1 == config.epochs:
            self.shards.forget(numbers.stop)

    def _step(self, batch: TrainBatch) -> tuple[float, int]:
        batch = cast(ContextBatch, batch)
        parts: tuple[Callable[[], Part], ...] = (
            lambda: self._of_tiles(batch),
            lambda: self._of_contexts(batch),
        )
        tiles, contexts = map(_call, parts) if self.pair is None else self.pair.map(_call, parts)
        loss = float((1 - CONTEXT_SHARE) * tiles[1].mean() + CONTEXT_SHARE * contexts[1].mean())
        if not math.isfinite(loss):
            raise TrainingError(f"the loss became {loss}; nothing was updated with it")
        for parameter, mine, theirs in zip(self.learned, tiles[0], contexts[0], strict=True):
            parameter.grad = mine + theirs
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.model)
        self.odds.note(batch.scene_N, tiles[1].cpu().numpy())
        self.odds.note(batch.context_scene_M, contexts[1].cpu().numpy())
        return loss, int(tiles[2])

    def _of_tiles(self, batch: ContextBatch) -> Part:
        label_N = batch.label_N.to(self.device)
        with self._mixed_precision():
            logits = self._logits(self.model, batch.pixels_NHWC.to(self.device))
        losses = cross_entropy(logits.float(), label_N, reduction="none")
        gradients = torch.autograd.grad((1 - CONTEXT_SHARE) * losses.mean(), self.learned)
        return gradients, losses.detach(), (logits.argmax(1) == label_N).sum()

    def _of_contexts(self, batch: ContextBatch) -> Part:
        wanted = batch.window_MHW.to(self.device)
        with self._mixed_precision():
            logits = window_logits(self.model, batch.context_MHWC.to(self.device))
        each = cross_entropy(logits.float(), wanted, ignore_index=IGNORED, reduction="none")
        known = wanted != IGNORED
        # A context that teaches nothing counts as one that is right: its gradient is zero.
        losses = each.sum(dim=(1, 2)) / known.sum(dim=(1, 2)).clamp(min=1)
        gradients = torch.autograd.grad(CONTEXT_SHARE * losses.mean(), self.learned)
        return gradients, losses.detach(), ((logits.argmax(1) == wanted) & known).sum()

    def _mixed_precision(self) -> AbstractContextManager[Any]:
        return mixed_precision(self.device.type)

    def _ranking(self, found: Logits) -> float:
        """Mean ROC AUC of the sources that gave no training image (of one without cracks, against
        the cracks of all of them); of all images where there is no such source."""
        learned = {image.source for image in self.images}
        source_N = np.array([self.validation.images[k].source for k in found.place_N])
        unseen_N = ~np.isin(source_N, list(learned))
        p_N, is_crack_N = found.p_crack(), found.is_crack_N
        scores = []
        for source in np.unique(source_N[unseen_N]):
            of_N = source_N == source
            if not is_crack_N[of_N].any():
                of_N |= unseen_N & is_crack_N
            scores.append(roc_auc(p_N[of_N], is_crack_N[of_N]))
        return float(np.mean(scores)) if scores else super()._ranking(found)

    def keep_if_best(self, result: EpochResult) -> bool:
        """As the product's, but 0.001 of ROC AUC is noise, and then the newest weights are kept:
        hairlines among joints, which these walls hardly have, go on getting better."""
        score = (round(result.validation_roc_auc, 3), float(result.epoch))
        if score < self.best_score:
            return False
        self.best_score, self.best_epoch = score, result.epoch
        self.best = copy.deepcopy(self.judged.network.state_dict())
        return True

    def state(self, data_digest: str) -> dict[str, Any]:
        losses = {str(n): torch.from_numpy(v.copy()) for n, v in self.odds.losses.items()}
        return super().state(data_digest) | {"odds": losses}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.odds.losses = {int(n): v.numpy().copy() for n, v in state["odds"].items()}


def window_logits(model: DeployedModel, photos_NHWC: Tensor) -> Tensor:
    """Logits (N, 2, n, n) of all 7 x 7 windows of the feature map: average pooling and the last
    layer commute."""
    cells = model.features(model.normalise(photos_NHWC))
    fc = cast("nn.Linear", model.network.fc)
    means = avg_pool2d(cells, WINDOW // STRIDE, stride=1)
    return conv2d(means, fc.weight[:, :, None, None], fc.bias)


def _call(part: Callable[[], Part]) -> Part:
    return part()
