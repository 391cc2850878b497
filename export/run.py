"""Write variants to a scratch directory, compare them with the original, then publish them."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from export.config import EXACT, EXACT_LIMIT, FP32, ExportConfig
from export.dense_gate import make_dense
from export.densify import can_be_dense
from export.gates import CpuEngines, engine_version, gate_exact
from export.onnx import export_onnx
from export.photos import gather_photos, golden_inputs, pick_photos, refs_to
from export.reduced import make_reduced, take_over
from export.restamp import put
from export.torchscript import export_torchscript
from inspector.core.durable import check_writable
from inspector.core.progress import Progress, no_progress
from inspector.engines.contract import joined
from inspector.engines.parity import PROBABILITY_TOLERANCE, parity
from inspector.errors import OutputError
from inspector.model.bundle import BUNDLE_JSON, GOLDEN, ModelBundle, Variant
from inspector.model.golden import Golden
from inspector.model.network import load_deployed
from inspector.model.stamp import model_metadata
from inspector.predict import predict_each

_EAGER = "eager"
_WRITERS = {"onnxruntime": export_onnx, "torchscript": export_torchscript}


def export_bundle(config: ExportConfig, progress: Progress = no_progress) -> ModelBundle:
    """The bundle at the target, with the new variants and golden images; its other variants stay.
    `progress` is called as each phase begins.

    Raises BundleError when the source is damaged, ExportError when a variant predicts differently,
    OutputError when the target holds something else or cannot be written; after any of them the
    target is as it was.
    """
    progress("starting PyTorch", 0, 0)
    photos = None
    if config.reduced and (config.calibration or config.images):
        photos = gather_photos(config)
    fresh = {GOLDEN, *(variant.file for variant in config.variants.values())}
    check_writable(config.target)
    source = _load_source(config, fresh)
    with TemporaryDirectory(prefix="inspector-export-") as scratch:
        exact = dict(config.exact)
        if config.reduced and FP32 not in source.variants:
            exact[FP32] = EXACT[FP32]
        if exact:
            progress(f"writing {', '.join(exact)}", 0, 0)
        draft = _write_variants(source, exact, Path(scratch))
        progress("comparing answers with the original", 0, 0)
        proven = _prove(source, draft, config, progress)
        if photos is not None:
            progress(f"making and comparing {', '.join(config.reduced)}", 0, 0)
            proven = make_reduced(source, proven, config, photos)
        elif config.reduced:
            proven = take_over(proven, config)
        if can_be_dense(source.preprocess.size):
            progress(f"making and comparing {', '.join(config.dense)}", 0, 0)
            proven = make_dense(source, proven, config, photos)
        progress("putting the files in place", 0, 0)
        # What a source has for photos at their own scale belongs to its other variants.
        kept = source.without({variant.file for variant in config.dense.values()})
        return publish(kept, proven, config.target, GOLDEN)


def _load_source(config: ExportConfig, fresh: set[str]) -> ModelBundle:
    """The bundle to export from; files about to be replaced may be damaged."""
    source = ModelBundle.load(config.source, verify=False)
    target = config.target
    if _is_elsewhere(target, source.path) and os.path.exists(target) and os.listdir(target):
        source = _same_model_at(target, source)
    source.without(fresh).verify()
    return source


def _is_elsewhere(target: Path, source: Path) -> bool:
    return target.resolve() != source.resolve()


def _same_model_at(target: Path, source: ModelBundle) -> ModelBundle:
    """The bundle that is at `target` already, from an earlier export of the same model."""
    if (target / BUNDLE_JSON).is_file():
        there = ModelBundle.load(target, verify=False)
        if there.digest == source.digest:
            return there
        raise OutputError(f"{target} holds another model; choose another --out or remove it")
    raise OutputError(f"{target} is not empty and no model bundle; choose another --out")


def _write_variants(
    source: ModelBundle, variants: Mapping[str, Variant], scratch: Path
) -> ModelBundle:
    """A bundle at `scratch` that holds the new files only."""
    if not variants:
        return replace(source, path=scratch, variants={})
    model = load_deployed(source)
    for variant in variants.values():
        write = _WRITERS[variant.backend]
        write(model, source.preprocess.size, model_metadata(source), scratch / variant.file)
    return replace(source, path=scratch, variants=variants, trusted=True)


def _prove(
    source: ModelBundle, draft: ModelBundle, config: ExportConfig, progress: Progress
) -> ModelBundle:
    """The draft with golden images, each variant with its evidence. Raises ExportError."""
    compared = config.images if draft.variants else None
    limit = config.images_limit or EXACT_LIMIT
    photos = pick_photos(compared, limit) if compared else []
    names, pixels_NHWC = golden_inputs(source.preprocess.size)
    with CpuEngines() as opened:
        eager = opened(source, "fp32", _EAGER)
        engines = {n: opened(draft, "fp32", v.backend) for n, v in draft.variants.items()}
        engines[_EAGER] = eager
        scores = {name: engine.run(pixels_NHWC) for name, engine in engines.items()}
        golden = Golden(names, pixels_NHWC, scores[_EAGER])
        if photos:
            count = partial(progress, "comparing answers with the original")
            found = predict_each(refs_to(photos), source, engines, progress=count)
            names = (*names, *(photo.ref.path for photo in found[_EAGER].photos))
            scores = {name: joined([of, found[name].scores]) for name, of in scores.items()}
    proven = {}
    for name, variant in draft.variants.items():
        report = parity(names, scores[_EAGER], scores[name], source.thresholds)
        gate_exact(name, report)
        seen = report.to_json() | {
            "golden_images": len(golden.names),
            "tolerance": PROBABILITY_TOLERANCE,
            "reference": f"torch {importlib.metadata.version('torch')}",
            "engine": engine_version(variant.backend),
        }
        proven[name] = replace(variant, parity=seen)
    golden.write(draft.file(GOLDEN))
    return replace(draft, variants=proven)


def publish(source: ModelBundle, proven: ModelBundle, target: Path, *others: str) -> ModelBundle:
    """Move the files of proven variants, and `others`, into `target`; `bundle.json`, which makes
    them count, comes last. Raises OutputError."""
    fresh = [*others, *(variant.file for variant in proven.variants.values())]
    try:
        target.mkdir(parents=True, exist_ok=True)
        if _is_elsewhere(target, source.path):
            for name in source.files:
                if name not in fresh:
                    put(source.file(name), target / name)
        for name in fresh:
            put(proven.file(name), target / name)
        variants = {**source.variants, **proven.variants}
        replace(source, path=target).with_files(*fresh, variants=variants).save()
    except OSError as error:
        raise OutputError(f"cannot write the model to {target}: {error}") from error
    return ModelBundle.load(target)
