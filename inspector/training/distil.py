"""Distillation: a bundle's model teaches itself to judge at low resolution.

The teacher judges photos, many of them made harder, at full size; the student learns its verdicts
from the same photos shrunk. No labels are needed: any folder of photos will do.
"""

from __future__ import annotations

import math
import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from safetensors.torch import save
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from inspector.core.paths import take_paths
from inspector.engines import open_backend
from inspector.errors import DataError, TrainingError, UsageError
from inspector.labelled.folder import LabelledImage, image_paths
from inspector.model.bundle import STUDENT, ModelBundle
from inspector.model.network import to_storage
from inspector.model.preprocess import shrink
from inspector.model.student import COMPONENTS, Strangeness, StudentModel, new_student, textures_of
from inspector.training.data import AugmentedPixels, LabelledPixels, load
from inspector.training.loop import pick_device

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from inspector.model.bundle import Thresholds
    from inspector.model.preprocess import PreprocessSpec

PLAIN = 0.4
"""Share of the lessons that are photos as they are; the others are augmented, half of them with a
synthetic crack or distractor. What the student decides alone must look like ordinary photos."""
_HARDER = 0.5
_MISTAKE = 4.0
"""Weight of an error that would let the cascade decide wrongly, over one that costs only time."""
_WEIGHT_DECAY = 1e-4
_RISING = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilConfig:
    """Raises UsageError when a value cannot be right."""

    bundle: Path
    """Its model teaches; its ONNX variant must have been exported."""
    photos: Path
    size: int = 80
    """Side of the student's input, pixels."""
    lessons: int = 14_000
    """Photos, drawn again and changed when there are fewer."""
    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 4e-4
    seed: int = 0
    device: str = "auto"
    workers: int | None = None

    def __post_init__(self) -> None:
        take_paths(self)
        if not 32 <= self.size <= 4096:
            raise UsageError(f"a low resolution of {self.size} px is not between 32 and 4096")
        if self.lessons < 2 * self.batch_size or self.batch_size < 2 or self.epochs < 1:
            raise UsageError("distilling needs at least two batches of two lessons, and one epoch")


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the teacher says: `pixels_NHWC` uint8 (N, size, size, 3), `p_crack_N` float32 (N,)."""

    pixels_NHWC: Tensor
    p_crack_N: Tensor


class Watcher(Protocol):
    """Who wants to know how it goes: `done` of `total` in `phase`, and the loss while learning."""

    def __call__(self, phase: str, done: int, total: int, loss: float | None) -> None: ...


def distil(config: DistilConfig, watch: Watcher = lambda *_: None) -> Path:
    """Write a low-resolution student of the bundle's model into the bundle; its file.

    Raises DataError without photos, BundleError, BackendError, TrainingError.
    """
    bundle = ModelBundle.load(config.bundle)
    if config.size >= bundle.preprocess.size:
        raise UsageError(f"{config.size} px is not below the model's {bundle.preprocess.size} px")
    lessons = teach(config, bundle, watch)
    student = new_student(bundle, config.size)
    device = pick_device(config.device)
    learn(student, lessons, bundle.thresholds, config, device, watch)
    student = _as_stored(student.cpu(), bundle, config.size)
    _settle(student.to(device), lessons, bundle.thresholds, config.batch_size)
    file = bundle.file(STUDENT)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(save(to_storage(student.cpu()), {"size": str(config.size)}))
    return file


def teach(config: DistilConfig, bundle: ModelBundle, watch: Watcher) -> Lessons:
    """Draw photos, change most of them, let the bundle's fp32 model judge each, and shrink it."""
    images = _images(config.photos)
    pixels, answers, done = [], [], 0
    with closing(open_backend(bundle, device=config.device)) as teacher:
        for dataset in _datasets(config, images, bundle.preprocess):
            for batch in load(dataset, config.batch_size, workers=config.workers, pin=False):
                if not len(batch.label_N):
                    continue
                full_NHWC = np.ascontiguousarray(batch.pixels_NHWC.numpy())
                answers.append(teacher.run(full_NHWC).p_crack_N)
                pixels.append(np.stack([shrink(image, config.size) for image in full_NHWC]))
                done += len(full_NHWC)
                watch("teaching", done, config.lessons, None)
    if done < 2 * config.batch_size:
        raise DataError(f"only {done} photos below {config.photos} can be decoded")
    return Lessons(
        torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(answers))
    )


def _images(folder: Path) -> list[LabelledImage]:
    """The photos below `folder`; what a label would say is the teacher's to say here."""
    paths = sorted(filter(os.path.isfile, image_paths(folder)))
    if not paths:
        raise DataError(f"no photos below {folder} to distil on; name a folder that has some")
    return [LabelledImage(path, False, "", "") for path in paths]


def _datasets(
    config: DistilConfig, images: Sequence[LabelledImage], spec: PreprocessSpec
) -> Iterator[LabelledPixels]:
    plain = round(PLAIN * config.lessons)
    rng = np.random.default_rng([config.seed, 0])
    yield LabelledPixels([images[k] for k in _draw(len(images), plain, rng)], spec)
    yield AugmentedPixels(
        images,
        spec,
        _draw(len(images), config.lessons - plain, rng),
        train_size=spec.size,
        synthetic=_HARDER,
        seed=(config.seed, 0),
    )


def _draw(population: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` places below `population`, each as often as any other up to one."""
    rounds = [rng.permutation(population) for _ in range(-(-count // population))]
    return np.concatenate(rounds)[:count]


def learn(
    student: StudentModel,
    lessons: Lessons,
    thresholds: Thresholds,
    config: DistilConfig,
    device: torch.device,
    watch: Watcher,
) -> None:
    """Train `student` in place. Raises TrainingError at a loss that is not finite."""
    steps = config.epochs * (len(lessons.p_crack_N) // config.batch_size)
    student.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=config.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps, pct_start=max(_RISING, 2 / steps)
    )
    for step, (pixels, p_crack_N) in enumerate(_batches(lessons, config), 1):
        features = student.features(student.normalise(pixels.to(device)))
        loss = verdict_loss(student.log_odds(features), p_crack_N.to(device), thresholds)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss became {value} while distilling; lower the rate")
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        watch("learning", step, steps, value)
    student.eval()


def verdict_loss(odds_N: Tensor, p_crack_N: Tensor, thresholds: Thresholds) -> Tensor:
    """How badly log odds (N,) place photos among the verdicts that the teacher's probabilities
    give them, in nats.

    Verdicts are ordered, so this is ordinal regression (McCullagh 1980): one binary cross-entropy
    per threshold. It lets the student be far surer than the teacher's probabilities are, which is
    what separates the easy photos from the rest. Calling a photo clear that is not, or crack that
    is not, weighs more than the opposite.
    """
    not_clear_N = (p_crack_N >= thresholds.clear_below).float()
    crack_N = (p_crack_N >= thresholds.crack_from).float()
    low = cross_entropy(
        odds_N - _log_odds(thresholds.clear_below), not_clear_N,
        weight=1 + (_MISTAKE - 1) * not_clear_N,
    )  # fmt: skip
    high = cross_entropy(
        odds_N - _log_odds(thresholds.crack_from), crack_N,
        weight=1 + (_MISTAKE - 1) * (1 - crack_N),
    )  # fmt: skip
    return low + high


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(bounded / (1 - bounded))


def _batches(lessons: Lessons, config: DistilConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches, each turned and mirrored at random: a crack has no upright."""
    draw = torch.Generator().manual_seed(config.seed)
    size = config.batch_size
    for _ in range(config.epochs):
        order = torch.randperm(len(lessons.p_crack_N), generator=draw)
        for start in range(0, len(order) - size + 1, size):
            places = order[start : start + size]
            turns, mirrored = torch.randint(4, (2,), generator=draw).tolist()
            pixels = torch.rot90(lessons.pixels_NHWC[places], turns, (1, 2))
            yield pixels.flip(2) if mirrored % 2 else pixels, lessons.p_crack_N[places]


def _as_stored(student: StudentModel, bundle: ModelBundle, size: int) -> StudentModel:
    """The student as it will be read back: what follows must be fitted to the rounded weights."""
    stored: dict[str, Any] = to_storage(student)
    again = new_student(bundle, size)
    again.load_state_dict(stored)
    return again.eval()


@torch.inference_mode()
def _settle(
    student: StudentModel, lessons: Lessons, thresholds: Thresholds, batch_size: int
) -> None:
    """Learn which textures are familiar, then fit slope and offset to the teacher."""
    device = next(student.parameters()).device
    textures, odds = [], []
    for pixels in torch.split(lessons.pixels_NHWC, batch_size):
        stages = student.stages(student.normalise(pixels.to(device)))
        textures.append(textures_of(stages))
        odds.append(student.log_odds(stages[-1]))
    clear_N = lessons.p_crack_N < thresholds.clear_below
    plain = torch.arange(len(clear_N)) < round(PLAIN * len(clear_N))
    familiar = clear_N & plain
    if int(familiar.sum()) <= COMPONENTS:
        raise DataError(
            f"only {int(familiar.sum())} of the photos to distil on are clear, and more than "
            f"{COMPONENTS} are needed; add photos without cracks"
        )
    seen_NT = torch.cat(textures)
    head = cast(Strangeness, student.domain)
    head.learn(seen_NT[familiar.to(device)], seen_NT[plain.to(device)])
    slope, offset = _fit_line(torch.cat(odds).cpu(), lessons.p_crack_N)
    student.slope, student.offset = slope.to(device), offset.to(device)


def _fit_line(odds_N: Tensor, p_crack_N: Tensor) -> tuple[Tensor, Tensor]:
    """Slope (positive) and offset by which log odds come nearest to the teacher's probabilities
    (Platt 1999, with soft targets)."""
    with torch.inference_mode(False), torch.enable_grad():
        odds_N, target_N = odds_N.clone(), p_crack_N.clone()
        line = torch.zeros(2, requires_grad=True)  # logarithm of the slope, offset
        optimizer = torch.optim.LBFGS([line], max_iter=50, line_search_fn="strong_wolfe")

        def closure() -> float:
            optimizer.zero_grad()
            loss = cross_entropy(line[0].exp() * odds_N + line[1], target_N)
            torch.autograd.backward(loss)
            return cast(float, loss)

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return line[0].detach().exp(), line[1].detach()
