"""What an export leaves on disk."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from export.dense_gate import compare_tiles, scenes
from export.onnx import export_onnx
from inspector.errors import BundleError, ExportError
from inspector.model.bundle import DEFAULT_PATH, INPUT_NAME, OUTPUT_NAMES, ModelBundle
from inspector.model.golden import read_golden
from inspector.model.network import load_deployed
from tests.conftest import save_untrained_bundle

HERE = os.fspath(Path(__file__).parents[2]).encode()


@pytest.fixture(scope="module")
def proto(tiny_bundle_dir):
    return onnx.load(tiny_bundle_dir / "model.onnx")


def run(model, pixels):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(list(OUTPUT_NAMES), {INPUT_NAME: pixels})


def test_bundle_holds_exactly_its_files(tiny_bundle_dir):
    assert sorted(os.listdir(tiny_bundle_dir)) == [
        "bundle.json",
        "dense.onnx",
        "golden.npz",
        "model.onnx",
        "model.ts",
        "weights.safetensors",
    ]


def test_every_file_has_its_hash(tiny_bundle_dir):
    bundle = ModelBundle.load(tiny_bundle_dir)
    assert set(bundle.files) == set(os.listdir(tiny_bundle_dir)) - {"bundle.json"}
    assert set(bundle.variants) == {"onnx-fp32", "torchscript-fp32", "dense-fp32"}


def test_evidence_is_in_the_bundle(tiny_bundle):
    for variant in tiny_bundle.whole.values():
        assert variant.parity["images"] == variant.parity["golden_images"] >= 10
        assert variant.parity["verdict_flips"] == []
        assert variant.parity["max_difference"] < 1e-4
        assert variant.parity["reference"].startswith("torch ")


def test_onnx_file_is_about_as_small_as_the_weights(tiny_bundle_dir):
    """Weights and ONNX together are what ships; the package may hold 60 MB."""
    size = {file.name: file.stat().st_size for file in tiny_bundle_dir.iterdir()}
    assert size["model.onnx"] < 24e6
    assert size["weights.safetensors"] + size["model.onnx"] + size["golden.npz"] < 50e6


def test_graph_interface(proto):
    def described(values):
        types = [value.type.tensor_type for value in values]
        return [
            (v.name, t.elem_type, [d.dim_param or d.dim_value for d in t.shape.dim])
            for v, t in zip(values, types, strict=True)
        ]

    f32, u8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
    assert described(proto.graph.input) == [("images", u8, ["batch", 64, 64, 3])]
    assert described(proto.graph.output) == [
        ("probabilities", f32, ["batch", 2]),
        ("cam", f32, ["batch", 2, 2]),
        ("domain", f32, ["batch"]),
    ]


def test_the_shipped_weights_answer_the_bits_of_the_shipped_file(tmp_path):
    """That file was written by PyTorch's own exporter."""
    bundle = ModelBundle.load(DEFAULT_PATH)
    export_onnx(load_deployed(bundle), bundle.preprocess.size, {}, tmp_path / "model.onnx")
    pixels = read_golden(bundle).pixels_NHWC
    shipped, again = (onnx.load(p / "model.onnx") for p in (bundle.path, tmp_path))
    for before, after in zip(run(shipped, pixels), run(again, pixels), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("size", [32, 50, 100])
def test_every_size_answers_like_the_network(size, tmp_path):
    bundle = save_untrained_bundle(tmp_path / "bundle", size=size)
    model = load_deployed(bundle)
    export_onnx(model, size, {}, tmp_path / "model.onnx")
    pixels = np.random.default_rng(size).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = model(torch.from_numpy(pixels))
    for answer, right in zip(
        run(onnx.load(tmp_path / "model.onnx"), pixels), expected, strict=True
    ):
        np.testing.assert_allclose(answer, right, rtol=1e-3, atol=1e-4)


def test_metadata_lets_the_file_stand_alone(proto, tiny_bundle):
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(metadata["labels"]) == list(tiny_bundle.labels)
    assert metadata["positive"] == tiny_bundle.positive
    assert float(metadata["temperature"]) == tiny_bundle.temperature
    assert float(metadata["clear_below"]) == tiny_bundle.thresholds.clear_below
    assert float(metadata["crack_from"]) == tiny_bundle.thresholds.crack_from
    preprocess = json.loads(metadata["preprocess"])
    assert preprocess == json.loads(json.dumps(tiny_bundle.preprocess.to_json()))
    assert metadata["digest"] == tiny_bundle.digest
    assert metadata["out_of_domain"] == repr(tiny_bundle.thresholds.out_of_distribution)
    assert metadata["format"] == "2"
    assert metadata["tool_version"]


def test_weights_are_stored_in_half_and_batch_norm_apart(proto):
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("BatchNormalization") == 20
    large = [w for w in proto.graph.initializer if numpy_helper.to_array(w).size > 1024]
    assert len(large) == 20
    assert {w.data_type for w in large} == {onnx.TensorProto.FLOAT16}


def test_half_storage_changes_no_bit(proto, tiny_bundle):
    """The same graph with its weights as float32 answers the same bits."""
    plain = onnx.ModelProto()
    plain.CopyFrom(proto)
    halves = {w.name: w for w in plain.graph.initializer if w.name.endswith(".half")}
    for widened in [n for n in plain.graph.node if n.op_type == "Cast" and n.input[0] in halves]:
        weight = halves[widened.input[0]]
        values = numpy_helper.to_array(weight).astype(np.float32)
        weight.CopyFrom(numpy_helper.from_array(values, widened.output[0]))
        plain.graph.node.remove(widened)
    assert plain.ByteSize() > 1.9 * proto.ByteSize()
    pixels = read_golden(tiny_bundle).pixels_NHWC
    for stored, full in zip(run(proto, pixels), run(plain, pixels), strict=True):
        np.testing.assert_array_equal(stored, full)


def test_the_onnx_file_keeps_the_weights_exactly(proto, tiny_bundle):
    from safetensors.numpy import load_file

    saved = load_file(tiny_bundle.file("weights.safetensors"))
    held = {w.name.removesuffix(".half"): numpy_helper.to_array(w) for w in proto.graph.initializer}
    for name, tensor in saved.items():
        if not name.endswith("num_batches_tracked"):
            held_as = name if name.startswith("domain.") else f"network.{name}"
            np.testing.assert_array_equal(held[held_as], tensor, err_msg=name)


def test_files_hold_no_paths_of_the_machine(tiny_bundle_dir, tmp_path):
    with zipfile.ZipFile(tiny_bundle_dir / "model.ts") as archive:
        archive.extractall(tmp_path)
    files = [f for f in (*tiny_bundle_dir.iterdir(), *tmp_path.rglob("*")) if f.is_file()]
    for file in files:
        content = file.read_bytes()
        assert HERE not in content, file
        assert b"site-packages" not in content, file


def test_golden_images_are_read_back_as_written(tiny_bundle, tmp_path):
    golden = read_golden(tiny_bundle)
    golden.write(tmp_path / "one.npz")
    golden.write(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert golden.pixels_NHWC.dtype == np.uint8
    assert len(golden.names) == len(set(golden.names)) == len(golden.pixels_NHWC)


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_unreadable_golden_images(tiny_bundle, tmp_path, content):
    from dataclasses import replace

    (tmp_path / "golden.npz").write_bytes(content)
    with pytest.raises(BundleError, match=r"golden\.npz cannot be read"):
        read_golden(replace(tiny_bundle, path=tmp_path))


@pytest.mark.parametrize("size", [64, 224, 320, 512])
def test_no_scene_of_the_dense_gate_is_smaller_than_the_input(size):
    sides = [scene.shape[:2] for scene in scenes(size)]
    assert len(sides) == 3
    assert all(side >= size and side % 32 == 0 for both in sides for side in both)


def test_an_engine_that_answers_no_numbers_does_not_pass_as_the_dense_view(tiny_bundle):
    class Silent:
        def judge_lone(self, pixels_NHWC):
            nothing_N = np.full(len(pixels_NHWC), np.nan)
            return nothing_N, nothing_N

    variant = tiny_bundle.variants["dense-fp32"]
    with pytest.raises(ExportError, match="does not judge tiles"):
        compare_tiles(tiny_bundle, tiny_bundle, variant, cast(Any, Silent()))
