"""`calibrate`: thresholds for a model, from labelled photos of the walls that it will judge.

Only thresholds change: the probabilities of every variant stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from export.restamp import check_free, with_dense_thresholds, with_thresholds, write_copy
from inspector.calibration.thresholds import Judged, Rule, count_verdicts, recalibrated
from inspector.core.progress import Progress, no_progress
from inspector.core.text import Whole, plain_table, quantity, quoted_word
from inspector.core.untrusted import check_model_name, take_paths
from inspector.engines import open_engine
from inspector.engines.photo import AUTO, PhotoEngine, choose_views, open_photo_engine
from inspector.errors import UsageError
from inspector.labelled.fingerprints import fingerprint, trained_on_of
from inspector.labelled.folder import VALIDATION, LabelledImage, measured_on
from inspector.labelled.leaks import audit_fingerprints
from inspector.labelled.split import data_digest
from inspector.model.bundle import DEFAULT_PATH, ModelBundle, Thresholds
from inspector.predict import Predictions, predict_each
from inspector.types import JsonObject, Photo, View

_ENGINE, _EXACT = "onnxruntime", "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateConfig:
    """Options of a calibration. Raises UsageError for impossible values."""

    data: Path
    """Labelled folder, as for `train`: photos that the model has not learned from."""
    model: Path | None = None
    """The bundle; None: the one that comes with the package."""
    out: Path | None = None
    """Directory for a copy of the bundle with the new thresholds; None: nothing is written."""
    rule: Rule = field(default_factory=Rule)
    allow_laxer: bool = False
    """Let `clear_below` rise above the model's own, as in `recalibrated`."""
    positive: str | tuple[str, ...] = ()
    groups: Path | None = None
    """CSV with columns `file`, `group`; with it, groups are counted instead of photos."""
    view: str = View.WHOLE
    """`whole`, or `dense`: thresholds for photos at their own scale, of their own probability."""
    device: str = "auto"
    batch_size: int = 32
    workers: int = 1

    def __post_init__(self) -> None:
        take_paths(self)
        check_model_name(self.out)
        if self.batch_size < 1 or self.workers < 0:
            raise UsageError("batch size must be at least 1, and workers cannot be negative")
        if self.view not in (View.WHOLE, View.DENSE):
            raise UsageError(f"--view must be whole or dense here, not {self.view!r}")


@dataclass(frozen=True, slots=True)
class Calibrated:
    """`bundle` is the copy, or the original where none was written. `left_out` names the variants
    that the copy lacks, because their margins do not hold with the new thresholds; `useless` the
    precisions that with these leave nearly all of the photos to the next one."""

    bundle: ModelBundle
    thresholds: Thresholds
    own: Thresholds
    """The original's thresholds."""
    left_out: tuple[str, ...]
    useless: tuple[str, ...]
    before: JsonObject
    """Verdicts on these photos by the original's thresholds, as `count_verdicts` counts."""
    out: Path | None
    """Where the copy is; None: nothing was written."""
    failed: tuple[str, ...]
    """Photos that could not be decoded, with the reason; they count nowhere."""


def calibrate(
    config: CalibrateConfig,
    progress: Progress = no_progress,
    say: Callable[[str], object] = lambda _: None,
) -> Calibrated:
    """Choose thresholds on a labelled folder, and write a copy of the bundle that has them. `say`
    is called with warnings, and remarks on the data such as photos that the model has learned from.

    After an error `config.out` is as it was, or holds no `bundle.json`. Raises DataError, also
    where the photos are too few for the targets, BundleError, BackendError, OutputError.
    """
    progress("listing the labelled photos", 0, 0)
    if config.out is not None:
        check_free(config.out)
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    images, remarks = measured_on(
        config.data, VALIDATION, positive=config.positive, groups_csv=config.groups
    )
    for line in remarks:
        say(line)
    progress("looking for photos the model has learned from", 0, 0)
    for line in _learned_from(bundle, images, progress):
        say(line)
    with ExitStack() as stack:
        found = predict_each(
            images, bundle, _engines(config, bundle, stack),
            batch_size=config.batch_size, workers=config.workers,
            progress=partial(progress, "judging the photos"),
        )  # fmt: skip
    exact = found[_EXACT]
    for line in _judged_otherwise(config, bundle, exact.photos):
        say(line)
    kept = [images[photo.ref.index] for photo in exact.photos]
    judged = Judged(
        exact.scores.p_crack_N,
        np.array([image.is_crack for image in kept]),
        np.array([image.source for image in kept]),
        np.array([image.group for image in kept]) if config.groups is not None else None,
    )
    progress("choosing thresholds", 0, 0)
    own = _thresholds(bundle, config.view)
    chosen = recalibrated(
        judged, config.rule, own, on=f"{len(kept):,} labelled photos",
        allow_laxer=config.allow_laxer,
    )  # fmt: skip
    for line in _laxer(own.clear_below, chosen.clear_below):
        say(line)
    result = Calibrated(
        bundle=bundle,
        thresholds=replace(chosen, out_of_distribution=own.out_of_distribution),
        own=own,
        left_out=(),
        useless=(),
        before=count_verdicts(judged, own),
        out=config.out,
        failed=tuple(f"{failure.ref.path}: {failure.code}" for failure in exact.failures),
    )
    if config.out is None:
        return result
    progress("writing the copy of the model", 0, 0)
    changed, left_out, useless = _changed(config, bundle, result.thresholds, found)
    provenance = {"data_digest": data_digest(kept), "digest": bundle.digest, "view": config.view}
    training = {**bundle.training, "thresholds_changed": provenance}
    copy = write_copy(bundle, replace(changed, training=training), config.out)
    return replace(result, bundle=copy, left_out=left_out, useless=useless)


def _changed(
    config: CalibrateConfig,
    bundle: ModelBundle,
    chosen: Thresholds,
    found: Mapping[str, Predictions],
) -> tuple[ModelBundle, tuple[str, ...], tuple[str, ...]]:
    """The bundle with the thresholds, and what `Calibrated` calls `left_out` and `useless`."""
    if bundle.dense is not None and config.view == View.DENSE:
        return *with_dense_thresholds(bundle, chosen), ()
    scores = {precision: predictions.scores for precision, predictions in found.items()}
    changed, useless = with_thresholds(bundle, chosen, scores)
    return changed, (), useless


def _laxer(own: float, chosen: float) -> Iterator[str]:
    if chosen > own:
        yield (
            f"WARNING: laxer than the model's own thresholds: clear below {chosen:g} instead of "
            f"{own:g}; cracks between the two are now called clear, and nobody looks at them"
        )


def _learned_from(
    bundle: ModelBundle, images: Sequence[LabelledImage], progress: Progress
) -> Iterator[str]:
    """Say what of the photos the model has learned from, as far as it remembers."""
    if (remembered := trained_on_of(bundle)) is None:
        return
    held_out = fingerprint(images, progress=progress)
    audit = audit_fingerprints(remembered, held_out, names=("training", "calibration"))
    yield from audit.lines()
    if audit.leaks:
        yield "  what the thresholds promise holds for photos like the others only: take these away"


def _judged_otherwise(
    config: CalibrateConfig, bundle: ModelBundle, photos: Sequence[Photo]
) -> Iterator[str]:
    """Warn of photos judged whole here that a scan judges at their own scale."""
    views = choose_views(AUTO, bundle)
    sides = [(photo.facts.width or 0, photo.facts.height or 0) for photo in photos]
    large = sum(views.of(each) is not View.WHOLE for each in sides)
    if large and config.view == View.WHOLE:
        how, instead = "at their own scale", "calibrate those with --view dense"
        if bundle.dense is None:
            how, instead = "tile by tile", "calibrate on tiles of them"
        yield (
            f"WARNING: {large:,} of {len(photos):,} photos are larger than {views.above:g} px; a "
            f"scan judges those {how}, which these thresholds do not suit: {instead}"
        )


def _thresholds(bundle: ModelBundle, view: str) -> Thresholds:
    if bundle.dense is not None and view == View.DENSE:
        return bundle.dense.thresholds
    return bundle.thresholds


def _engines(
    config: CalibrateConfig, bundle: ModelBundle, stack: ExitStack
) -> dict[str, PhotoEngine]:
    """Engines by precision: fp32, and each whose margin a copy needs, the latter on the CPU, where
    their margins were chosen. Photos at their own scale are judged by fp32 alone."""
    views = choose_views(config.view, bundle)
    exact = open_photo_engine(bundle, _ENGINE, views=views, device=config.device)
    engines = {_EXACT: stack.enter_context(closing(exact))}
    if config.out is not None and config.view == View.WHOLE:
        for precision in sorted(filter(bundle.after, {v.precision for v in bundle.whole.values()})):
            engine = PhotoEngine(open_engine(bundle, _ENGINE, device="cpu", precision=precision))
            engines[precision] = stack.enter_context(closing(engine))
    return engines


def calibrated_lines(result: Calibrated) -> Iterator[str]:
    """Say which thresholds were chosen, and how to use them."""
    chosen = result.thresholds
    yield f"clear below {chosen.clear_below:g}, crack from {chosen.crack_from:g}"
    yield from (f"  {claim}" for claim in chosen.evidence["claims"])
    yield from _table(chosen.evidence["counts"], result.before)
    if (wanted := chosen.evidence.get("would_be_clear_below")) is not None:
        yield (
            f"clear is kept below the model's own {result.own.clear_below:g}; these photos would "
            f"let it reach up to {wanted:g}: --allow-laxer takes that"
        )
    if result.failed:
        yield f"{quantity(len(result.failed), 'photo')} could not be decoded"
    if result.out is None:
        yield "nothing was written; --out BUNDLE writes a copy of the model with these thresholds"
        return
    yield from _slower(result, result.out)
    yield f"model: {result.out}"
    yield Whole(f"use it: inspector scan /photos --model {quoted_word(str(result.out))}")


def _slower(result: Calibrated, out: Path) -> Iterator[str]:
    """Say which of the model's quicker ways the new thresholds cost."""
    if result.left_out:
        yield (
            f"left out: {', '.join(result.left_out)}, which may look at photos first only where "
            f"clear is said below {result.own.clear_below:g} or more; scans go on without it, and "
            "take longer"
        )
    for precision in result.useless:
        yield (
            f"{precision} leaves nearly all of these photos to the next precision at these "
            "thresholds; scans of such photos are faster in another"
        )
    if options := [f"--{each}" for each in result.useless if each in ("int8", "fp16")]:
        yield (
            f"to make it for these thresholds: inspector export {quoted_word(str(out))} "
            f"{' '.join(options)} --calibration PHOTOS"
        )


def _table(counts: JsonObject, before: JsonObject) -> Iterator[str]:
    rows = []
    for source, now in counts.items():
        was, images = before[source], now["cracks"] + now["clears"]
        shares = (("missed", now["cracks"]), ("alarms", now["clears"]), ("review", images))
        cells = [_share(of[kind], total) for kind, total in shares for of in (now, was)]
        rows.append([source or ".", f"{now['cracks']:,}", f"{now['clears']:,}", *cells])
    yield from plain_table(
        ("source", "cracks", "clear", "missed", "(was)", "alarms", "(was)", "review", "(was)"), rows
    )
    yield "missed: cracks called clear; alarms: crack-free photos called crack"


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "-"
