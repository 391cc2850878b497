"""The rewritten float graphs answer like the exported one."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from export.graph import fold_batch_norm, map_convolution, take_pixels
from inspector.errors import ExportError
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES
from inspector.model.golden import read_golden

BORDER = 2
"""Cells of the first feature map that a 7 x 7 kernel with stride 2 and padding 3 lets touch it."""


@pytest.fixture(scope="module")
def proto(tiny_bundle_dir):
    return onnx.load(tiny_bundle_dir / "model.onnx")


@pytest.fixture(scope="module")
def pixels(tiny_bundle):
    return read_golden(tiny_bundle).pixels_NHWC


def run(model, pixels, outputs=OUTPUT_NAMES):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(list(outputs), {INPUT_NAME: pixels})


def first_features(model, pixels):
    """What goes into the first ReLU."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    name = next(node.input[0] for node in shown.graph.node if node.op_type == "Relu")
    shown.graph.output.append(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", "c", "h", "w"])
    )
    return run(shown, pixels, [name])[0]


def test_fold_batch_norm_keeps_the_outputs(proto, pixels):
    folded = fold_batch_norm(proto)
    onnx.checker.check_model(folded, full_check=True)
    kinds = {node.op_type for node in folded.graph.node}
    assert "BatchNormalization" not in kinds
    assert onnx.TensorProto.FLOAT16 not in {w.data_type for w in folded.graph.initializer}
    for before, after in zip(run(proto, pixels), run(folded, pixels), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_fold_batch_norm_leaves_its_input_alone(proto):
    before = proto.SerializeToString(deterministic=True)
    take_pixels(fold_batch_norm(proto))
    assert proto.SerializeToString(deterministic=True) == before


def test_fold_batch_norm_with_a_shared_bias(proto, pixels):
    shared = onnx.ModelProto()
    shared.CopyFrom(proto)
    first, second = [node for node in shared.graph.node if node.op_type == "Conv"][:2]
    second.input[2] = first.input[2]
    assert not numpy_helper.to_array(
        next(w for w in shared.graph.initializer if w.name == first.input[2])
    ).any()
    for before, after in zip(run(proto, pixels), run(fold_batch_norm(shared), pixels), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_take_pixels_keeps_features_away_from_the_border(proto, pixels):
    taken = take_pixels(fold_batch_norm(proto))
    onnx.checker.check_model(taken, full_check=True)
    before, after = first_features(proto, pixels), first_features(taken, pixels)
    inner = np.s_[:, :, BORDER:-BORDER, BORDER:-BORDER]
    np.testing.assert_allclose(after[inner], before[inner], atol=1e-4)
    assert np.abs(after - before).max() < 0.3  # 12 of 255 grey levels, seen by a part of a kernel


def test_take_pixels_makes_no_float_image(proto):
    nodes = take_pixels(fold_batch_norm(proto)).graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds[:4] == ["Transpose", "SpaceToDepth", "DequantizeLinear", "Conv"]


@pytest.mark.parametrize(("side", "kernel"), [(64, 7), (64, 3), (32, 5), (63, 7)])
def test_blocks_of_pixels_give_what_the_pixels_give(side, kernel):
    """The first convolution alone; images of odd sides are read pixel by pixel."""
    rng = np.random.default_rng(5)
    before = first_convolution(rng, side, kernel)
    taken = take_pixels(before)
    pixels = rng.integers(0, 256, (2, side, side, 3), np.uint8)
    expected, found = (run(model, pixels, ["y"])[0] for model in (before, taken))
    edge = kernel // 4 + 1
    inner = np.s_[:, :, edge:-edge, edge:-edge]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-3)
    kinds = [node.op_type for node in taken.graph.node]
    assert ("SpaceToDepth" in kinds) == (side % 2 == 0)


def first_convolution(rng, side, kernel):
    """An exported graph up to its first convolution."""
    make = onnx.helper.make_node
    pads, grey = [kernel // 2] * 4, np.array([0.4, 0.5, 0.6], np.float32)
    weights = {
        "scale": np.full((1, 3, 1, 1), 1 / 60, np.float32),
        "shift": -(grey * 255 / 60).reshape(1, 3, 1, 1),
        "kernel": rng.normal(size=(4, 3, kernel, kernel)).astype(np.float32),
        "bias": np.zeros(4, np.float32),
    }
    nodes = [
        make("Transpose", [INPUT_NAME], ["first"], perm=[0, 3, 1, 2]),
        make("Cast", ["first"], ["floats"], to=onnx.TensorProto.FLOAT),
        make("Mul", ["floats", "scale"], ["scaled"]),
        make("Add", ["scaled", "shift"], ["shifted"]),
        make("Conv", ["shifted", "kernel", "bias"], ["y"], "c", strides=[2, 2], pads=pads),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "first",
        [value(INPUT_NAME, onnx.TensorProto.UINT8, ["n", side, side, 3])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 4, None, None])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10
    )


def test_fold_batch_norm_refuses_another_graph(proto):
    foreign = onnx.ModelProto()
    foreign.CopyFrom(proto)
    squeeze = next(node for node in foreign.graph.node if node.op_type == "Squeeze")
    foreign.graph.node.remove(squeeze)
    with pytest.raises(ExportError, match="no Squeeze where one was expected"):
        map_convolution(foreign.graph)
