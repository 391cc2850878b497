"""Bundles for engines: whole ones whose files a test may change, and one that is quantised."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from inspector.model.bundle import INPUT_NAME, ModelBundle, Variant


@pytest.fixture
def own_bundle(tiny_bundle_dir, tmp_path):
    """A copy whose ONNX file and `bundle.json` a test may damage; the rest is linked."""
    path = tmp_path / "bundle"
    path.mkdir()
    for file in tiny_bundle_dir.iterdir():
        mine = file.name in ("model.onnx", "bundle.json")
        (shutil.copy if mine else os.link)(file, path / file.name)
    return ModelBundle.load(path)


@pytest.fixture
def rewrite_onnx():
    """Edits a bundle's ONNX file and puts its hash right, as a forger would."""

    def rewrite(bundle, change) -> ModelBundle:
        file = bundle.path / "model.onnx"
        proto = onnx.load(file)
        change(proto)
        onnx.save(proto, file)
        bundle.with_files("model.onnx").save()
        return ModelBundle.load(bundle.path)

    return rewrite


@pytest.fixture(scope="session")
def int8_bundle(tiny_bundle_dir, tmp_path_factory) -> ModelBundle:
    """The tiny bundle with an int8 variant: static QDQ, unsigned activations, signed weights per
    channel."""
    path = tmp_path_factory.mktemp("int8") / "bundle"
    shutil.copytree(tiny_bundle_dir, path)
    _quantise(path / "model.onnx", path / "model.int8.onnx")
    bundle = ModelBundle.load(path)
    variant = Variant(file="model.int8.onnx", backend="onnxruntime", precision="int8")
    bundle.with_files(variant.file, variants={**bundle.variants, "onnx-int8": variant}).save()
    return ModelBundle.load(path)


def _quantise(source: Path, target: Path) -> None:
    import onnxruntime
    from onnxruntime.quantization import (
        QuantFormat,
        QuantType,
        quantize_static,
    )

    pixels = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)

    class Reader:
        left = iter([{INPUT_NAME: pixels}])

        def get_next(self):
            return next(self.left, None)

    # Folded first: the quantiser looks for weights that are constants, not casts of constants.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    quantize_static(
        target,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,  # CPUs without VNNI add pairs of products in 16 bits, which saturate
        op_types_to_quantize=["Conv", "Add", "MaxPool"],
    )
    described = onnx.load(target)
    props = {p.key: p.value for p in onnx.load(source, load_external_data=False).metadata_props}
    onnx.helper.set_model_props(described, props)
    onnx.save(described, target)
