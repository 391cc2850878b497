"""One export: write the variants aside, compare them with the original, then publish them."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from export.golden import golden_inputs
from export.onnx import export_onnx
from export.parity import gate
from export.photos import photo_batches, pick_photos
from export.torchscript import export_torchscript
from inspector.backends import open_backend
from inspector.backends.agreement import PROBABILITY_TOLERANCE, compare
from inspector.backends.golden import Golden
from inspector.backends.metadata import model_metadata
from inspector.bundle import BUNDLE_JSON, DEFAULT_PATH, GOLDEN, ModelBundle, Variant
from inspector.errors import OutputError, UsageError
from inspector.network import load_deployed

if TYPE_CHECKING:
    from inspector.backends import Backend
    from inspector.types import JsonObject

DEFAULT_OUT = Path("inspector-model")
"""Where variants of the shipped bundle go: the installed package is not to be written to."""

_VARIANTS = {
    "onnx-fp32": Variant(file="model.onnx", backend="onnxruntime", precision="fp32"),
    "torchscript-fp32": Variant(file="model.ts", backend="torchscript", precision="fp32"),
}
_WRITERS = {"onnxruntime": export_onnx, "torchscript": export_torchscript}
_ENGINES = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime"), "torchscript": ("torch",)}
"""Distributions that bring each engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What to export and where to. Raises UsageError for options that cannot be right."""

    bundle: Path | None = None
    """The bundle to export; None is the one that ships with the package."""
    onnx: bool = False
    torchscript: bool = False
    """Which variants; neither means both."""
    out: Path | None = None
    """Where the bundle with the variants goes; None is `bundle` itself, or `inspector-model` in
    the working directory for the shipped one."""
    images: Path | None = None
    """A folder of photos on which the verdicts are compared, beside the golden images."""
    images_limit: int = 256

    def __post_init__(self) -> None:
        if self.images_limit < 1:
            raise UsageError(f"at least one image must be compared, not {self.images_limit}")
        if self.images is not None and not self.images.is_dir():
            raise UsageError(f"{self.images} is not a folder with photos to compare on")

    @property
    def source(self) -> Path:
        return self.bundle or DEFAULT_PATH

    @property
    def target(self) -> Path:
        if self.out is not None:
            return self.out
        shipped = self.source.resolve() == DEFAULT_PATH.resolve()
        return DEFAULT_OUT if shipped else self.source

    @property
    def variants(self) -> dict[str, Variant]:
        wanted = {"onnxruntime": self.onnx, "torchscript": self.torchscript}
        everything = not any(wanted.values())
        return {k: v for k, v in _VARIANTS.items() if everything or wanted[v.backend]}


def export_bundle(config: ExportConfig) -> ModelBundle:
    """The bundle at the target, with the new variants and golden images; its other variants stay.

    Raises BundleError when the source is damaged, ExportError when a variant answers differently,
    OutputError when the target holds something else or cannot be written; after any of them the
    target is as it was.
    """
    variants = config.variants
    fresh = {GOLDEN, *(variant.file for variant in variants.values())}
    source = _load_source(config, fresh)
    with TemporaryDirectory(prefix="inspector-export-") as scratch:
        draft = _write_variants(source, variants, Path(scratch))
        proven = _prove(source, draft, config)
        return _publish(source, proven, config.target)


def _load_source(config: ExportConfig, fresh: set[str]) -> ModelBundle:
    """The bundle to export from; files about to be replaced may be damaged."""
    source = ModelBundle.load(config.source, verify=False)
    if _is_elsewhere(config.target, source.path) and _entries(config.target):
        source = _same_model_at(config.target, source)
    kept = {name: sha256 for name, sha256 in source.files.items() if name not in fresh}
    variants = {name: v for name, v in source.variants.items() if v.file not in fresh}
    replace(source, files=kept, variants=variants).verify()
    return source


def _is_elsewhere(target: Path, source: Path) -> bool:
    return target.resolve() != source.resolve()


def _entries(folder: Path) -> list[str]:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a directory; choose another --out")
    return os.listdir(folder) if folder.exists() else []


def _same_model_at(target: Path, source: ModelBundle) -> ModelBundle:
    """The bundle that is at `target` already, from an earlier export of the same model."""
    if (target / BUNDLE_JSON).is_file():
        there = ModelBundle.load(target, verify=False)
        if there.digest == source.digest:
            return there
        raise OutputError(f"{target} holds another model; choose another --out or remove it")
    raise OutputError(f"{target} is not empty and no model bundle; choose another --out")


def _write_variants(
    source: ModelBundle, variants: dict[str, Variant], scratch: Path
) -> ModelBundle:
    """A bundle at `scratch` that holds the new files only."""
    model = load_deployed(source)
    for variant in variants.values():
        write = _WRITERS[variant.backend]
        write(model, source.preprocess.size, model_metadata(source), scratch / variant.file)
    return replace(source, path=scratch, variants=variants)


def _prove(source: ModelBundle, draft: ModelBundle, config: ExportConfig) -> ModelBundle:
    """The draft with golden images, each variant with its evidence. Raises ExportError."""
    photos = pick_photos(config.images, config.images_limit) if config.images else []
    names, pixels_NHWC = golden_inputs(source.preprocess.size)
    with ExitStack() as stack:

        def opened(bundle: ModelBundle, engine: str) -> Backend:
            # On the CPU: a GPU's shortcuts are a property of that machine, not of the export.
            return stack.enter_context(closing(open_backend(bundle, engine, device="cpu")))

        eager = opened(source, "eager")
        candidates = {name: opened(draft, v.backend) for name, v in draft.variants.items()}
        golden = Golden(names, pixels_NHWC, eager.run(pixels_NHWC))
        batches = chain([(names, pixels_NHWC)], photo_batches(photos, source.preprocess))
        reports = compare(eager, candidates, batches, source.thresholds)
    for name, report in reports.items():
        gate(name, report)
    golden.write(draft.file(GOLDEN))
    evidence = {
        name: report.to_json() | _circumstances(draft.variants[name], len(names))
        for name, report in reports.items()
    }
    proven = {n: replace(v, parity=evidence[n]) for n, v in draft.variants.items()}
    return replace(draft, variants=proven)


def _circumstances(variant: Variant, golden_images: int) -> JsonObject:
    return {
        "golden_images": golden_images,
        "tolerance": PROBABILITY_TOLERANCE,
        "reference": f"torch {importlib.metadata.version('torch')}",
        "engine": _engine_version(variant.backend),
    }


def _engine_version(backend: str) -> str:
    for distribution in _ENGINES[backend]:
        try:
            return f"{backend} {importlib.metadata.version(distribution)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{backend} of unknown version"


def _publish(source: ModelBundle, proven: ModelBundle, target: Path) -> ModelBundle:
    """Move the proven files into `target`; `bundle.json`, which makes them count, comes last."""
    fresh = [GOLDEN, *(variant.file for variant in proven.variants.values())]
    try:
        target.mkdir(parents=True, exist_ok=True)
        if _is_elsewhere(target, source.path):
            for name in source.files:
                if name not in fresh:
                    _put(source.file(name), target / name)
        for name in fresh:
            _put(proven.file(name), target / name)
        variants = {**source.variants, **proven.variants}
        replace(source, path=target).with_files(*fresh, variants=variants).save()
    except OSError as error:
        raise OutputError(f"cannot write the model to {target}: {error}") from error
    return ModelBundle.load(target)


def _put(file: Path, place: Path) -> None:
    """Copy in one step: a reader sees the old file or the new one."""
    partial = place.with_name(f".{place.name}.partial")
    shutil.copyfile(file, partial)
    os.replace(partial, place)
