"""`train`: from labelled folders to a model bundle."""

from __future__ import annotations

import os
import platform
import shlex
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save

from inspector.calibration.logits import fit_calibration
from inspector.calibration.thresholds import Judged, choose_thresholds
from inspector.core.durable import check_writable
from inspector.errors import BundleError, OutputError, TrainingError
from inspector.labelled.folder import TRAIN, VALIDATION, read_labelled
from inspector.labelled.groups import with_groups
from inspector.labelled.reviewed import alone, merge_reviewed, read_reviewed
from inspector.labelled.split import data_digest, split
from inspector.model.bundle import BUNDLE_JSON, WEIGHTS, ModelBundle, sha256_of
from inspector.model.metrics import (
    average_precision,
    balanced_accuracy,
    brier,
    confusion,
    ece,
    roc_auc,
)
from inspector.model.network import build_network, describe, from_storage, to_storage
from inspector.training.artifacts import LOG, write_artifacts
from inspector.training.checkpoint import CHECKPOINT, load_checkpoint
from inspector.training.console import TrainConsole
from inspector.training.leaks import check_split
from inspector.training.loop import Predictions, Trained, Trainer, fit
from inspector.training.ood import fit_ood, ood_threshold
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torchvision.models import ResNet

    from inspector.calibration.logits import Calibration
    from inspector.labelled.folder import Labelled, LabelledImage
    from inspector.labelled.leaks import LeakAudit
    from inspector.labelled.reviewed import Reviewed
    from inspector.model.bundle import Thresholds
    from inspector.training.config import TrainConfig

LABELS = ("clear", "crack")
"""Order of the network's outputs."""
NOTES = "training"
"""Folder inside the bundle for the report, the history, the log and the checkpoint."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """`bundle` has no exported variant yet; `missed` lists the misclassified validation images."""

    bundle: ModelBundle
    trained: Trained
    missed: list[dict[str, Any]]
    notes: Path
    leaks: LeakAudit | None = None
    """Between training and validation images; None where nobody looked."""


def train(config: TrainConfig, *, quiet: bool = False) -> TrainResult:
    """Fine-tune ResNet18 on a labelled folder and write a bundle to `config.out`.

    Raises DataError (layout, a CSV that cannot be right, or a leak under `strict_splits`),
    DownloadError or BundleError (initial weights), BackendError (device), TrainingError (a loss
    that is not finite, nothing to resume), OutputError (also for labels that cannot be read). What
    can be known before the first epoch is.
    """
    reviewed = read_reviewed(config.labels)
    found = _images(config, reviewed)
    training, validation = merge_reviewed(found.training, found.validation, reviewed)
    notes = _prepare(config)
    console = TrainConsole(config.epochs, notes / LOG, quiet=quiet)
    with _kept(config, notes / CHECKPOINT, console):
        for line in found.lines:
            console.say(line)
        for line in found.warnings:
            console.warn(line)
        trainer = Trainer(config, _network(config), training, validation)
        digest = data_digest([*training, *validation])
        if config.resume:
            trainer.restore(load_checkpoint(notes / CHECKPOINT, config, digest))
        leaks = check_split(config, training, validation, notes, quiet=quiet)
        with console:
            console.say(describe(trainer.model.network))
            if config.labels:
                console.say(str(reviewed))
            console.say(_plan(config, training, validation, str(trainer.device)))
            trained = fit(trainer, notes / CHECKPOINT, digest, console)
            if trained.broken:
                console.say(f"{len(trained.broken)} images could not be decoded and were left out")
        return _finish(config, trainer, trained, validation, leaks, digest, notes)


@dataclass(frozen=True, slots=True)
class _Found:
    """The two sides, what lies in the folders, and what is wrong with the groups."""

    training: Sequence[LabelledImage]
    validation: Sequence[LabelledImage]
    lines: list[str]
    warnings: list[str]


def _images(config: TrainConfig, reviewed: Reviewed) -> _Found:
    """Reviewed photos are only trained on, beside a folder: chosen because the model was in doubt,
    they would make the validation say less about all photos."""
    if config.data is None:
        return _Found(*split(alone(reviewed), config.validation_share, config.seed), [], [])
    roots = [root for root in (config.data, config.validation) if root is not None]
    folders = [read_labelled(root, positive=config.positive) for root in roots]
    warnings: list[str] = []
    if config.groups is not None:
        folders, warnings = _with_groups(folders, config.groups)
    data = folders[0]
    training = data.with_both(data.of("", TRAIN))
    if config.validation is not None:
        validation = folders[1].held_out(VALIDATION)
    elif data.of(VALIDATION):
        validation = data.with_both(data.of(VALIDATION), VALIDATION)
    else:
        training, validation = split(training, config.validation_share, config.seed)
    uses = {"training": training, "validation": validation}
    return _Found(
        training, validation, [line for folder in folders for line in folder.lines(uses)], warnings
    )


def _with_groups(folders: list[Labelled], csv: Path) -> tuple[list[Labelled], list[str]]:
    """One CSV may speak of both folders, and of their parts that are left alone."""
    roots = [folder.root for folder in folders]
    images, warnings = with_groups([i for f in folders for i in f.images], csv, roots)
    rest = iter(images)
    return [replace(f, images=list(islice(rest, len(f.images)))) for f in folders], warnings


def _prepare(config: TrainConfig) -> Path:
    """The notes' folder, which can be written to. Refuses what would overwrite somebody's work."""
    out, notes = config.out, config.out / NOTES
    begun = (notes / CHECKPOINT).is_file()
    if config.resume and not begun:
        finished = "it is finished" if (out / BUNDLE_JSON).exists() else "no epoch was completed"
        raise TrainingError(f"{out} holds nothing to resume ({finished}); leave out --resume")
    if begun and not config.resume:
        raise TrainingError(
            f"{out} holds a training that was not finished; go on with --resume, delete it, or "
            "choose another --out"
        )
    check_writable(out)
    try:
        others = sorted(set(os.listdir(out)) - {NOTES, WEIGHTS}) if out.exists() else []
        if others and not config.resume:
            if BUNDLE_JSON in others:
                raise BundleError(
                    f"{out} already holds a bundle; choose another --out, or delete it"
                )
            raise OutputError(f"{out} holds other files ({others[0]}); choose another --out")
        notes.mkdir(parents=True, exist_ok=True)
        with (notes / LOG).open("a" if config.resume else "w", encoding="utf-8"):
            return notes
    except OSError as error:
        raise OutputError(
            f"cannot write to {out}: {error.strerror}; choose another --out"
        ) from error


@contextmanager
def _kept(config: TrainConfig, checkpoint: Path, console: TrainConsole) -> Iterator[None]:
    """Say, whatever stops the training, what is left of it."""

    def left() -> str:
        if checkpoint.exists():
            return "the epochs done are kept: go on with the same command and --resume"
        if (config.out / BUNDLE_JSON).exists():
            return f"the model is kept: go on with: inspector export {shlex.quote(str(config.out))}"
        return "no epoch was done"

    try:
        yield
    except KeyboardInterrupt:
        console.warn(f"interrupted; {left()}")
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write to {config.out}: {error.strerror or error}; {left()}"
        ) from error
    except RuntimeError as error:  # a loader's process or a GPU that ran out of memory
        raise TrainingError(f"{str(error).partition(chr(10))[0]}; {left()}") from error


def _network(config: TrainConfig) -> ResNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(config.init)
    if config.freeze_backbone:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith("fc."))
    return network


def _plan(
    config: TrainConfig, training: Sequence[LabelledImage], validation: Sequence[LabelledImage],
    device: str,
) -> str:  # fmt: skip
    def count(part: Sequence[LabelledImage]) -> str:
        cracks = sum(image.is_crack for image in part)
        return f"{len(part):,} images ({cracks:,} with cracks, {len(part) - cracks:,} without)"

    return (
        f"training on {count(training)}\nvalidating on {count(validation)}\n"
        f"epochs: {config.epochs}, batch size {config.batch_size}, from {config.init}, on {device}"
    )


def _finish(
    config: TrainConfig, trainer: Trainer, trained: Trained,
    validation: Sequence[LabelledImage], leaks: LeakAudit | None, digest: str, notes: Path,
) -> TrainResult:  # fmt: skip
    """Round the weights as they are stored, then calibrate and measure what will be shipped. The
    calibration's shift goes into the last layer's bias."""
    weights = to_storage(trained.network)
    _adopt(trainer, from_storage(weights))
    domain = fit_ood(trainer)
    weights = to_storage(trained.network, domain)
    found = trainer.predict(validation)
    calibration = fit_calibration(found.logits_N2, found.is_crack_N)
    weights["fc.bias"][LABELS.index("crack")] += calibration.shift
    found, temperature = found.shifted(calibration.shift), calibration.temperature
    p_N = found.p_crack(temperature)
    # safetensors' own writer makes a file that only its owner may read.
    (config.out / WEIGHTS).write_bytes(save(weights))
    bundle = ModelBundle(
        path=config.out,
        labels=LABELS,
        positive="crack",
        preprocess=trainer.spec,
        temperature=temperature,
        thresholds=replace(
            _thresholds(config, validation, found, p_N),
            out_of_distribution=round(ood_threshold(trainer, domain, validation), 4),
        ),
        files={WEIGHTS: sha256_of(config.out / WEIGHTS)},
        training=_provenance(config, trained, found, calibration, digest),
    )
    bundle.save()
    (notes / CHECKPOINT).unlink(missing_ok=True)  # ten times the model, and of no more use
    missed = write_artifacts(config, bundle, trained.history, validation, notes, leaks)
    return TrainResult(bundle, trained, missed, notes, leaks)


def _thresholds(
    config: TrainConfig, validation: Sequence[LabelledImage], found: Predictions,
    p_N: NDArray[np.float64],
) -> Thresholds:  # fmt: skip
    """By image also where there are groups: few walls are validated on, too few to be counted."""
    sources_N = np.array([validation[place].source for place in found.place_N])
    judged = Judged(p_N, found.is_crack_N, sources_N)
    return choose_thresholds(judged, config.rule, on="the validation images")


def _adopt(trainer: Trainer, network: ResNet) -> None:
    trainer.judged.network.load_state_dict(network.state_dict())


def _provenance(
    config: TrainConfig, trained: Trained, found: Predictions, calibration: Calibration, digest: str
) -> dict[str, Any]:
    p_N, truth = found.p_crack(calibration.temperature), found.is_crack_N
    return {
        "data_digest": digest,
        "seed": config.seed,
        "init": config.init.replace("\\", "/").rsplit("/", 1)[-1],
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "batch_size": config.batch_size,
        "learning_rate": config.peak_rate,
        "train_size": config.train_size or config.size,
        "synthetic": config.synthetic,
        "calibration_shift": calibration.shift,
        "broken_images": len(trained.broken),
        "versions": {
            "inspector": __version__,
            "python": platform.python_version(),
            "torch": version("torch"),
            "torchvision": version("torchvision"),
        },
        "validation": {
            "images": len(p_N),
            "roc_auc": roc_auc(p_N, truth),
            "average_precision": average_precision(p_N, truth),
            "balanced_accuracy": balanced_accuracy(p_N, truth),
            "brier": brier(p_N, truth),
            "ece": ece(p_N, truth),
            "confusion_at_0.5": confusion(p_N, truth, 0.5),
        },
    }
