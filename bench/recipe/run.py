"""The shipped model, from data to bundle: `python -m bench.recipe.run DATA`.

One committed recipe, so that every number in the model card can be made again: lay out the data,
train, export through the gate, export the quick variants through
their gates, evaluate per source, write the card. DATA has the layout
`train/SOURCE/{Positive,Negative}/*.jpg` and `train.csv` with the columns `file` and `group`.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.recipe.card import read_metrics, render_card
from bench.recipe.photos import fit_photos
from inspector.evaluation.figures import Evaluation
from inspector.evaluation.page import METRICS
from inspector.evaluation.run import EvaluateConfig, evaluate
from inspector.evaluation.wording import render
from inspector.labelled.fingerprints import fingerprint
from inspector.labelled.folder import LabelledImage, find_labelled
from inspector.labelled.leaks import LeakKind, audit_fingerprints
from inspector.labelled.split import hold_back
from inspector.model.bundle import BUNDLE_JSON, CARD, DEFAULT_PATH, GOLDEN, WEIGHTS, ModelBundle
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHIPPABLE = ("metu", "polyhaven")
"""Sources whose licence allows training a model that is given away (CC BY 4.0, CC0)."""
NO_CONCRETE = ("crack500",)
"""Asphalt: tested on, so that the card can say how it does there, but nothing is tuned to it."""
NAME = "crack-inspector default"
SEED = 7
HELD_BACK = 0.15
"""Share of each training source, by group, that is kept for validation and test."""
EPOCHS = 5
EPOCHS_MORE = 1
"""Epochs, at full input size, for which the shipped model learns on from every source."""
EPOCH_IMAGES = 5000
BATCH_SIZE = 50
SIZE = 224
"""What the shipped model judges, pixels a side."""
TRAIN_SIZE = 144
SYNTHETIC = 0.6


FLOATS = ("fp32", "fp16")
TESTED = "test"
"""Folder of the report whose figures stand in the card."""
HELD_BACK_IMAGES = 6000
"""Images at most on which the quick variants are gated."""


def lay_out(data: Path, work: Path, *, all_sources: bool) -> None:
    """Links in `work/train`, `work/validation`, `work/test` and `work/held_back` (the last two, for
    the gates of the quick variants), each SOURCE/CLASS/file.

    The `SHIPPABLE` sources give training images; `HELD_BACK` of them, by group, are held back.
    What is held back and every other source is halved by group: one half for validation (epochs,
    temperature, thresholds), one for the test that the card reports. `NO_CONCRETE` sources have no
    validation half. With `all_sources`, the other sources' first half goes mostly to training; the
    test stays the same. Held-back images with a copy among what either model trains on are left
    out: METU has some hundred images twice, encoded anew.
    """
    shutil.rmtree(work, ignore_errors=True)
    images = find_labelled(data / "train", groups_csv=data / "train.csv")
    shippable = [image for image in images if image.source in SHIPPABLE]
    others = [image for image in images if image.source not in SHIPPABLE]
    training, held_back = hold_back(shippable, share=HELD_BACK, seed=SEED)
    test, validation = hold_back([*held_back, *others], share=0.5, seed=SEED)
    unseen = [image for image in validation if image.source not in SHIPPABLE]
    more, kept = hold_back(unseen, share=0.3, seed=SEED)
    copied = _copies([*training, *more], [*held_back, *kept, *test])
    if all_sources:
        training = [*training, *more]
        validation = [image for image in validation if image.source in SHIPPABLE] + kept
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


def make(
    data: Path, work: Path, *, init: str, epochs: int, all_sources: bool
) -> tuple[ModelBundle, Evaluation]:
    """Lay out, train (or go on where a killed run stopped), export through the gate, evaluate."""
    from export import ExportConfig, export_bundle
    from inspector.training import TrainConfig, train

    bundle_dir, images = work / "bundle", work / "images"
    if not (bundle_dir / BUNDLE_JSON).exists():
        resume = (bundle_dir / "training" / "checkpoint.pt").exists()
        if not resume:
            lay_out(data, images, all_sources=all_sources)
        train(
            TrainConfig(
                data=images / "train",
                validation=images / "validation",
                out=bundle_dir,
                init=init,
                epochs=epochs,
                epoch_images=EPOCH_IMAGES,
                batch_size=BATCH_SIZE,
                size=SIZE,
                train_size=TRAIN_SIZE,
                synthetic=SYNTHETIC,
                seed=SEED,
                resume=resume,
            )
        )
    bundle = export_bundle(ExportConfig(bundle=bundle_dir, images=images / "test"))
    evaluate(
        EvaluateConfig(
            data=images / "test", model=bundle_dir, groups=data / "train.csv", out=work / TESTED
        )
    )
    return bundle, read_metrics(work / TESTED / METRICS)


def make_quick(bundle_dir: Path, images: Path) -> ModelBundle:
    """Export int8 and fp16: ranges from training images, margins and gates from held-back ones."""
    from export import ExportConfig, export_bundle

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
    from bench.recipe.share import share_bytes, share_weights

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
    data: Annotated[Path, typer.Argument(help="Folder with train/ and train.csv.")],
    work: Annotated[Path, typer.Option(help="Where trainings and figures are kept.")] = Path(
        "runs"
    ),
    init: Annotated[
        str, typer.Option(help="Initial weights, as in `inspector train`.")
    ] = "imagenet",
    out: Annotated[Path, typer.Option(help="Bundle to write.")] = DEFAULT_PATH,
    compare: Annotated[bool, typer.Option(help="Also train once on every source.")] = True,
) -> None:
    """Make the shipped model and its card."""
    shipped = work / "shipped"
    bundle, tested = make(data, shipped, init=init, epochs=EPOCHS, all_sources=False)
    print(render(tested))
    bundle = make_quick(bundle.path, shipped / "images")
    comparison = None
    if compare:
        start = str(shipped / "bundle")
        more = work / "all_sources"
        _, other = make(data, more, init=start, epochs=EPOCHS_MORE, all_sources=True)
        print(render(other))
        comparison = other, EPOCHS_MORE
    learned = find_labelled(shipped / "images" / "train")
    counts = Counter(image.source for image in learned)
    ship(
        bundle,
        render_card(bundle, tested, counts, name=NAME, all_sources=comparison),
        shipped / TESTED / METRICS,
        out,
    )
    if (data / "photos").is_dir():
        fit_photos(data, shipped / "images", work, out)


if __name__ == "__main__":
    typer.run(main)
