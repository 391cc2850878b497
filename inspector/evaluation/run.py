"""`evaluate`: from a labelled folder and a model to figures, and a report of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from inspector.core.progress import Progress, no_progress
from inspector.core.untrusted import take_paths
from inspector.engines.photo import AUTO, choose_views, open_photo_engine
from inspector.errors import DataError, UsageError
from inspector.evaluation.figures import Evaluation, assess
from inspector.evaluation.page import Subject, check_free, write_report
from inspector.evaluation.predictions import predict_labelled
from inspector.labelled.fingerprints import Fingerprints, fingerprint, trained_on_of
from inspector.labelled.folder import TEST, VALIDATION, LabelledImage, measured_on, read_labelled
from inspector.labelled.groups import GROUP, read_table
from inspector.labelled.leaks import LeakAudit, audit_fingerprints
from inspector.model.bundle import DEFAULT_PATH, ModelBundle

WIDTH_COLUMN = "crack_width_px"
"""Column of the groups CSV: a crack's greatest width, in pixels of the image on disk."""
UNKNOWN = "(not said)"
"""The source of an image for which the column that figures are split by is empty."""
SIDES = ("training", "evaluation")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """Options of an evaluation. Raises UsageError for impossible values."""

    data: Path
    """Labelled folder, as for `train`."""
    model: Path | None = None
    """The bundle; None: the one that comes with the package."""
    positive: str | tuple[str, ...] = ()
    """Names of the folders with cracks, where they are not the usual ones."""
    groups: Path | None = None
    """CSV with `file` and `group`; a column `crack_width_px` adds figures by width."""
    by: str = "source"
    """Split figures by `source`, `folder` (the first below `data`), `group`, or a CSV column."""
    out: Path | None = None
    """Folder for the report; None: nothing is written."""
    gallery: int = 60
    """Pictures shown at most of each kind of mistake."""
    trained_on: Path | None = None
    """Labelled folder the model learned from: images of `data` in it count as leaks, like those
    that the bundle itself remembers."""
    strict_splits: bool = False
    """Refuse to measure where images leak, or where that is not known."""
    backend: str = "onnxruntime"
    device: str = "auto"
    view: str = AUTO
    """How photos are judged, as for a scan."""
    batch_size: int = 32
    workers: int = 1
    """Decoder processes; 0: decode in this process."""

    def __post_init__(self) -> None:
        take_paths(self)
        if self.batch_size < 1 or self.workers < 0:
            raise UsageError("batch size must be at least 1, and workers cannot be negative")
        if self.gallery < 0:
            raise UsageError(f"--gallery must be 0 or more, not {self.gallery}")
        if self.by not in ("source", "folder") and self.groups is None:
            raise UsageError(f"--by {self.by} needs --groups: a CSV that says what each file is")


def evaluate(
    config: EvaluateConfig,
    progress: Progress = no_progress,
    say: Callable[[str], object] = lambda _: None,
) -> Evaluation:
    """Measure a model on every image of a labelled folder. With `config.out`, writes `report.html`,
    `metrics.json` and `predictions.parquet` there. `say` is called with remarks on the data, such
    as labels that contradict each other or leaks.

    Raises DataError, BundleError, BackendError, LoaderError, OutputError.
    """
    progress("listing the labelled photos", 0, 0)
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    if config.out:
        check_free(config.out)
    images, remarks = measured_on(
        config.data, TEST, VALIDATION, positive=config.positive, groups_csv=config.groups
    )
    for line in remarks:
        say(line)
    widths, split = _widths_px(config, images), split_by(config, images)
    progress("looking for photos the model has learned from", 0, 0)
    leaks = audit_against_training(config, bundle, images)
    for line in leaks.lines() if leaks is not None else ():
        say(line)
    progress("starting the model", 0, 0)
    views = choose_views(config.view, bundle)
    with closing(
        open_photo_engine(bundle, config.backend, views=views, device=config.device)
    ) as engine:
        found = predict_labelled(
            split, bundle, engine,
            batch_size=config.batch_size, workers=config.workers,
            progress=partial(progress, "judging the photos"),
        )  # fmt: skip
    progress("computing figures and intervals", 0, 0)
    if widths is not None:
        width_px_N = np.array([widths[image.path] for image in found.images], np.float64)
        found = replace(found, width_px_N=width_px_N)
    evaluation = assess(found, bundle, by=config.by, leaks=leaks)
    if config.out:
        progress("writing the report: charts, mistakes, heat maps", 0, 0)
        subject = Subject(
            title=f"How far to trust this model on {config.data.resolve().name}",
            data=str(config.data),
            made=f"{datetime.now():%Y-%m-%d %H:%M}",
            gallery=config.gallery,
        )
        write_report(config.out, subject, evaluation, found, bundle, leaks)
    return evaluation


def split_by(config: EvaluateConfig, images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """The images with the value that figures are split by as their `source`. Raises DataError."""
    if config.by == "source":
        names = [image.source for image in images]
    elif config.by == "folder":
        names = [image.source.split("/")[0] for image in images]
    elif config.by == "group":
        names = [image.group for image in images]
    else:
        names = [value or UNKNOWN for value in _column(config, images, config.by)]
    everything = config.data.resolve().name
    return [
        replace(image, source=name or everything) for image, name in zip(images, names, strict=True)
    ]


def _column(config: EvaluateConfig, images: Sequence[LabelledImage], column: str) -> list[str]:
    assert config.groups is not None
    return read_table(config.groups).column(column, images, [config.data])[0]


def _widths_px(config: EvaluateConfig, images: Sequence[LabelledImage]) -> dict[str, float] | None:
    """Crack widths by path, NaN where the CSV has none; None where it has no such column. Raises
    DataError when a width is no number."""
    if config.groups is None or WIDTH_COLUMN not in read_table(config.groups).columns:
        return None
    values = _column(config, images, WIDTH_COLUMN)
    try:
        widths = [float(value.replace(",", ".") or "nan") for value in values]
    except ValueError as error:
        raise DataError(
            f"{config.groups}: every {WIDTH_COLUMN} must be a number of pixels: {error}"
        ) from error
    return {image.path: width for image, width in zip(images, widths, strict=True)}


def audit_against_training(
    config: EvaluateConfig, bundle: ModelBundle, images: Sequence[LabelledImage]
) -> LeakAudit | None:
    """Leaks from the images that the bundle remembers and those below `config.trained_on`; None
    where neither is known. Raises DataError with `config.strict_splits` unless it is known that
    nothing leaked."""
    remembered = trained_on_of(bundle)
    sides = [] if remembered is None else [remembered]
    if config.trained_on is not None:
        known = read_labelled(config.trained_on, positive=config.positive).images
        sides.append(fingerprint(_grouped(config, [i for i in known if i.part != TEST])))
    if not sides:
        if config.strict_splits:
            raise DataError(
                f"--strict-splits: {bundle.path} does not say what it learned from; name that "
                "folder with --trained-on"
            )
        return None
    held_out = fingerprint(images)
    found = _joined(sides, [audit_fingerprints(side, held_out, names=SIDES) for side in sides])
    if config.strict_splits and found.leaks:
        raise DataError(
            f"--strict-splits: {len(found.leaked_paths)} of {len(images)} images are not new to "
            f"the model, first {found.leaks[0].path} ({found.leaks[0].kind}); remove them or "
            "measure without --strict-splits, which gives both figures"
        )
    return found


def _grouped(config: EvaluateConfig, images: list[LabelledImage]) -> list[LabelledImage]:
    """Training images with the CSV's groups, as far as it names them: it may name `data` alone."""
    if config.groups is None or config.trained_on is None:
        return images
    groups, _ = read_table(config.groups).column(GROUP, images, [config.trained_on])
    return [
        replace(image, group=group or image.path)
        for image, group in zip(images, groups, strict=True)
    ]


def _joined(sides: Sequence[Fingerprints], audits: Sequence[LeakAudit]) -> LeakAudit:
    """One audit of several training sides; an image leaks at most once per kind, and one that two
    sides have counts once."""
    first = {(leak.kind, leak.path): leak for audit in reversed(audits) for leak in audit.leaks}
    order = list(dict.fromkeys(leak.kind for audit in audits for leak in audit.leaks))
    images, torn = _count(sides)
    return replace(
        audits[0],
        training_images=images,
        undecodable=audits[0].undecodable - _count(sides[:1])[1] + torn,
        leaks=tuple(sorted(first.values(), key=lambda leak: order.index(leak.kind))),
    )


def _count(sides: Sequence[Fingerprints]) -> tuple[int, int]:
    """Count training images, and those of them that could not be decoded. What an earlier side has
    is known by its pixels, else by the end of its path: a bundle keeps no more of it."""
    images, torn = 0, list[str]()
    pixels_M = np.empty(0, np.uint64)
    for side in sides:
        images += int((side.decoded_N & ~np.isin(side.pixels_N, pixels_M)).sum())
        pixels_M = np.append(pixels_M, side.pixels_N[side.decoded_N])
        paths = [side.paths[k] for k in np.flatnonzero(~side.decoded_N)]
        torn += [path for path in paths if not any(f"/{path}".endswith(f"/{t}") for t in torn)]
    return images + len(torn), len(torn)
