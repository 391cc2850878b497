"""The shipped model, from data to bundle: `python -m bench.recipe.run DATA`.

One committed recipe, so that every number in the model card can be made again: lay out the data,
train on tiles, train at full length with context (`bench.recipe.context`), export through the gate,
export the quick variants through their gates, evaluate per source, write the card, then teach the
narrow first stage (`bench.recipe.narrow`). The same command goes on where it was stopped. DATA has
the layout `train/SOURCE/{Positive,Negative}/*.jpg` and `train.csv` with the columns `file` and
`group`; `photos/` for context and for the view of photos.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.recipe.card import Made, read_metrics, render_card
from bench.recipe.context.trainer import ContextTrainer
from bench.recipe.narrow.attach import attach
from bench.recipe.narrow.run import make_narrow
from bench.recipe.photos import fit_photos
from bench.recipe.share import share_bytes, share_weights
from bench.studies.photos.run import RESULTS, PhotosConfig, study_photos
from export import ExportConfig, export_bundle
from inspector.calibration.thresholds import Rule
from inspector.core.untrusted import parse_json
from inspector.evaluation.page import METRICS
from inspector.evaluation.run import EvaluateConfig, evaluate
from inspector.evaluation.wording import evaluated_lines
from inspector.labelled.fingerprints import fingerprint
from inspector.labelled.folder import LabelledImage, find_labelled
from inspector.labelled.leaks import LeakKind, audit_fingerprints
from inspector.labelled.split import hold_back
from inspector.model.bundle import BUNDLE_JSON, CARD, DEFAULT_PATH, GOLDEN, WEIGHTS, ModelBundle
from inspector.training import TrainConfig
from inspector.training.loop import Trainer
from inspector.training.notes import CHECKPOINT, NOTES
from inspector.training.run import train
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from inspector.evaluation.figures import Evaluation
    from inspector.types import JsonObject

SHIPPABLE = ("metu", "polyhaven")
"""Sources whose licence allows training a model that is given away (CC BY 4.0, CC0)."""
NO_CONCRETE = ("crack500",)
"""Asphalt: tested on, so that the card can say how it does there, but nothing is tuned to it."""
NAME = "crack-inspector default"
SEED = 7
HELD_BACK = 0.15
"""Share of each training source, by group, that is kept for validation and test."""
EPOCHS = 5
EPOCH_IMAGES = 5000
BATCH_SIZE = 50
SIZE = 224
"""What the shipped model judges, pixels a side."""
TRAIN_SIZE = 144
SYNTHETIC = 0.6
LONG_SEED = 17
LONG_EPOCHS = 27
LONG_STEPS = 150
"""Steps an epoch of the full-length training."""
LONG_TILES = 28
"""Whole tiles a step; as much again comes as crops with context."""
LONG_RATE = 1.5e-4
RULE = Rule(highest_clear=0.05, lowest_crack=0.7)
"""A missed crack costs most: `clear` is said below 5 %, though the validation images would allow
more, and `crack` where no more of them are wrong than before."""
FLOATS = ("fp32", "fp16")
TESTED = "test"
"""Folder of the report whose figures stand in the card."""
HELD_BACK_IMAGES = 6000
"""Images at most on which the quick variants are gated."""


def lay_out(data: Path, work: Path) -> None:
    """Links in `work/train`, `work/validation`, `work/test` and `work/held_back` (the last two, for
    the gates of the quick variants), each SOURCE/CLASS/file.

    The `SHIPPABLE` sources give training images; `HELD_BACK` of them, by group, are held back.
    What is held back and every other source is halved by group: one half for validation (epochs,
    temperature, thresholds), one for the test that the card reports. `NO_CONCRETE` sources have no
    validation half. Held-back images with a copy among the training images are left out: METU has
    some hundred images twice, encoded anew.
    """
    shutil.rmtree(work, ignore_errors=True)
    images = find_labelled(data / "train", groups_csv=data / "train.csv")
    shippable = [image for image in images if image.source in SHIPPABLE]
    others = [image for image in images if image.source not in SHIPPABLE]
    training, held_back = hold_back(shippable, share=HELD_BACK, seed=SEED)
    test, validation = hold_back([*held_back, *others], share=0.5, seed=SEED)
    copied = _copies(training, [*validation, *test])
    validation = [
        image
        for image in validation
        if image.source not in NO_CONCRETE and image.path not in copied
    ]
    test = [image for image in test if image.path not in copied]
    parts = {
        "train": training,
        "validation": validation,
        "test": test,
        "held_back": [*validation, *test],
    }
    for name, part in parts.items():
        _link(part, data / "train", work / name)


def _copies(training: Sequence[LabelledImage], held_back: Sequence[LabelledImage]) -> set[str]:
    """Paths of the held-back images that have a copy in training."""
    leaks = audit_fingerprints(fingerprint(training), fingerprint(held_back)).leaks
    kinds = (LeakKind.SAME_PIXELS, LeakKind.NEAR_DUPLICATE)
    return {leak.path for leak in leaks if leak.kind in kinds}


def _link(images: Iterable[LabelledImage], root: Path, folder: Path) -> None:
    for image in images:
        place = folder / Path(image.path).relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(os.path.abspath(image.path), place)


def make(data: Path, work: Path, *, init: str) -> ModelBundle:
    """Lay out, train on tiles, then, where there are photos to cut context from, at full length;
    each training goes on where it was stopped. The bundle, exported through the gate."""
    images = work / "images"
    if not images.exists():
        lay_out(data, images)
    first = first_config(images, work, init)
    bundle = _trained(first, Trainer)
    if (data / "photos").is_dir():
        bundle = _trained(long_config(first), partial(ContextTrainer, data))
    return bundle


def first_config(images: Path, work: Path, init: str) -> TrainConfig:
    """The training on tiles."""
    return TrainConfig(
        data=images / "train",
        validation=images / "validation",
        out=work / "first",
        init=init,
        epochs=EPOCHS,
        epoch_images=EPOCH_IMAGES,
        batch_size=BATCH_SIZE,
        size=SIZE,
        train_size=TRAIN_SIZE,
        synthetic=SYNTHETIC,
        seed=SEED,
        leak_audit=False,  # `lay_out` leaves copies out
    )


def long_config(first: TrainConfig) -> TrainConfig:
    """The full-length training after a `first` one."""
    return replace(
        first,
        out=first.out.parent / "long",
        init=str(first.out),
        epochs=LONG_EPOCHS,
        epoch_images=LONG_STEPS * LONG_TILES,
        batch_size=LONG_TILES,
        learning_rate=LONG_RATE,
        weight_decay=0.0,
        ema_decay=0.995,
        train_size=None,
        patience=LONG_EPOCHS,
        rule=RULE,
        seed=LONG_SEED,
    )


def _trained(config: TrainConfig, make_trainer: Callable[..., Trainer]) -> ModelBundle:
    if not (config.out / BUNDLE_JSON).exists():
        config = replace(config, resume=(config.out / NOTES / CHECKPOINT).exists())
        return train(config, say=print, make_trainer=make_trainer).bundle
    bundle = ModelBundle.load(config.out)
    if not bundle.variants:  # stopped between training and export
        bundle = export_bundle(ExportConfig(bundle=config.out, images=config.validation))
    return bundle


def tested(data: Path, images: Path, bundle: Path, out: Path) -> Evaluation:
    """Figures on the test half, by source; made once."""
    if not (out / METRICS).exists():
        groups = data / "train.csv"
        evaluate(EvaluateConfig(data=images / "test", model=bundle, groups=groups, out=out))
    return read_metrics(out / METRICS)


def photos_tested(data: Path, images: Path, bundle: Path, out: Path) -> JsonObject:
    """Figures on photos at their own scale; made once."""
    if not (out / RESULTS).exists():
        study_photos(PhotosConfig(data=data, images=images, out=out, model=bundle))
    return dict(parse_json((out / RESULTS).read_text(encoding="utf-8")))


def make_quick(bundle_dir: Path, images: Path) -> ModelBundle:
    """Export int8 and fp16: ranges from training images, margins and gates from held-back ones."""
    config = ExportConfig(
        bundle=bundle_dir,
        int8=True,
        fp16=True,
        calibration=images / "train",
        images=images / "held_back",
        images_limit=HELD_BACK_IMAGES,
    )
    return export_bundle(config)


def ship(bundle: ModelBundle, card: str, tested: Path, target: Path) -> None:
    """Copy what a scan needs, and `tested`, the figures that the card tells. TorchScript stays out,
    `inspector export` makes it again; ONNX files with float kernels refer to those in the weights,
    which keeps the package small, and the dense int8 file to the tiles' one."""
    kept = {name: v for name, v in bundle.variants.items() if v.backend == "onnxruntime"}
    names = [WEIGHTS, GOLDEN, *(variant.file for variant in kept.values())]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in names:
        shutil.copyfile(bundle.file(name), target / name)
    for variant in kept.values():
        file = target / variant.file
        if variant.precision in FLOATS:
            share_weights(file, target / WEIGHTS)
        elif variant.view == View.DENSE:
            share_bytes(file, target / bundle.variant(variant.backend, variant.precision).file)
    (target / CARD).write_text(card, encoding="utf-8")
    shutil.copyfile(tested, target / METRICS)
    shipped = replace(bundle, path=target, variants=kept, files={})
    shipped.with_files(*names, CARD, METRICS).save()


def main(
    data: Annotated[Path, typer.Argument(help="Folder with train/, train.csv and photos/.")],
    work: Annotated[Path, typer.Option(help="Where trainings and figures are kept.")] = Path(
        "runs"
    ),
    init: Annotated[
        str, typer.Option(help="Initial weights, as in `inspector train`.")
    ] = "imagenet",
    out: Annotated[Path, typer.Option(help="Bundle to write.")] = DEFAULT_PATH,
) -> None:
    """Make the shipped model and its card, or go on with it."""
    images = work / "images"
    bundle = make(data, work, init=init)
    if "onnx-int8" not in bundle.variants:
        bundle = make_quick(bundle.path, images)
    before = tested(data, images, DEFAULT_PATH, work / "before")
    if (data / "photos").is_dir():
        photos_before = photos_tested(data, images, DEFAULT_PATH, work / "before")
    found = tested(data, images, bundle.path, work / TESTED)
    print(*evaluated_lines(found), sep="\n")
    made = Made(
        first=ModelBundle.load(work / "first"),
        steps=LONG_STEPS if (data / "photos").is_dir() else None,
        counts=Counter(image.source for image in find_labelled(images / "train")),
    )
    card = render_card(bundle, found, made, name=NAME, before=before)
    ship(bundle, card, work / TESTED / METRICS, out)
    if (data / "photos").is_dir():
        fit_photos(data, images, work, out, photos_before)
        pair = make_narrow(data, images / "train", ModelBundle.load(out), work / "narrow")
        attach(pair, data, images, work / "narrow", out)


if __name__ == "__main__":
    typer.run(main)
