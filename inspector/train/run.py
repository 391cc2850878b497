"""`train`: from labelled folders to a model bundle."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save

from inspector.bundle import WEIGHTS, ModelBundle, sha256_of
from inspector.calibration.logits import fit_calibration
from inspector.calibration.thresholds import Judged, choose_thresholds
from inspector.data.folder import data_digest, find_labelled, split
from inspector.data.reviewed import Reviewed, alone, merge_reviewed, read_reviewed
from inspector.errors import BundleError, OutputError
from inspector.metrics import average_precision, balanced_accuracy, brier, confusion, ece, roc_auc
from inspector.network import build_network, describe, from_storage, to_storage
from inspector.train.artifacts import LOG, write_artifacts
from inspector.train.console import TrainConsole
from inspector.train.domain import domain_threshold, learn_domain
from inspector.train.leaks import check_split
from inspector.train.loop import Predictions, Trained, Trainer, fit
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torchvision.models import ResNet

    from inspector.bundle import Thresholds
    from inspector.calibration.logits import Calibration
    from inspector.data.folder import LabelledImage
    from inspector.data.leaks import LeakAudit
    from inspector.train.config import TrainConfig

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

    Raises DataError (layout, or a leak under `strict_splits`), DownloadError or BundleError
    (initial weights), BackendError (device), TrainingError (a loss that is not finite, nothing to
    resume), OutputError (also for labels that cannot be read).
    """
    reviewed = read_reviewed(config.labels)
    training, validation = _images(config, reviewed)
    notes = _prepare(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(config.init)
    if config.freeze_backbone:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith("fc."))
    trainer = Trainer(config, network, training, validation)
    leaks = check_split(config, training, validation, notes, quiet=quiet)
    digest = data_digest([*training, *validation])
    with TrainConsole(config.epochs, notes / LOG, quiet=quiet) as console:
        console.say(describe(network))
        if config.labels:
            console.say(str(reviewed))
        console.say(_plan(config, training, validation, str(trainer.device)))
        trained = fit(trainer, notes / "checkpoint.pt", digest, console)
        if trained.broken:
            console.say(f"{len(trained.broken)} images could not be decoded and were left out")
    return _finish(config, trainer, trained, validation, leaks, digest, notes)


def _images(
    config: TrainConfig, reviewed: Reviewed
) -> tuple[Sequence[LabelledImage], Sequence[LabelledImage]]:
    """Reviewed photos are only trained on, beside a folder: chosen because the model was in doubt,
    they would make the validation say less about all photos."""
    if config.data is None:
        images = alone(reviewed)
    else:
        images = find_labelled(config.data, positive=config.positive, groups_csv=config.groups)
    if config.validation is None:
        training, validation = split(images, share=config.validation_share, seed=config.seed)
    else:
        training = images
        validation = find_labelled(config.validation, positive=config.positive)
    return merge_reviewed(training, validation, reviewed)


def _prepare(config: TrainConfig) -> Path:
    notes = config.out / NOTES
    try:
        notes.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {config.out}: {error.strerror}") from error
    if (config.out / "bundle.json").exists() and not config.resume:
        raise BundleError(
            f"{config.out} already holds a bundle; choose another --out, delete it, or go on with "
            "--resume"
        )
    if not config.resume:
        (notes / LOG).unlink(missing_ok=True)
    return notes


def _plan(
    config: TrainConfig, training: Sequence[LabelledImage], validation: Sequence[LabelledImage],
    device: str,
) -> str:  # fmt: skip
    def count(part: Sequence[LabelledImage]) -> str:
        cracks = sum(image.is_crack for image in part)
        return f"{len(part):,} images ({cracks:,} with cracks, {len(part) - cracks:,} without)"

    return (
        f"training on {count(training)}\nvalidating on {count(validation)}\n"
        f"{config.epochs} epochs, batch size {config.batch_size}, from {config.init}, on {device}"
    )


def _finish(
    config: TrainConfig, trainer: Trainer, trained: Trained,
    validation: Sequence[LabelledImage], leaks: LeakAudit | None, digest: str, notes: Path,
) -> TrainResult:  # fmt: skip
    """Round the weights as they are stored, then calibrate and measure what will be shipped. The
    calibration's shift goes into the last layer's bias."""
    weights = to_storage(trained.network)
    _adopt(trainer, from_storage(weights))
    domain = learn_domain(trainer)
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
            out_of_domain=round(domain_threshold(trainer, domain, validation), 4),
        ),
        files={WEIGHTS: sha256_of(config.out / WEIGHTS)},
        training=_provenance(config, trained, found, calibration, digest),
    )
    bundle.save()
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
