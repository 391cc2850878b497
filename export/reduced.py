"""Variants of lower precision: made from the fp32 ONNX file, given a margin, and gated on photos
that neither set their ranges nor chose their margin."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from export.config import FP32, ExportConfig
from export.fp16 import halve_to
from export.gates import CpuEngines, choose_margins, engine_version, gate_reduced
from export.int8 import quantise_to
from export.photos import Photos, calibration_pixels, check_enough, refs_to
from inspector.engines import Backend
from inspector.engines.combined import DEFERRED, UncertaintyBand
from inspector.engines.contract import VARIANTS
from inspector.engines.parity import PROBABILITY_TOLERANCE, ParityReport, differing, parity, settled
from inspector.errors import DataError, ExportError
from inspector.labelled.folder import find_labelled
from inspector.model.bundle import ModelBundle, Thresholds
from inspector.model.golden import Golden, read_golden
from inspector.model.stamp import model_metadata
from inspector.predict import predict_each
from inspector.types import JsonObject, Scores

_GOLDEN_MOVED = "golden_max_difference"


@dataclass(frozen=True, slots=True)
class _Compared:
    """Outputs for the same N photos by fp32 and by one variant."""

    photos: list[str]
    reference: Scores
    candidate: Scores
    report: ParityReport


def make_reduced(
    source: ModelBundle, draft: ModelBundle, config: ExportConfig, photos: Photos
) -> ModelBundle:
    """`draft` with the variants of lower precision asked for, written beside its golden images,
    with their margins and evidence. One of both bundles holds the fp32 ONNX file.

    Raises ExportError when too few photos can be decoded or a variant does not pass its gate.
    """
    exact = draft if FP32 in draft.variants else source
    wanted, golden = config.reduced, read_golden(draft)
    notes = {
        name: _write(exact, draft.file(variant.file), variant.precision, photos)
        for name, variant in wanted.items()
    }
    candidates = replace(draft, variants=wanted)
    with CpuEngines() as opened:
        reference = opened(exact, "fp32")
        engines = {name: opened(candidates, v.precision) for name, v in wanted.items()}
        chosen = _compare(exact, reference, engines, photos.choosing)
        gated = _compare(exact, reference, engines, photos.gating)
        moved = {name: _golden_difference(engine, golden) for name, engine in engines.items()}
    labels = _labels(photos.folder)
    finished = dict(draft.variants)
    for name, variant in wanted.items():
        check_enough(len(gated[name].photos), config)
        seen = _evidence(chosen[name], gated[name], exact.thresholds, labels)
        gate_reduced(name, seen)
        seen |= {
            "golden_images": len(golden.names),
            _GOLDEN_MOVED: moved[name],
            "reference": f"{engine_version(VARIANTS)}, fp32",
            "engine": engine_version(VARIANTS),
        }
        finished[name] = replace(
            variant, margin=seen["margin"], ood_margin=seen["ood_margin"], parity=seen | notes[name]
        )
    return replace(draft, variants=finished)


def _write(exact: ModelBundle, file: Path, precision: str, photos: Photos) -> JsonObject:
    """Write one variant; returns how it was made, for its evidence."""
    fp32 = exact.file(exact.variants[FP32].file)
    if precision == "fp16":
        halve_to(fp32, file, model_metadata(exact))
        return {}
    calibration_NHWC = calibration_pixels(photos, exact.preprocess)
    made = quantise_to(fp32, file, calibration_NHWC, model_metadata(exact))
    return {"quantisation": asdict(made)}


def _compare(
    bundle: ModelBundle, reference: Backend, engines: Mapping[str, Backend], photos: Sequence[Path]
) -> dict[str, _Compared]:
    """Every photo that can be decoded through all engines, by engine. Raises ExportError when none
    can."""
    try:
        found = predict_each(refs_to(photos), bundle, {**engines, "": reference})
    except DataError as error:
        raise ExportError(f"{error}; give --images other photos") from error
    exact = found.pop("")
    names, scores = [photo.ref.path for photo in exact.photos], exact.scores
    return {
        name: _Compared(
            names, scores, of.scores, parity(names, scores, of.scores, bundle.thresholds)
        )
        for name, of in found.items()
    }


def _golden_difference(engine: Backend, golden: Golden) -> float:
    p_N = engine.run(golden.pixels_NHWC).p_crack_N
    return float(np.abs(p_N - golden.scores.p_crack_N).max())


def _evidence(
    chosen: _Compared, gated: _Compared, thresholds: Thresholds, labels: Mapping[str, bool]
) -> JsonObject:
    """The evidence for the gate, which the bundle keeps; names of photos, which may be private, are
    not in it."""
    margin, ood_margin = choose_margins(chosen.reference, chosen.candidate, thresholds)
    band = UncertaintyBand.around(thresholds, margin, ood_margin)
    deferred_N = band.contains(gated.candidate)
    final = settled(gated.candidate, gated.reference, deferred_N)
    flipped_N = differing(gated.reference, final, thresholds)
    alone = gated.report.to_json()
    pairs_N2 = np.stack([gated.reference.p_crack_N, gated.candidate.p_crack_N], axis=1)
    return {
        **alone,
        "verdict_flips": pairs_N2[flipped_N].tolist(),
        "verdict_flips_without_margin": alone["verdict_flips"],
        "margin": margin,
        "ood_margin": ood_margin,
        "margin_chosen_on": len(chosen.photos),
        DEFERRED: float(deferred_N.mean()),
        **_quality(gated, final, labels),
    }


def _quality(gated: _Compared, final: Scores, labels: Mapping[str, bool]) -> JsonObject:
    """Ranking and calibration against the truth, where the folder tells it."""
    if not labels.keys() >= set(gated.photos):
        return {}
    truth_N = np.array([labels[photo] for photo in gated.photos])
    if truth_N.all() or not truth_N.any():
        return {}
    scores = {"fp32": gated.reference, "alone": gated.candidate, "with_margin": final}
    from inspector.evaluation import metrics

    measures: dict[str, Callable[..., float]] = {"roc_auc": metrics.roc_auc, "ece": metrics.ece}
    return {
        measure: {name: compute(s.p_crack_N, truth_N) for name, s in scores.items()}
        for measure, compute in measures.items()
    }


def _labels(folder: Path) -> dict[str, bool]:
    """The labels by path, True for a crack; empty for a folder without class folders."""
    try:
        return {image.path: image.is_crack for image in find_labelled(folder)}
    except DataError:
        return {}


def take_over(draft: ModelBundle, config: ExportConfig) -> ModelBundle:
    """`draft` with the source's variants of lower precision and their evidence: without photos none
    can be made. Raises ExportError where there is none, or one is farther from fp32 on the golden
    images than its evidence says."""
    original = ModelBundle.load(config.source)
    taken = dict(draft.variants)
    for name in config.reduced:
        if name not in original.variants:
            raise ExportError(
                f"{config.source} has no {name} to take over, and making it needs photos of the "
                "kind that is scanned: add --calibration DIR"
            )
        taken[name] = variant = original.variants[name]
        with CpuEngines() as opened:
            moved = _golden_difference(opened(original, variant.precision), read_golden(original))
        allowed = variant.parity.get(_GOLDEN_MOVED, 0.0) + PROBABILITY_TOLERANCE
        if moved > allowed:
            raise ExportError(
                f"{name} in {original.path} is {moved:.2g} off on a golden image, and "
                f"{allowed:.2g} is in its evidence; make it again with --calibration DIR"
            )
        shutil.copyfile(original.file(variant.file), draft.file(variant.file))
    return replace(draft, variants=taken)
