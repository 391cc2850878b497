"""A narrow pair for the tiny bundle: its own network, which says less of an image than it does."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from bench.recipe.narrow.export import PHOTOS, TILES
from export.densify import densify_to
from export.graph import restamp_onnx
from inspector.model.bundle import ModelBundle
from inspector.model.stamp import model_metadata

GAIN, SHIFT = 0.5, -3.0


def write_pair(bundle: ModelBundle, out: Path, *, gain: float = GAIN, shift: float = SHIFT) -> Path:
    """Write both files: log odds of a crack are `gain` times the model's, and `shift`."""
    out.mkdir(parents=True, exist_ok=True)
    model = onnx.load(bundle.file("model.onnx"))
    added = np.zeros(2, np.float32)
    added[bundle.positive_index] = shift
    for weight in model.graph.initializer:
        if weight.name in ("network.fc.weight", "network.fc.bias"):
            values = numpy_helper.to_array(weight).astype(np.float32) * np.float32(gain)
            values = values + added if values.ndim == 1 else values
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, out / TILES.file)
    densify_to(out / TILES.file, out / PHOTOS.file, bundle.positive_index, {})
    return out


def with_narrow(
    source: Path, folder: Path, *, gain: float = GAIN, shift: float = SHIFT, **changes: Any
) -> ModelBundle:
    """A copy of the bundle at `source` with such a pair, whose margins are nothing."""
    path = Path(shutil.copytree(source, folder / "bundle"))
    bundle = dataclasses.replace(ModelBundle.load(path), **changes)
    write_pair(bundle, path, gain=gain, shift=shift)
    variants = {**bundle.variants, "onnx-narrow": TILES, "dense-narrow": PHOTOS}
    names = [variant.file for variant in variants.values() if variant.file.endswith(".onnx")]
    for name in names:
        restamp_onnx(path / name, path / name, model_metadata(bundle))
    bundle.with_files(*names, variants=variants).save()
    return ModelBundle.load(path)
