"""The shipped bundle's quick ways give the verdicts of its fp32 model on the samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inspector.backends import open_backend
from inspector.backends.agreement import differing
from inspector.bundle import DEFAULT_PATH, ModelBundle
from inspector.data.decode import decode
from inspector.types import Decoded, ImageRef


@pytest.fixture(scope="module")
def shipped():
    return ModelBundle.load(DEFAULT_PATH)


@pytest.fixture(scope="module")
def pixels_NHWC(shipped):
    samples = Path(__file__).parents[2] / "samples"
    files = sorted(samples.glob("c*_*.*"))
    refs = [ImageRef(k, str(file), file.as_uri(), None, None) for k, file in enumerate(files)]
    outcomes = [decode(ref, shipped.preprocess) for ref in refs]
    return np.stack([o.pixels_HWC for o in outcomes if isinstance(o, Decoded)])


@pytest.fixture(scope="module")
def expected(shipped, pixels_NHWC):
    backend = open_backend(shipped, device="cpu")
    scores = backend.run(pixels_NHWC)
    backend.close()
    return scores


@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_verdicts_are_those_of_fp32(shipped, pixels_NHWC, expected, name, precision, cascade):
    backend = open_backend(shipped, name, device="cpu", precision=precision, cascade=cascade)
    scores = backend.run(pixels_NHWC)
    backend.close()
    assert len(scores.p_crack_N) >= 20
    assert not differing(scores, expected, shipped.thresholds).any()
    if precision != "int8" and not cascade:
        np.testing.assert_allclose(scores.p_crack_N, expected.p_crack_N, atol=5e-3)


def test_every_quick_way_was_gated(shipped):
    for variant in shipped.variants.values():
        assert variant.parity["verdict_flips"] == [], variant.file
    seen = shipped.first_stage().evidence
    assert seen["images"] >= 2000 and seen["cracks_called_clear"] == 0
    assert len(seen["verdict_flips"]) <= seen["images"] // 1000
    assert shipped.variant("onnxruntime", "int8").parity["images"] >= 2000
