"""`evaluate`: from a labelled folder and a model to figures, and a report of them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from inspector.engines import open_backend
from inspector.evaluation.assess import assess
from inspector.evaluation.figures import Evaluation
from inspector.evaluation.files import check_free, write_report
from inspector.evaluation.judging import judge_images
from inspector.evaluation.labelled import named_by, widths_px
from inspector.evaluation.leaks import audit_against_training
from inspector.evaluation.page import Subject
from inspector.labelled.folder import TEST, VALIDATION, measured_on
from inspector.model.bundle import DEFAULT_PATH, ModelBundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.evaluation.config import EvaluateConfig
    from inspector.evaluation.judged import JudgedImages
    from inspector.labelled.folder import LabelledImage


class Watcher(Protocol):
    """Who wants to know how the evaluation goes."""

    def step(self, done: int, images: int) -> None: ...
    def say(self, text: str) -> None: ...


def evaluate(config: EvaluateConfig, watch: Watcher | None = None) -> Evaluation:
    """Judge every image of a labelled folder with the bundle's exported model.

    With `config.out`, writes `report.html`, `metrics.json` and `predictions.parquet` there. Raises
    DataError, BundleError, BackendError, LoaderError, OutputError.
    """
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    if config.out:
        check_free(config.out)
    images, remarks = measured_on(
        config.data, TEST, VALIDATION, positive=config.positive, groups_csv=config.groups
    )
    say = watch.say if watch else _hear_nothing
    for line in remarks:
        say(line)
    leaks = audit_against_training(config, bundle, images)
    for line in leaks.lines() if leaks is not None else ():
        say(line)
    judged = _judge(config, bundle, named_by(config, images), watch)
    evaluation = assess(judged, bundle, by=config.by, leaks=leaks)
    if config.out:
        subject = Subject(
            title=f"How far to trust this model on {config.data.resolve().name}",
            data=str(config.data),
            made=f"{datetime.now():%Y-%m-%d %H:%M}",
            gallery=config.gallery,
        )
        write_report(config.out, subject, evaluation, judged, bundle, leaks)
    return evaluation


def _hear_nothing(_: str) -> None: ...


def _judge(
    config: EvaluateConfig,
    bundle: ModelBundle,
    images: Sequence[LabelledImage],
    watch: Watcher | None,
) -> JudgedImages:
    width_of = None
    widths = widths_px(config, images)
    if widths is not None:
        width_of = dict(zip((image.path for image in images), widths, strict=True))
    with closing(open_backend(bundle, config.backend, device=config.device)) as backend:
        judged = judge_images(
            images,
            bundle,
            backend,
            batch_size=config.batch_size,
            workers=config.workers,
            watch=watch.step if watch else None,
        )
    return judged if width_of is None else replace(judged, width_px_N=judged.looked_up(width_of))
