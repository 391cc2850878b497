"""The fp16 variant."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from export.fp16 import halve_to
from inspector.errors import ExportError
from inspector.model.bundle import INPUT_NAME
from inspector.model.golden import read_golden
from inspector.model.verdict import log_odds

HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


@pytest.fixture(scope="module")
def half(tiny_bundle_dir, tmp_path_factory):
    file = tmp_path_factory.mktemp("half") / "model.fp16.onnx"
    halve_to(tiny_bundle_dir / "model.onnx", file, {"digest": "abc"})
    return file


def test_halve_to_computes_in_half_between_normalisation_and_head(half):
    model = onnx.shape_inference.infer_shapes(onnx.load(half), strict_mode=True)
    kind = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert [kind[node.output[0]] for node in convolutions] == 20 * [HALF] + [FLOAT]
    head = ("ReduceMean", "Gemm", "Div", "Mul")
    assert {kind[n.output[0]] for n in model.graph.node if n.op_type in head} == {FLOAT}
    assert {o.type.tensor_type.elem_type for o in model.graph.output} == {FLOAT}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert {p.key: p.value for p in model.metadata_props} == {"digest": "abc"}


def test_fp16_log_odds_are_near_fp32(half, tiny_bundle_dir, tiny_bundle):
    golden = read_golden(tiny_bundle)
    session = onnxruntime.InferenceSession(half, providers=["CPUExecutionProvider"])
    probabilities, cam, domain = session.run(None, {INPUT_NAME: golden.pixels_NHWC})
    moved = log_odds(probabilities[:, 1]) - log_odds(golden.scores.p_crack_N)
    assert 0 < np.abs(moved).max() < 0.02
    assert np.abs(cam - golden.scores.cam_NHW).max() < 0.01 * np.abs(golden.scores.cam_NHW).max()
    np.testing.assert_allclose(domain, golden.scores.ood_N, rtol=0.01)


def test_halve_to_repeats_its_bytes(half, tiny_bundle_dir, tmp_path):
    halve_to(tiny_bundle_dir / "model.onnx", tmp_path / "again.onnx", {"digest": "abc"})
    assert (tmp_path / "again.onnx").read_bytes() == half.read_bytes()


def test_halve_to_refuses_a_weight_beyond_half_precision(tiny_bundle_dir, tmp_path):
    model = onnx.load(tiny_bundle_dir / "model.onnx")
    gain = next(w for w in model.graph.initializer if w.name == "network.bn1.weight")
    values = 1e7 * numpy_helper.to_array(gain)
    gain.CopyFrom(numpy_helper.from_array(values, gain.name))
    onnx.save(model, tmp_path / "large.onnx")
    with pytest.raises(ExportError, match="beyond half precision's largest number"):
        halve_to(tmp_path / "large.onnx", tmp_path / "out.onnx", {})
    assert not (tmp_path / "out.onnx").exists()
