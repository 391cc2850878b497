"""A file that refers to the weights computes what it computed with kernels of its own."""

from __future__ import annotations

import shutil

import numpy as np
import onnxruntime
import pytest

from bench.recipe.share import share_weights
from export.fp16 import halve_to
from inspector.errors import ExportError
from inspector.model.bundle import WEIGHTS
from tests.conftest import save_untrained_bundle

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


def answers(file):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": PIXELS})


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_share_weights_keeps_outputs_and_shrinks_the_file(tiny_bundle_copy, precision):
    fp32 = tiny_bundle_copy.file(tiny_bundle_copy.variant("onnxruntime", "fp32").file)
    file = fp32
    if precision == "fp16":
        file = tiny_bundle_copy.file("half.onnx")
        halve_to(fp32, file, {})
    before = answers(file)
    share_weights(file, tiny_bundle_copy.file(WEIGHTS))
    for expected, found in zip(before, answers(file), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert file.stat().st_size < 400_000


def test_share_weights_refuses_weights_of_another_model(tiny_bundle_copy, tmp_path):
    other = save_untrained_bundle(tmp_path / "other", seed=1)
    fp32 = tiny_bundle_copy.file(tiny_bundle_copy.variant("onnxruntime", "fp32").file)
    content = fp32.read_bytes()
    with pytest.raises(ExportError, match="no kernel in common"):
        share_weights(fp32, other.file(WEIGHTS))
    assert fp32.read_bytes() == content


def test_shared_file_alone_does_not_load(tiny_bundle_copy, tmp_path):
    fp32 = tiny_bundle_copy.file(tiny_bundle_copy.variant("onnxruntime", "fp32").file)
    share_weights(fp32, tiny_bundle_copy.file(WEIGHTS))
    shutil.copy(fp32, tmp_path / "alone.onnx")
    with pytest.raises(Exception, match=WEIGHTS):
        answers(tmp_path / "alone.onnx")
