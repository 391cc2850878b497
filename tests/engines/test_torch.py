"""The torch engines agree with ONNX Runtime and refuse what is not theirs."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from inspector.engines import open_backend
from inspector.errors import BackendError, BundleError
from inspector.model.bundle import WEIGHTS, ModelBundle
from inspector.model.golden import read_golden
from inspector.model.network import load_deployed

ENGINES = ("eager", "torchscript")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_agrees_with_the_golden_answers(tiny_bundle, engine, n):
    golden = read_golden(tiny_bundle)
    scores = open_backend(tiny_bundle, engine, device="cpu").run(golden.pixels_NHWC[:n])
    np.testing.assert_allclose(scores.p_crack_N, golden.scores.p_crack_N[:n], atol=1e-6)
    np.testing.assert_allclose(scores.cam_NHW, golden.scores.cam_NHW[:n], atol=1e-4)


@pytest.mark.parametrize("engine", (*ENGINES, "onnxruntime"))
def test_the_maps_mean_plus_bias_is_the_logit(tiny_bundle, engine):
    """`types.Scores` promises it; a map of the wrong class or grid would break it."""
    golden = read_golden(tiny_bundle)
    scores = open_backend(tiny_bundle, engine, device="cpu").run(golden.pixels_NHWC)
    model = load_deployed(tiny_bundle)
    with torch.inference_mode():
        features = model.features(model.normalise(torch.from_numpy(golden.pixels_NHWC)))
        logits = model.network.fc(features.mean(dim=(2, 3))).numpy()
    bias = float(model.network.fc.bias.detach()[tiny_bundle.positive_index])
    crack, clear = logits[:, tiny_bundle.positive_index], logits[:, 1 - tiny_bundle.positive_index]
    np.testing.assert_allclose(scores.cam_NHW.mean(axis=(1, 2)) + bias, crack, atol=1e-4)
    expected = 1 / (1 + np.exp(-(crack - clear) / tiny_bundle.temperature))
    np.testing.assert_allclose(scores.p_crack_N, expected, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_pixels_are_not_changed_and_may_be_read_only(tiny_bundle, engine):
    pixels = np.full((2, 64, 64, 3), 77, np.uint8)
    pixels.setflags(write=False)
    open_backend(tiny_bundle, engine, device="cpu").run(pixels)
    assert (pixels == 77).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_negative_strides(tiny_bundle, engine):
    golden = read_golden(tiny_bundle)
    backend = open_backend(tiny_bundle, engine, device="cpu")
    backwards = backend.run(golden.pixels_NHWC[::-1])
    np.testing.assert_allclose(backwards.p_crack_N[::-1], golden.scores.p_crack_N, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
@pytest.mark.parametrize("engine", ENGINES)
def test_cuda_fails_closed(tiny_bundle, engine):
    with pytest.raises(BackendError, match="cuda:0 was asked for, but torch sees 0 CUDA GPUs"):
        open_backend(tiny_bundle, engine, device="cuda")


def test_a_script_of_another_model_is_refused(tiny_bundle):
    with pytest.raises(BundleError, match=r"model\.ts was exported from another model"):
        open_backend(replace(tiny_bundle, temperature=2.0), "torchscript")


@pytest.mark.parametrize("keep", [0, 1000, 1_000_000])
def test_a_damaged_script_is_refused(tiny_bundle_dir, tmp_path, keep):
    path = shutil.copytree(tiny_bundle_dir, tmp_path / "bundle")
    (path / "model.ts").write_bytes((path / "model.ts").read_bytes()[:keep])
    with pytest.raises(BundleError, match="not a TorchScript model"):
        open_backend(ModelBundle.load(path, verify=False, trust=True), "torchscript")


def test_damaged_weights_are_refused(tiny_bundle_dir, tmp_path):
    path = shutil.copytree(tiny_bundle_dir, tmp_path / "bundle")
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(BundleError, match="does not hold plain ResNet18 weights"):
        open_backend(ModelBundle.load(path, verify=False), "eager")


def test_threads_bound_torch(tiny_bundle):
    before = torch.get_num_threads()
    try:
        open_backend(tiny_bundle, "eager", device="cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
