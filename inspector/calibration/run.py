"""`calibrate`: thresholds for a model, from labelled photos of the walls that it will judge.

Only thresholds change: the probabilities of every variant stay what they were.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from export.restamp import check_free, with_thresholds, write_copy
from inspector.calibration.rule import Rule
from inspector.calibration.thresholds import Judged, count_verdicts, recalibrated
from inspector.core.paths import check_model_name, take_paths
from inspector.engines import open_backend, open_engine
from inspector.errors import UsageError
from inspector.labelled.folder import VALIDATION, measured_on
from inspector.labelled.split import data_digest
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.predict import predict_each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.labelled.folder import LabelledImage
    from inspector.model.bundle import Thresholds
    from inspector.types import JsonObject, Scores

_ENGINE, _EXACT = "onnxruntime", "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateConfig:
    """Raises UsageError when a value cannot be right."""

    data: Path
    """Labelled folder, as for `train`: photos that the model has not learned from."""
    model: Path | None = None
    """The bundle; None: the one that comes with the package."""
    out: Path | None = None
    """Where the copy goes that has the new thresholds; None: nothing is written."""
    rule: Rule = field(default_factory=Rule)
    allow_laxer: bool = False
    """Let `clear_below` rise above the model's own, as in `recalibrated`."""
    positive: str | tuple[str, ...] = ()
    groups: Path | None = None
    """CSV with columns `file`, `group`; with it, groups are counted instead of photos."""
    device: str = "auto"
    batch_size: int = 32
    workers: int = 1

    def __post_init__(self) -> None:
        take_paths(self)
        check_model_name(self.out)
        if self.batch_size < 1 or self.workers < 0:
            raise UsageError("batch size must be at least 1, and workers cannot be negative")


@dataclass(frozen=True, slots=True)
class Calibrated:
    """`bundle` is the copy, or the original where none was written. `left_out` names what no
    longer holds with the new thresholds."""

    bundle: ModelBundle
    thresholds: Thresholds
    own: Thresholds
    """Those of the original."""
    left_out: tuple[str, ...]
    before: JsonObject
    """Verdicts on these photos with the thresholds of before, as `count_verdicts` counts."""
    failed: tuple[str, ...]
    """Photos that could not be decoded, with the reason; they count nowhere."""


def calibrate(config: CalibrateConfig, say: Callable[[str], object] = lambda _: None) -> Calibrated:
    """Judge every photo of a labelled folder, choose thresholds by the rule (`recalibrated`), and
    write a copy of the bundle that has them. `say` hears what was found in the folder.

    Raises DataError (also for too few photos), BundleError, BackendError, OutputError; after any of
    them `config.out` is as it was, or holds no `bundle.json`.
    """
    if config.out is not None:
        check_free(config.out)
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    images, remarks = measured_on(
        config.data, VALIDATION, positive=config.positive, groups_csv=config.groups
    )
    for line in remarks:
        say(line)
    answers, kept, failed = _judge(config, bundle, images)
    p_N = answers[_EXACT].p_crack_N
    judged = _judged([images[k] for k in kept], p_N, grouped=config.groups is not None)
    own = bundle.thresholds
    chosen = recalibrated(
        judged, config.rule, own, on=f"{len(kept):,} labelled photos",
        allow_laxer=config.allow_laxer,
    )  # fmt: skip
    thresholds = replace(chosen, out_of_distribution=own.out_of_distribution)
    before = count_verdicts(judged, own)
    if config.out is None:
        return Calibrated(bundle, thresholds, own, (), before, failed)
    changed, left_out = with_thresholds(bundle, thresholds, answers)
    provenance = {"data_digest": data_digest(images[k] for k in kept), "digest": bundle.digest}
    training = {**bundle.training, "thresholds_changed": provenance}
    copy = write_copy(bundle, replace(changed, training=training), config.out)
    return Calibrated(copy, thresholds, own, left_out, before, failed)


def _judged(images: Sequence[LabelledImage], p_N: NDArray[np.float32], *, grouped: bool) -> Judged:
    return Judged(
        p_N,
        np.array([image.is_crack for image in images]),
        np.array([image.source for image in images]),
        np.array([image.group for image in images]) if grouped else None,
    )


def _judge(
    config: CalibrateConfig, bundle: ModelBundle, images: Sequence[LabelledImage]
) -> tuple[dict[str, Scores], list[int], tuple[str, ...]]:
    """Answers by precision to the K images that could be decoded, their places among `images`, and
    what became of the others."""
    with ExitStack() as stack:
        engines = _engines(config, bundle, stack)
        found = predict_each(
            images, bundle, engines, batch_size=config.batch_size, workers=config.workers
        )
    exact = found[_EXACT]
    kept = [photo.ref.index for photo in exact.photos]
    failed = tuple(f"{failure.ref.path}: {failure.code}" for failure in exact.failures)
    return {name: predictions.scores for name, predictions in found.items()}, kept, failed


def _engines(config: CalibrateConfig, bundle: ModelBundle, stack: ExitStack) -> dict[str, Backend]:
    """By precision: the exact one, and those whose margin a copy needs, each by itself. The latter
    on the CPU, where their margins were chosen."""
    exact = open_backend(bundle, _ENGINE, device=config.device)
    engines = {_EXACT: stack.enter_context(closing(exact))}
    if config.out is not None:
        for precision in sorted({v.precision for v in bundle.variants.values() if v.margin}):
            engine = open_engine(bundle, _ENGINE, device="cpu", precision=precision)
            engines[precision] = stack.enter_context(closing(engine))
    return engines
