"""OpenVINO: the same files, the same answers, in order."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from contextlib import closing

import numpy as np
import onnx
import pytest

from inspector.engines import open_backend
from inspector.engines.openvino import OpenVinoBackend
from inspector.errors import BackendError, BundleError, UsageError
from inspector.model.bundle import ModelBundle
from inspector.model.golden import read_golden


@pytest.fixture(scope="module")
def backend(tiny_bundle):
    with closing(open_backend(tiny_bundle, "openvino", threads=2)) as opened:
        yield opened


def noise(n, size=64, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_golden_answers(backend, tiny_bundle):
    golden = read_golden(tiny_bundle)
    scores = backend.run(golden.pixels_NHWC)
    np.testing.assert_allclose(scores.p_crack_N, golden.scores.p_crack_N, atol=1e-5)
    np.testing.assert_allclose(scores.cam_NHW, golden.scores.cam_NHW, atol=1e-3)


@pytest.mark.parametrize("n", [1, 2, 3, 17, 32, 33, 70])
def test_any_batch_answers_like_onnxruntime_in_order(backend, tiny_bundle, n):
    """Fewer images than requests, full requests, remainders, requests that take several turns."""
    pixels = noise(n)
    with closing(open_backend(tiny_bundle, device="cpu", threads=1)) as reference:
        expected = reference.run(pixels)
    scores = backend.run(pixels)
    assert scores.p_crack_N.dtype == scores.cam_NHW.dtype == np.float32
    assert n == 1 or np.diff(expected.p_crack_N).any()
    np.testing.assert_allclose(scores.p_crack_N, expected.p_crack_N, atol=1e-4)
    np.testing.assert_allclose(scores.cam_NHW, expected.cam_NHW, atol=1e-3)


def test_int8_answers_like_onnxruntime(int8_bundle):
    """Their roundings differ, and the logits of this random network are stretched; another order
    or another constant would leave nothing of the correlation."""
    pixels = read_golden(int8_bundle).pixels_NHWC
    answers = []
    for name in ("onnxruntime", "openvino"):
        with closing(open_backend(int8_bundle, name, device="cpu", precision="int8")) as opened:
            assert opened.stages == ("int8@64",)
            answers.append(opened.run(pixels).p_crack_N)
    assert np.corrcoef(answers[0], answers[1])[0, 1] > 0.98
    np.testing.assert_allclose(answers[0], answers[1], atol=0.15)


def test_answers_of_one_run_survive_the_next(backend):
    first = backend.run(noise(5))
    kept = first.p_crack_N.copy(), first.cam_NHW.copy()
    backend.run(noise(5, seed=2))
    np.testing.assert_array_equal(first.p_crack_N, kept[0])
    np.testing.assert_array_equal(first.cam_NHW, kept[1])


def test_read_only_and_strided_pixels(backend):
    strided = np.random.default_rng(0).integers(0, 256, (4, 64, 128, 3), np.uint8)[::2, :, ::2]
    frozen = strided.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(backend.run(strided).p_crack_N, backend.run(frozen).p_crack_N)


@pytest.mark.parametrize("shape", [(0, 64, 64, 3), (1, 32, 64, 3), (64, 64, 3)])
def test_wrong_pixels_are_a_programming_error(backend, shape):
    with pytest.raises(ValueError, match="pixels must be"):
        backend.run(np.zeros(shape, np.uint8))


def test_says_what_it_is(backend):
    assert (backend.name, backend.device) == ("openvino", "cpu")
    (provider,) = backend.providers
    assert provider.startswith("OpenVINO 20")
    assert provider.endswith(" CPU")
    assert backend.stages == ("fp32@64",)
    assert backend.notes == ()


def test_float32_is_float32_also_where_the_cpu_has_bfloat16(backend):
    import openvino

    assert backend._compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_is_refused(tiny_bundle, device):
    with pytest.raises(BackendError, match=r"CPU only; use --device cpu") as refusal:
        open_backend(tiny_bundle, "openvino", device=device)
    assert "\n" not in str(refusal.value)


def test_unknown_device_and_missing_variant(tiny_bundle):
    with pytest.raises(UsageError, match="unknown device"):
        open_backend(tiny_bundle, "openvino", device="gpu")
    with pytest.raises(BundleError, match="no int8 variant"):
        open_backend(tiny_bundle, "openvino", precision="int8")


def test_not_installed(tiny_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match=r'pip install "crack-inspector\[openvino\]"') as refusal:
        open_backend(tiny_bundle, "openvino")
    assert "\n" not in str(refusal.value)


def test_truncated_model(own_bundle, capfd):
    file = own_bundle.path / "model.onnx"
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(BundleError, match="not an ONNX model") as refusal:
        open_backend(ModelBundle.load(own_bundle.path, verify=False), "openvino")
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("key", ["digest", "labels", "positive", "temperature", "preprocess"])
def test_an_onnx_of_another_model_is_refused(own_bundle, rewrite_onnx, key):
    def forge(proto):
        for entry in proto.metadata_props:
            if entry.key == key:
                entry.value = "other"

    with pytest.raises(BundleError, match=rf"other {key}"):
        open_backend(rewrite_onnx(own_bundle, forge), "openvino")


def test_an_onnx_that_says_nothing_is_refused(own_bundle, rewrite_onnx):
    def silence(proto):
        del proto.metadata_props[:]

    with pytest.raises(BundleError, match="exported from another model"):
        open_backend(rewrite_onnx(own_bundle, silence), "openvino")


def test_a_graph_with_other_outputs_or_inputs_is_refused(own_bundle, rewrite_onnx):
    def drop_cam(proto):
        del proto.graph.output[1]

    with pytest.raises(BundleError, match="answers"):
        open_backend(rewrite_onnx(own_bundle, drop_cam), "openvino")
    smaller = dataclasses.replace(own_bundle.preprocess, size=32)
    with pytest.raises(BundleError, match="takes"):
        OpenVinoBackend(dataclasses.replace(own_bundle, preprocess=smaller))


def test_answers_that_are_no_numbers_never_become_verdicts(own_bundle, rewrite_onnx):
    def poison(proto):
        bias = next(w for w in proto.graph.initializer if w.name.endswith("fc.bias"))
        bias.CopyFrom(onnx.numpy_helper.from_array(np.full(2, np.nan, np.float32), bias.name))

    backend = open_backend(rewrite_onnx(own_bundle, poison), "openvino")
    with pytest.raises(BackendError, match="no number for 3 of 3 images"):
        backend.run(np.zeros((3, 64, 64, 3), np.uint8))


def test_a_failing_request_is_one_error_and_the_engine_goes_on(tiny_bundle, monkeypatch):
    """Pixels of another size, past the check: the engine itself refuses them."""
    with closing(OpenVinoBackend(tiny_bundle, threads=2)) as backend:
        with monkeypatch.context() as patch:
            patch.setattr("inspector.engines.contract.check_pixels", lambda *_: None)
            with pytest.raises(BackendError, match="OpenVINO failed on cpu with 5") as failure:
                backend.run(noise(5, size=32))
        assert "\n" not in str(failure.value)
        assert backend.run(noise(5)).p_crack_N.shape == (5,)


def test_no_other_engine_is_loaded(tiny_bundle_dir):
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from inspector.model.bundle import ModelBundle\n"
        "from inspector.engines import open_backend\n"
        "b = open_backend(ModelBundle.load(Path(sys.argv[1])), 'openvino')\n"
        "b.run(np.zeros((1, 64, 64, 3), np.uint8)); b.close()\n"
        "assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tiny_bundle_dir],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_signals_can_be_handled_after_it(tiny_bundle):
    """OpenVINO leaves threads with an alternate signal stack whose memory is gone."""
    code = (
        "import os, signal, sys, time; from pathlib import Path;"
        "from inspector.model.bundle import ModelBundle;"
        "from inspector.engines import open_backend;"
        "bundle = ModelBundle.load(Path(sys.argv[1]));"
        "opened = [open_backend(bundle, 'openvino', threads=1) for _ in range(2)];"
        "[backend.close() for backend in opened]; del opened[0], opened[0];"
        "signal.signal(signal.SIGUSR1, lambda *_: print('handled'));"
        "os.kill(os.getpid(), signal.SIGUSR1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle.path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
