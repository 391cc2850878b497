"""The training loop: draw, augment, step, validate, keep the best."""

from __future__ import annotations

import copy
import math
import time
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from inspector.errors import BackendError, TrainingError
from inspector.model.metrics import balanced_accuracy, roc_auc
from inspector.model.network import DeployedModel
from inspector.model.odds import probability
from inspector.model.preprocess import PreprocessSpec
from inspector.predict import predict_batches
from inspector.training.checkpoint import save_checkpoint
from inspector.training.data import (
    AugmentedPixels,
    LabelledPixels,
    TrainBatch,
    epoch_plan,
    load,
    workers_of,
)
from inspector.types import Failure, Photo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray
    from torchvision.models import ResNet

    from inspector.labelled.folder import LabelledImage
    from inspector.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One line of the history. Losses in nats, rates in images per second of wall time."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_balanced_accuracy: float
    validation_roc_auc: float
    learning_rate: float
    train_images: int
    images_per_second: float
    seconds: float


@dataclass(slots=True)
class Trained:
    """What the loop hands over: the best epoch's network and everything to report."""

    network: ResNet
    history: list[EpochResult]
    best_epoch: int
    broken: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Predictions:
    """`logits_N2` float32 (N, 2), `is_crack_N` bool, `place_N` into the list of images."""

    logits_N2: NDArray[np.float32]
    is_crack_N: NDArray[np.bool_]
    place_N: NDArray[np.int64]

    def p_crack(self, temperature: float = 1.0) -> NDArray[np.float64]:
        """Probability of a crack (N,): the softmax of two logits is a logistic function."""
        margin = (self.logits_N2[:, 1] - self.logits_N2[:, 0]).astype(np.float64) / temperature
        return probability(margin)

    def shifted(self, shift: float) -> Predictions:
        """With `shift` added to every crack logit."""
        moved = self.logits_N2 + np.array([0, shift], dtype=np.float32)
        return Predictions(moved, self.is_crack_N, self.place_N)

    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        truth = torch.from_numpy(self.is_crack_N).long()
        return float(cross_entropy(torch.from_numpy(self.logits_N2), truth))


class Watcher(Protocol):
    """Who wants to know how the training goes."""

    def start_epoch(self, epoch: int, steps: int) -> None: ...
    def step(self, loss: float, accuracy: float, images: int) -> None: ...
    def end_epoch(self, result: EpochResult, best: bool) -> None: ...


def pick_device(name: str) -> torch.device:
    """`auto` takes a GPU when there is one. Raises BackendError when the one asked for is not."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BackendError(f"unknown device {name!r}; use auto, cpu or cuda[:i]") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            "--device cuda: torch finds no usable GPU here (driver, or a CPU build of torch); "
            "use --device cpu or --device auto"
        )
    return device


class Trainer:
    """The state of one training and the steps that change it."""

    def __init__(self, config: TrainConfig, network: ResNet, images: Sequence[LabelledImage],
                 validation: Sequence[LabelledImage]) -> None:  # fmt: skip
        self.config = config
        self.images = images
        self.validation = validation
        self.device = pick_device(config.device)
        self.spec = PreprocessSpec(size=config.size)
        model = DeployedModel(network, self.spec, temperature=1.0, positive_index=1)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.average = self._make_average()
        learned = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            _decay_groups(learned, config.weight_decay), lr=config.peak_rate
        )
        self.epoch_images = config.epoch_images or len(images)
        self.steps_per_epoch = math.ceil(self.epoch_images / config.batch_size)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate_at)
        self.half = torch.float16 if _needs_scaler(self.device) else torch.bfloat16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=_needs_scaler(self.device))
        self.history: list[EpochResult] = []
        self.best: dict[str, Tensor] = {}
        self.best_score = (0.0, -math.inf)
        self.best_epoch = 0
        self.broken: set[str] = set()

    def _make_average(self) -> AveragedModel | None:
        if not self.config.ema_decay:
            return None
        ceiling = self.config.ema_decay

        def warm_ema(average: Tensor, current: Tensor, seen: Tensor | int) -> Tensor:
            # Short trainings would otherwise still average in the untrained start.
            decay = min(ceiling, (1 + int(seen)) / (10 + int(seen)))
            # In this form a frozen weight stays what it is, to the bit.
            return average + (current - average) * (1 - decay)

        return AveragedModel(self.model, avg_fn=warm_ema, use_buffers=True)

    def _rate_at(self, step: int) -> float:
        """Share of the peak rate: linear warm-up, then half a cosine to zero."""
        total = self.config.epochs * self.steps_per_epoch
        rising = max(1, round(self.config.warmup * total))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))

    @property
    def judged(self) -> DeployedModel:
        """The weights that are validated and kept."""
        return cast(DeployedModel, self.average.module) if self.average else self.model

    def run_epoch(self, epoch: int, watch: Watcher) -> EpochResult:
        config = self.config
        started = time.perf_counter()
        dataset = self._drawn(epoch)
        watch.start_epoch(epoch, self.steps_per_epoch)
        loss_sum, hits, seen = 0.0, 0, 0
        self.model.train(not config.freeze_backbone)
        for batch in self._batches(dataset):
            if len(batch.label_N) < 2:
                continue  # batch norm needs two images
            loss, right = self._step(batch)
            count = len(batch.label_N)
            loss_sum, hits, seen = loss_sum + loss * count, hits + right, seen + count
            watch.step(loss_sum / seen, hits / seen, count)
        if not seen:
            raise TrainingError("none of the training images could be decoded")
        train_seconds = time.perf_counter() - started
        found = self.predict(self.validation)
        if len(set(found.is_crack_N.tolist())) < 2:
            raise TrainingError("of one class, none of the validation images could be decoded")
        p_N = found.p_crack()
        return EpochResult(
            epoch=epoch + 1,
            train_loss=loss_sum / seen,
            train_accuracy=hits / seen,
            validation_loss=found.loss(),
            validation_accuracy=float(((p_N >= 0.5) == found.is_crack_N).mean()),
            validation_balanced_accuracy=balanced_accuracy(p_N, found.is_crack_N),
            validation_roc_auc=roc_auc(p_N, found.is_crack_N),
            learning_rate=float(self.schedule.get_last_lr()[0]),
            train_images=seen,
            images_per_second=seen / train_seconds,
            seconds=time.perf_counter() - started,
        )  # fmt: skip

    def _drawn(self, epoch: int) -> AugmentedPixels:
        config = self.config
        plan = epoch_plan(
            self.images, self.epoch_images, seed=config.seed, epoch=epoch,
            synthetic=config.synthetic,
        )  # fmt: skip
        return AugmentedPixels(
            self.images, self.spec, plan, train_size=config.size_in(epoch),
            synthetic=config.synthetic, seed=(config.seed, epoch),
        )  # fmt: skip

    def _batches(self, dataset: LabelledPixels) -> Iterator[TrainBatch]:
        pin = self.device.type == "cuda"
        size = self.config.batch_size
        for batch in load(dataset, size, workers=self.config.workers, pin=pin):
            self.broken.update(batch.broken)
            yield batch

    def _step(self, batch: TrainBatch) -> tuple[float, int]:
        """One optimiser step; the batch's mean loss and how many images were right."""
        pixels = batch.pixels_NHWC.to(self.device, non_blocking=True)
        label_N = batch.label_N.to(self.device, non_blocking=True)
        with self._mixed_precision():
            loss, logits = self._loss(pixels, label_N)
        value = float(loss.detach())  # waits for the GPU: a bad loss must not reach the weights
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value}; nothing was updated with it. Lower the learning rate "
                "(--lr) or look for damaged images"
            )
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.model)
        return value, int((logits.argmax(1) == label_N).sum())

    def _loss(self, pixels_NHWC: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
        """What the step makes smaller, and the logits (N, 2) that count as answers."""
        logits = self._logits(self.model, pixels_NHWC)
        return cross_entropy(logits, label_N), logits

    def _logits(self, model: DeployedModel, pixels_NHWC: Tensor) -> Tensor:
        with torch.no_grad() if self.config.freeze_backbone else nullcontext():
            features = model.features(model.normalise(pixels_NHWC)).mean(dim=(2, 3))
        return cast(Tensor, model.network.fc(features))

    def _mixed_precision(self) -> AbstractContextManager[Any]:
        if self.device.type != "cuda":
            return nullcontext()
        return torch.autocast("cuda", dtype=self.half)

    @torch.inference_mode()
    def predict(self, images: Sequence[LabelledImage]) -> Predictions:
        """Logits (float32, no mixed precision) of images as a scan would see them."""
        model = self.judged.eval()
        logits: list[NDArray[np.float32]] = []
        places: list[int] = []

        def run(pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
            pixels = torch.from_numpy(pixels_NHWC).to(self.device, non_blocking=True)
            return np.asarray(self._logits(model, pixels).float().cpu().numpy())

        batches = predict_batches(
            images, self.spec, run,
            batch_size=self.config.batch_size, workers=workers_of(self.config.workers),
        )  # fmt: skip
        with closing(batches):
            for batch, found in batches:
                places += [item.ref.index for item in batch.items if isinstance(item, Photo)]
                self.broken |= {f.ref.path for f in batch.items if isinstance(f, Failure)}
                if found is not None:
                    logits.append(found)
        if not logits:
            raise TrainingError("none of the validation images could be decoded")
        is_crack_N = np.array([images[place].is_crack for place in places], dtype=bool)
        return Predictions(np.concatenate(logits), is_crack_N, np.array(places))

    def keep_if_best(self, result: EpochResult) -> bool:
        if not math.isfinite(result.validation_loss):
            raise TrainingError(f"the validation loss became {result.validation_loss}")
        # How the images are ranked comes first: the temperature mends the loss afterwards. On easy
        # data, where every epoch ranks perfectly, the loss decides.
        score = (round(result.validation_roc_auc, 4), -result.validation_loss)
        if score <= self.best_score:
            return False
        self.best_score, self.best_epoch = score, result.epoch
        self.best = copy.deepcopy(self.judged.network.state_dict())
        return True

    def should_stop(self) -> bool:
        return len(self.history) - self.best_epoch >= self.config.patience

    def state(self, data_digest: str) -> dict[str, Any]:
        return {
            "data_digest": data_digest,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": [asdict(result) for result in self.history],
            "best": self.best,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "broken": sorted(self.broken),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = [EpochResult(**row) for row in state["history"]]
        self.best, self.best_score = state["best"], tuple(state["best_score"])
        self.best_epoch, self.broken = state["best_epoch"], set(state["broken"])


def fit(trainer: Trainer, checkpoint: Path, data_digest: str, watch: Watcher) -> Trained:
    """Train until the last epoch or until validation stops improving."""
    config = trainer.config
    while len(trainer.history) < config.epochs and not trainer.should_stop():
        result = trainer.run_epoch(len(trainer.history), watch)
        trainer.history.append(result)
        best = trainer.keep_if_best(result)
        save_checkpoint(checkpoint, config, trainer.state(data_digest))
        watch.end_epoch(result, best)
    network = cast("ResNet", trainer.judged.network)
    network.load_state_dict(trainer.best)
    return Trained(network, trainer.history, trainer.best_epoch, trainer.broken)


def _needs_scaler(device: torch.device) -> bool:
    """Half precision's small range needs loss scaling; GPUs since Ampere have bfloat16 instead."""
    return device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)


def _decay_groups(parameters: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Weight decay on kernels and matrices only: it would pull batch norm's scales to zero."""
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
