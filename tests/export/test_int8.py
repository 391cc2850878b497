"""The int8 variant's file."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from export.int8 import quantise_to
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES
from inspector.model.golden import read_golden
from inspector.model.verdict import log_odds
from inspector.synthesis import Kind, make_scene

KINDS = (Kind.CRACK, Kind.CLEAN, Kind.STAIN, Kind.SHADOW)


def scenes(count, size):
    rng = np.random.default_rng(11)
    return np.stack([make_scene(rng, size, size, KINDS[k % 4]).pixels for k in range(count)])


@pytest.fixture(scope="module")
def pixels(tiny_bundle):
    return scenes(24, tiny_bundle.preprocess.size)


@pytest.fixture(scope="module")
def int8(tiny_bundle_dir, pixels, tmp_path_factory):
    file = tmp_path_factory.mktemp("int8") / "model.int8.onnx"
    made = quantise_to(tiny_bundle_dir / "model.onnx", file, pixels, {"digest": "abc"})
    return file, made


@pytest.fixture(scope="module")
def graph(int8):
    return onnx.load(int8[0]).graph


def kernels(graph):
    weights = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    return [w for name, w in weights.items() if name.endswith(".kernel_quantized")]


def test_no_sum_of_two_products_can_overflow(graph):
    """16 bits are what x86 without VNNI adds two products of a uint8 and an int8 in."""
    found = kernels(graph)
    assert len(found) == 20
    for kernel in found:
        assert kernel.dtype == np.int8
        assert kernel.min() >= -64 and kernel.max() <= 64
        assert 2 * 255 * int(np.abs(kernel.astype(int)).max()) <= 32767


def test_each_output_channel_uses_its_range(graph):
    for kernel in kernels(graph):
        largest = np.abs(kernel.astype(int)).max(axis=(1, 2, 3))
        assert largest.min() >= 60


def test_everything_but_the_head_is_quantised(graph):
    maker = {output: node for node in graph.node for output in node.output}
    readers = [node for node in graph.node if node.op_type in ("Conv", "Add", "MaxPool")]
    *body, head = [node for node in readers if node.op_type == "Conv"]
    sources = {n.name: {maker[i].op_type for i in n.input if i in maker} for n in readers}
    quantised = [node for node in readers if "DequantizeLinear" in sources[node.name]]
    assert all(sources[node.name] == {"DequantizeLinear"} for node in quantised if node != head)
    kinds = [node.op_type for node in quantised if node != head]
    assert (kinds.count("Conv"), kinds.count("Add"), kinds.count("MaxPool")) == (20, 8, 1)
    first = body[0].input[0]
    assert maker[first].input[0] == "pixel_blocks"
    assert head.input[1] not in maker
    assert "Relu" not in {node.op_type for node in graph.node}


def test_int8_takes_the_pixels_as_they_are(graph):
    """Nothing stands between the uint8 pixels, in blocks, and the first convolution but their
    meaning."""
    blocks = next(node for node in graph.node if node.op_type == "SpaceToDepth").output[0]
    (pixels,) = [node for node in graph.node if blocks in node.input]
    (reader,) = [node for node in graph.node if pixels.output[0] in node.input]
    assert (pixels.op_type, reader.op_type) == ("DequantizeLinear", "Conv")


def test_int8_log_odds_are_near_fp32(int8, tiny_bundle):
    golden = read_golden(tiny_bundle)
    session = onnxruntime.InferenceSession(int8[0], providers=["CPUExecutionProvider"])
    (p_NC,) = session.run(OUTPUT_NAMES[:1], {INPUT_NAME: golden.pixels_NHWC})
    moved = np.abs(log_odds(p_NC[:, 1]) - log_odds(golden.scores.p_crack_N))
    assert 0 < np.median(moved) < 0.3


def test_quantise_to_takes_the_method_that_moves_least(int8):
    made = int8[1]
    assert len(made.tried) == 3
    assert made.tried[made.method] == min(made.tried.values())
    assert made.images + made.tried_images == 24


def test_int8_file_holds_its_metadata_and_nothing_else(int8):
    model = onnx.load(int8[0])
    assert {p.key: p.value for p in model.metadata_props} == {"digest": "abc"}
    assert (model.producer_name, model.doc_string) == ("inspector export", "")
    content = int8[0].read_bytes()
    assert os.fsencode(os.path.dirname(sys.prefix)) not in content
    assert b"inspector-calibration" not in content


def test_quantise_to_writes_the_same_bytes_in_another_process(
    int8, tiny_bundle_dir, pixels, tmp_path
):
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import sys, numpy; from pathlib import Path; from export.int8 import quantise_to;"
        "a, b, c = map(Path, sys.argv[1:]); quantise_to(a, b, numpy.load(c), {'digest': 'abc'})"
    )
    out = tmp_path / "again.onnx"
    subprocess.run(
        [sys.executable, "-c", code, tiny_bundle_dir / "model.onnx", out, tmp_path / "pixels.npy"],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    assert out.read_bytes() == int8[0].read_bytes()


def test_quantise_to_refuses_photos_of_another_size(tiny_bundle_dir, tmp_path):
    with pytest.raises(ValueError, match="64"):
        quantise_to(tiny_bundle_dir / "model.onnx", tmp_path / "x.onnx", scenes(4, 48), {})
    with pytest.raises(ValueError, match="at least"):
        quantise_to(tiny_bundle_dir / "model.onnx", tmp_path / "x.onnx", scenes(2, 64), {})
