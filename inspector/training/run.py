"""`train`: from labelled folders to a model bundle that scans."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save

from inspector.calibration.logits import Calibration, fit_calibration
from inspector.calibration.thresholds import Judged, choose_thresholds
from inspector.core.durable import publish
from inspector.core.progress import Progress, no_progress
from inspector.core.text import quantity, quoted_word
from inspector.core.untrusted import sha256_of
from inspector.errors import ExportError
from inspector.evaluation.metrics import balanced_accuracy, confusion, ece, roc_auc
from inspector.labelled.split import data_digest
from inspector.model.bundle import WEIGHTS, ModelBundle, Thresholds
from inspector.model.network import (
    DeployedModel,
    build_network,
    describe,
    from_storage,
    outline,
    to_storage,
)
from inspector.training.images import audit_split, read_images
from inspector.training.loop import Logits, Trained, Trainer, fit
from inspector.training.notes import (
    CHECKPOINT,
    LOG,
    load_checkpoint,
    logged,
    prepare_notes,
    telling_what_is_left,
    write_artifacts,
)
from inspector.training.ood_fit import fit_ood, ood_threshold
from inspector.training.photo_view import bundle_with_view, take_over_view
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torchvision.models import ResNet

    from inspector.labelled.folder import LabelledImage
    from inspector.labelled.leaks import LeakAudit
    from inspector.training.config import TrainConfig

LABELS = ("clear", "crack")
"""Order of the network's outputs."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Result of a training."""

    bundle: ModelBundle
    """Bundle at `TrainConfig.out`, with ONNX and TorchScript."""
    trained: Trained
    missed: list[dict[str, Any]]
    """Misclassified validation images (`path`, `truth`, `p_crack`), the most confident first."""
    notes: Path
    """Folder with the report and the log."""
    leaks: LeakAudit | None = None
    """Leaks between training and validation images; None where the audit is switched off."""


def train(
    config: TrainConfig,
    *,
    progress: Progress = no_progress,
    say: Callable[[str], object] = lambda _: None,
    warn: Callable[[str], object] = lambda _: None,
    detail: Callable[[str], object] = lambda _: None,
    make_trainer: Callable[..., Trainer] = Trainer,
) -> TrainResult:
    """Fine-tune ResNet18 on labelled images, and write a bundle that scans to `config.out`.

    Everything that can fail early does so before the first epoch.

    Args:
        config: Data, options and place of the bundle.
        progress: Called as each phase begins, while leaks are looked for, and after each step.
        say: Called with each line of the log: the images, the network's parts, each epoch.
        warn: Called with lines that a person must see: leaks, groups without a match, what is left
            of an interrupted training.
        detail: Called with the lines of the whole network, which the log has, too.
        make_trainer: Makes the trainer of `config`, the network, training and validation images.

    Raises:
        DataError: Wrong layout, a wrong CSV, or leaks under `strict_splits`.
        DownloadError, BundleError: Initial weights cannot be had.
        BackendError: There is no such device.
        TrainingError: A loss is not finite, or there is nothing to resume.
        OutputError: The bundle cannot be written, or labels cannot be read.
        ExportError: The trained model cannot be exported; it is kept.
    """
    progress("listing the labelled photos", 0, 0)
    found = read_images(config, progress=progress)
    training, validation = found.training, found.validation
    notes = prepare_notes(config)
    say, warn, detail = (logged(notes / LOG, tell) for tell in (say, warn, detail))
    with telling_what_is_left(config, warn):
        for line in found.lines:
            say(line)
        for line in found.warnings:
            warn(line)
        progress(f"loading the weights to begin with ({config.init})", 0, 0)
        source = bundle_with_view(config.init)
        trainer = make_trainer(config, _network(config), training, validation)
        digest = data_digest([*training, *validation])
        if config.resume:
            trainer.restore(load_checkpoint(notes / CHECKPOINT, config, digest))
        leaks = audit_split(config, training, validation, notes, progress=progress)
        for line in leaks.lines() if leaks else ():
            (warn if leaks and leaks.leaks else say)(line)
        say("\n".join(outline(trainer.model.network)))
        detail(describe(trainer.model.network))
        say(_plan(config, training, validation, str(trainer.device)))
        trained = fit(trainer, notes / CHECKPOINT, digest, progress=progress, say=say)
        if trained.broken:
            say(f"{quantity(len(trained.broken), 'image')} could not be decoded and left out")
        bundle = _finish(config, trainer, trained, digest, source, progress)
        (notes / CHECKPOINT).unlink()  # ten times the model, and of no more use
        missed = write_artifacts(
            config, bundle, trained.history, validation, notes, leaks, progress
        )
    return TrainResult(_exported(config, warn, progress), trained, missed, notes, leaks)


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
        images = quantity(len(part), "image")
        return f"{images} ({cracks:,} with cracks, {len(part) - cracks:,} without)"

    return (
        f"training on {count(training)}\nvalidating on {count(validation)}\n"
        f"epochs: {config.epochs}, batch size {config.batch_size}, from {config.init}, on {device}"
    )


def _finish(
    config: TrainConfig, trainer: Trainer, trained: Trained, digest: str,
    source: ModelBundle, progress: Progress,
) -> ModelBundle:  # fmt: skip
    """Round the weights as they are stored, then calibrate and measure what will be shipped, and
    write the bundle. The calibration's shift goes into the last layer's bias."""
    weights = to_storage(trained.network)
    trainer.judged.network.load_state_dict(from_storage(weights).state_dict())
    progress("learning what is no concrete (out-of-distribution score)", 0, 0)
    head = fit_ood(trainer)
    weights = to_storage(trained.network, head)
    progress("calibrating probabilities and thresholds", 0, 0)
    found = trainer.predict()
    calibration = fit_calibration(found.logits_N2, found.is_crack_N)
    weights["fc.bias"][LABELS.index("crack")] += calibration.shift
    found = found.shifted(calibration.shift)
    thresholds = _thresholds(config, trainer.validation.images, found, calibration.temperature)
    limit = round(ood_threshold(trainer, head), 4)
    thresholds = replace(thresholds, out_of_distribution=limit)
    progress("taking over how photos at their own scale are judged", 0, 0)
    model = DeployedModel(
        from_storage(weights), trainer.spec, calibration.temperature, LABELS.index("crack")
    )
    view = take_over_view(source, model, thresholds, trainer)
    # safetensors' own writer makes a file that only its owner may read.
    publish(save(weights), config.out / WEIGHTS)
    bundle = ModelBundle(
        path=config.out,
        labels=LABELS,
        positive="crack",
        preprocess=trainer.spec,
        temperature=calibration.temperature,
        thresholds=thresholds,
        dense=view,
        files={WEIGHTS: sha256_of(config.out / WEIGHTS)},
        training=_provenance(config, trained, found, calibration, digest),
    )
    bundle.save()
    return bundle


def _thresholds(
    config: TrainConfig, validation: Sequence[LabelledImage], found: Logits, temperature: float
) -> Thresholds:
    """Choose thresholds by counting images, also where there are groups: the few walls of a
    validation set are too few to be counted."""
    sources_N = np.array([validation[place].source for place in found.place_N])
    judged = Judged(found.p_crack(temperature), found.is_crack_N, sources_N)
    return choose_thresholds(judged, config.rule, on="the validation images")


def _provenance(
    config: TrainConfig, trained: Trained, found: Logits, calibration: Calibration, digest: str
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
            "balanced_accuracy": balanced_accuracy(p_N, truth),
            "ece": ece(p_N, truth),
            "confusion_at_0.5": confusion(p_N, truth, 0.5),
        },
    }


def _exported(
    config: TrainConfig, warn: Callable[[str], object], progress: Progress
) -> ModelBundle:
    """Export the bundle to ONNX and TorchScript, gated on the validation folder."""
    from export import ExportConfig, export_bundle

    images = config.validation or config.data
    again = f"inspector export {quoted_word(str(config.out))}"
    if images is not None:
        again += f" --images {quoted_word(str(images))}"
    kept = f"the trained model is kept in {config.out}; go on with: {again}"
    try:
        return export_bundle(ExportConfig(bundle=config.out, images=images), progress)
    except KeyboardInterrupt:
        warn(f"interrupted; {kept}")
        raise
    except Exception as error:
        raise ExportError(f"{error}; {kept}") from error
