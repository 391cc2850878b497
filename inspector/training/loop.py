"""The training loop: draw, augment, step, validate, keep the best."""

from __future__ import annotations

import copy
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from inspector.core.progress import Progress, no_progress
from inspector.engines import Device
from inspector.engines.torch import resolve_device
from inspector.errors import TrainingError
from inspector.evaluation.metrics import balanced_accuracy, roc_auc
from inspector.model.network import DeployedModel
from inspector.model.preprocess import PreprocessSpec
from inspector.model.verdict import probability
from inspector.training.data import AugmentedPixels, HeldOut, Pixels, TrainBatch, epoch_plan, load
from inspector.training.notes import save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torchvision.models import ResNet

    from inspector.labelled.folder import LabelledImage
    from inspector.training.config import TrainConfig


_AMPERE = (8, 0)
"""Compute capability from which a GPU has bfloat16."""


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

    def __str__(self) -> str:
        return (
            f"train loss {self.train_loss:.4f} accuracy {self.train_accuracy:.2%}  "
            f"validation loss {self.validation_loss:.4f} accuracy {self.validation_accuracy:.2%} "
            f"ROC AUC {self.validation_roc_auc:.4f}  {self.images_per_second:.0f} images/s"
        )


@dataclass(slots=True)
class Trained:
    """Result of the loop: the network of the best epoch, and the history."""

    network: ResNet
    history: list[EpochResult]
    best_epoch: int
    broken: set[str] = field(default_factory=set)
    """Paths of images that could not be decoded."""


@dataclass(frozen=True, slots=True)
class Logits:
    """Outputs of the network for N validation images."""

    logits_N2: NDArray[np.float32]
    is_crack_N: NDArray[np.bool_]
    place_N: NDArray[np.int64]
    """Places among the validation images."""

    def p_crack(self, temperature: float = 1.0) -> NDArray[np.float64]:
        """Probability of a crack (N,): the softmax of two logits is a logistic function."""
        margin = (self.logits_N2[:, 1] - self.logits_N2[:, 0]).astype(np.float64) / temperature
        return probability(margin)

    def shifted(self, shift: float) -> Logits:
        """Add `shift` to every crack logit."""
        moved = self.logits_N2 + np.array([0, shift], dtype=np.float32)
        return Logits(moved, self.is_crack_N, self.place_N)

    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        truth = torch.from_numpy(self.is_crack_N).long()
        return float(cross_entropy(torch.from_numpy(self.logits_N2), truth))


class Trainer:
    """State of a training, and the steps that change it."""

    def __init__(self, config: TrainConfig, network: ResNet, images: Sequence[LabelledImage],
                 validation: Sequence[LabelledImage]) -> None:  # fmt: skip
        self.config = config
        self.images = images
        self.device, _ = resolve_device(Device.parse(config.device))
        self.spec = PreprocessSpec(size=config.size)
        self.validation = HeldOut(
            validation, self.spec, batch_size=config.batch_size, workers=config.workers
        )
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

        def warm_ema(average: Tensor, current: Tensor, _: Tensor | int) -> Tensor:
            # Short trainings would otherwise still average in the untrained start. The counter
            # that is handed over may lie on a GPU, and each look at it would wait for that.
            seen = int(averaged.n_averaged)
            decay = min(ceiling, (1 + seen) / (10 + seen))
            # In this form a frozen weight stays what it is, to the bit.
            return average + (current - average) * (1 - decay)

        averaged = AveragedModel(self.model, avg_fn=warm_ema, use_buffers=True)
        return averaged

    def _rate_at(self, step: int) -> float:
        """Share of the peak rate: linear warm-up, then half a cosine to zero."""
        total = self.config.epochs * self.steps_per_epoch
        rising = max(1, round(self.config.warmup * total))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))

    @property
    def judged(self) -> DeployedModel:
        """Model with the weights that are validated and kept."""
        return cast(DeployedModel, self.average.module) if self.average else self.model

    def run_epoch(self, epoch: int, progress: Progress = no_progress) -> EpochResult:
        """Train for one epoch (from 0) and validate. Raises TrainingError."""
        config = self.config
        started = time.perf_counter()
        loss_sum, hits, seen = 0.0, 0, 0
        progress(f"epoch {epoch + 1}/{config.epochs}", 0, self.steps_per_epoch)
        self.model.train(not config.freeze_backbone)
        for step, batch in enumerate(self._batches(epoch), start=1):
            self.broken.update(batch.broken)
            count = len(batch.label_N)
            if count < 2:
                continue  # batch norm needs two images
            loss, right = self._step(batch)
            loss_sum, hits, seen = loss_sum + loss * count, hits + right, seen + count
            rate = seen / (time.perf_counter() - started)
            progress(
                f"epoch {epoch + 1}/{config.epochs}  loss {loss_sum / seen:.4f} "
                f"acc {hits / seen:.2%}  {rate:.0f} images/s",
                step,
                self.steps_per_epoch,
            )
        if not seen:
            raise TrainingError("none of the training images could be decoded")
        train_seconds = time.perf_counter() - started
        progress(f"epoch {epoch + 1}/{config.epochs}: validating", 0, 0)
        found = self.predict()
        if len(set(found.is_crack_N.tolist())) < 2:
            raise TrainingError("none of the validation images of one class could be decoded")
        p_N = found.p_crack()
        return EpochResult(
            epoch=epoch + 1,
            train_loss=loss_sum / seen,
            train_accuracy=hits / seen,
            validation_loss=found.loss(),
            validation_accuracy=float(((p_N >= 0.5) == found.is_crack_N).mean()),
            validation_balanced_accuracy=balanced_accuracy(p_N, found.is_crack_N),
            validation_roc_auc=self._ranking(found),
            learning_rate=float(self.schedule.get_last_lr()[0]),
            train_images=seen,
            images_per_second=seen / train_seconds,
            seconds=time.perf_counter() - started,
        )

    def _batches(self, epoch: int) -> Iterator[TrainBatch]:
        config, pin = self.config, self.device.type == "cuda"
        return load(self._drawn(epoch), config.batch_size, workers=config.workers, pin=pin)

    def _drawn(self, epoch: int) -> AugmentedPixels:
        return self.draw(epoch, self.epoch_images, self.config.size_in(epoch))

    def draw(self, epoch: int, count: int, size: int) -> AugmentedPixels:
        """Draw `count` training images, augmented at `size` px."""
        seed, synthetic = self.config.seed, self.config.synthetic
        plan = epoch_plan(self.images, count, seed=seed, epoch=epoch, synthetic=synthetic)
        return AugmentedPixels(
            self.images, self.spec, plan, train_size=size, synthetic=synthetic, seed=(seed, epoch)
        )

    def _step(self, batch: TrainBatch) -> tuple[float, int]:
        """Do one optimiser step; return the batch's mean loss and the number of correct images."""
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

    def rehearse(self) -> None:
        """Do what a step at full size does, and learn nothing from it: a GPU that has no room for
        it says so now, and not in the last epoch."""
        self.model.eval()
        size = self.config.size
        pixels = torch.zeros((self.config.batch_size, size, size, 3), dtype=torch.uint8)
        label_N = torch.zeros(len(pixels), dtype=torch.int64, device=self.device)
        with self._mixed_precision():
            loss, _ = self._loss(pixels.to(self.device), label_N)
        torch.autograd.backward(loss)
        self.optimizer.zero_grad(set_to_none=True)

    def _loss(self, pixels_NHWC: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
        """Loss to minimise, and logits (N, 2) for the accuracy."""
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
    def predict(self) -> Logits:
        """Predict the validation images, in float32."""
        model = self.judged.eval()

        def logits(pixels: Tensor) -> Tensor:
            return self._logits(model, pixels).float()

        place_N, logits_N2 = self.run_validation(logits)
        is_crack_N = np.array([self.validation.images[k].is_crack for k in place_N], dtype=bool)
        return Logits(logits_N2, is_crack_N, place_N)

    def run_validation(
        self, run: Callable[[Tensor], Tensor]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Run a function of pixels, uint8 (n, H, W, 3) on the device, on the validation images:
        places of the decodable ones, and the joined outputs (N, ...). Raises TrainingError where
        none can be decoded."""

        def outputs(pixels_NHWC: Pixels) -> NDArray[np.float32]:
            pixels = torch.from_numpy(pixels_NHWC).to(self.device, non_blocking=True)
            return np.asarray(run(pixels).cpu().numpy())

        batches = list(self.validation.predict(outputs))
        if not batches:
            raise TrainingError("none of the validation images could be decoded")
        self.broken |= self.validation.broken
        places = [place for places, _ in batches for place in places]
        return np.array(places, dtype=np.int64), np.concatenate([found for _, found in batches])

    def _ranking(self, found: Logits) -> float:
        """The ROC AUC that chooses the epoch."""
        return roc_auc(found.p_crack(), found.is_crack_N)

    def keep_if_best(self, result: EpochResult) -> bool:
        """Keep the weights if they are the best so far. Raises TrainingError for a loss that is not
        finite."""
        if not math.isfinite(result.validation_loss):
            raise TrainingError(f"the validation loss became {result.validation_loss}")
        # Ranking comes first: the temperature corrects the loss afterwards. On easy data, where
        # every epoch ranks perfectly, the loss decides.
        score = (round(result.validation_roc_auc, 4), -result.validation_loss)
        if score <= self.best_score:
            return False
        self.best_score, self.best_epoch = score, result.epoch
        self.best = copy.deepcopy(self.judged.network.state_dict())
        return True

    def should_stop(self) -> bool:
        """Whether validation has not improved for `patience` epochs; never where the last epoch is
        the one at full size."""
        waited = len(self.history) - self.best_epoch
        return self.config.train_size is None and waited >= self.config.patience

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        averaged = {"average": self.average} if self.average else {}
        return averaged | {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
        }

    def state(self, data_digest: str) -> dict[str, Any]:
        """Everything that `restore` needs, for a checkpoint."""
        return {
            "data_digest": data_digest,
            **{name: part.state_dict() for name, part in self._parts().items()},
            "history": [asdict(result) for result in self.history],
            "best": self.best,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "broken": sorted(self.broken),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's `state`."""
        for name, part in self._parts().items():
            if state[name] or part is not self.scaler:  # one that is switched off has no state
                part.load_state_dict(state[name])
        self.history = [EpochResult(**row) for row in state["history"]]
        self.best, self.best_score = state["best"], tuple(state["best_score"])
        self.best_epoch, self.broken = state["best_epoch"], set(state["broken"])


def fit(
    trainer: Trainer,
    checkpoint: Path,
    data_digest: str,
    *,
    progress: Progress = no_progress,
    say: Callable[[str], object] = lambda _: None,
) -> Trained:
    """Train until the last epoch, or until validation stops improving; `checkpoint` is written
    after each epoch, `say` called with one line."""
    config = trainer.config
    if config.train_size is not None and trainer.device.type == "cuda":
        trainer.rehearse()
    while len(trainer.history) < config.epochs and not trainer.should_stop():
        result = trainer.run_epoch(len(trainer.history), progress)
        trainer.history.append(result)
        best = trainer.keep_if_best(result)
        save_checkpoint(checkpoint, config, trainer.state(data_digest))
        say(f"epoch {result.epoch}/{config.epochs}  {result}{'  best' if best else ''}")
    network = cast("ResNet", trainer.judged.network)
    network.load_state_dict(trainer.best)
    return Trained(network, trainer.history, trainer.best_epoch, trainer.broken)


def _needs_scaler(device: torch.device) -> bool:
    """Whether a GPU has float16 only, whose small range needs loss scaling; GPUs since Ampere have
    bfloat16."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) < _AMPERE


def _decay_groups(parameters: list[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Apply weight decay to kernels and matrices only: it would pull batch norm's scales to 0."""
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
