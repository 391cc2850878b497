"""ONNX Runtime: the right file, the right device, the right answers."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from inspector.engines import has_nvidia_driver, open_backend
from inspector.engines.onnxruntime import why_no_gpu
from inspector.errors import BackendError, BundleError, UsageError
from inspector.model.bundle import ModelBundle, Thresholds
from inspector.model.golden import read_golden
from inspector.model.stamp import model_metadata

without_gpu = pytest.mark.skipif(has_nvidia_driver(), reason="this machine has an NVIDIA driver")


@pytest.fixture
def backend(tiny_bundle):
    opened = open_backend(tiny_bundle, device="cpu", threads=1)
    yield opened
    opened.close()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_answers_do_not_depend_on_the_batch(backend, tiny_bundle, n):
    golden = read_golden(tiny_bundle)
    scores = backend.run(golden.pixels_NHWC[:n])
    assert scores.p_crack_N.dtype == scores.cam_NHW.dtype == np.float32
    assert scores.p_crack_N.shape == (n,)
    assert scores.cam_NHW.shape == (n, 2, 2)
    np.testing.assert_allclose(scores.p_crack_N, golden.scores.p_crack_N[:n], atol=1e-5)


def test_batch_order_is_kept(backend, tiny_bundle):
    golden = read_golden(tiny_bundle)
    backwards = backend.run(golden.pixels_NHWC[::-1])
    assert len(np.unique(golden.scores.p_crack_N)) == len(golden.names)
    np.testing.assert_allclose(backwards.p_crack_N[::-1], golden.scores.p_crack_N, atol=1e-5)


def test_read_only_and_strided_pixels(backend):
    wide = np.random.default_rng(0).integers(0, 256, (4, 64, 128, 3), dtype=np.uint8)
    strided = wide[::2, :, ::2]
    frozen = strided.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(backend.run(strided).p_crack_N, backend.run(frozen).p_crack_N)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((1, 3, 64, 64), np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((1, 32, 64, 3), np.uint8),
    ],
    ids=["empty", "float", "NCHW", "single", "size"],
)
def test_wrong_pixels_are_a_programming_error(backend, pixels):
    with pytest.raises(ValueError, match="pixels must be"):
        backend.run(pixels)


def test_a_graph_with_other_labels_than_the_bundle_is_refused(own_bundle):
    flipped = replace(own_bundle, labels=("Positive", "Negative"))
    with pytest.raises(BundleError, match="labels"):
        open_backend(flipped)


def test_positive_label_first_picks_the_first_output(own_bundle, rewrite_onnx):
    """The same graph, but it and its bundle say that the crack class comes first."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    before = open_backend(own_bundle).run(pixels).p_crack_N
    flipped = replace(own_bundle, labels=("Positive", "Negative"))
    flipped.save()

    def say_so(proto):
        said = model_metadata(flipped)
        for entry in proto.metadata_props:
            entry.value = said.get(entry.key, entry.value)

    after = open_backend(rewrite_onnx(flipped, say_so)).run(pixels).p_crack_N
    assert after == pytest.approx(1 - before, abs=1e-6)
    assert np.abs(after - before).min() > 0.01


def test_says_where_it_runs(backend):
    assert backend.device == "cpu"
    assert backend.providers == ("CPUExecutionProvider",)
    assert backend.notes == ()


@without_gpu
def test_auto_takes_the_cpu_without_a_word_where_there_is_no_gpu(tiny_bundle):
    backend = open_backend(tiny_bundle, device="auto")
    assert (backend.device, backend.notes) == ("cpu", ())


@without_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_cuda_fails_closed(tiny_bundle, device, capfd):
    with pytest.raises(BackendError) as refusal:
        open_backend(tiny_bundle, device=device)
    message = str(refusal.value)
    assert "\n" not in message
    assert f"cuda:{device[5:] or 0} was asked for" in message
    assert "came up with nothing" in message
    assert "no NVIDIA driver" in message
    assert capfd.readouterr() == ("", ""), "the engine's own noise reached the terminal"


def test_cuda_with_a_cpu_build(tiny_bundle, monkeypatch):
    monkeypatch.setattr("inspector.engines.onnxruntime.built_for_cuda", lambda: False)
    with pytest.raises(BackendError, match="this build of ONNX Runtime is for the CPU only"):
        open_backend(tiny_bundle, device="cuda")
    assert why_no_gpu() == "this build of ONNX Runtime is for the CPU only"
    monkeypatch.setattr("inspector.engines.onnxruntime.has_nvidia_driver", lambda: True)
    (note,) = open_backend(tiny_bundle, device="auto").notes
    assert note == "photos are judged on the CPU: this build of ONNX Runtime is for the CPU only"


@without_gpu
def test_why_no_gpu_says_what_a_driver_alone_does_not_give(monkeypatch):
    home = "inspector.engines.onnxruntime"
    monkeypatch.setattr(f"{home}.built_for_cuda", lambda: True)
    assert why_no_gpu() == "there is no NVIDIA driver on this machine"
    monkeypatch.setattr(f"{home}.has_nvidia_driver", lambda: True)
    assert why_no_gpu() == "the NVIDIA driver shows this process no GPU"
    monkeypatch.setattr(f"{home}.visible_gpus", lambda: 1)
    monkeypatch.setattr(f"{home}._load_cuda_libraries", lambda: "Failed to load libcublas.so.13")
    assert "cannot be loaded (Failed to load libcublas.so.13)" in why_no_gpu()
    monkeypatch.setattr(f"{home}._load_cuda_libraries", lambda: "")
    assert why_no_gpu() == ""


@without_gpu
def test_auto_falls_back_aloud_when_cuda_does_not_come_up(tiny_bundle, monkeypatch, capfd):
    """A driver without a GPU, say: CUDA is tried for real, and the reason is kept."""
    monkeypatch.setattr("inspector.engines.onnxruntime.has_nvidia_driver", lambda: True)
    backend = open_backend(tiny_bundle, device="auto")
    assert backend.device == "cpu"
    (note,) = backend.notes
    assert note.startswith("photos are judged on the CPU: ") and "was asked for" not in note
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", "auto:1", "CUDA", ""])
def test_unknown_devices(tiny_bundle, device):
    with pytest.raises(UsageError, match="unknown device"):
        open_backend(tiny_bundle, device=device)


def test_unknown_precision_names_what_there_is(tiny_bundle):
    with pytest.raises(BundleError, match="onnx-fp32"):
        open_backend(tiny_bundle, precision="int8")


def test_truncated_model(own_bundle, capfd):
    file = own_bundle.path / "model.onnx"
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        ModelBundle.load(own_bundle.path)
    with pytest.raises(BundleError, match="not an ONNX model"):
        open_backend(ModelBundle.load(own_bundle.path, verify=False))
    assert capfd.readouterr() == ("", "")


def test_one_changed_byte_is_found(own_bundle):
    file = own_bundle.path / "model.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        ModelBundle.load(own_bundle.path)


def test_missing_file_is_named(own_bundle):
    (own_bundle.path / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        ModelBundle.load(own_bundle.path)


def test_a_variant_without_a_hash_is_refused(own_bundle):
    files = {name: h for name, h in own_bundle.files.items() if name != "model.onnx"}
    replace(own_bundle, files=files).save()
    with pytest.raises(BundleError, match=r"model\.onnx has no hash"):
        ModelBundle.load(own_bundle.path)


def test_a_file_outside_the_bundle_is_refused(own_bundle):
    (own_bundle.path.parent / "secret").write_text("x")
    replace(own_bundle, files={**own_bundle.files, "../secret": "0"}).save()
    with pytest.raises(BundleError, match=r"\.\./secret' is not the name of a file"):
        ModelBundle.load(own_bundle.path)


@pytest.mark.parametrize("key", ["digest", "labels", "positive", "temperature", "preprocess"])
def test_an_onnx_of_another_model_is_refused(own_bundle, rewrite_onnx, key):
    def forge(proto):
        for entry in proto.metadata_props:
            if entry.key == key:
                entry.value = "other"

    with pytest.raises(BundleError, match=rf"other {key}"):
        open_backend(rewrite_onnx(own_bundle, forge))


def test_other_thresholds_need_another_export(own_bundle):
    moved = replace(own_bundle, thresholds=Thresholds(clear_below=0.1, crack_from=0.9))
    with pytest.raises(BundleError, match="inspector export"):
        open_backend(moved)


def test_a_graph_with_other_outputs_is_refused(own_bundle, rewrite_onnx):
    def drop_cam(proto):
        del proto.graph.output[1]

    with pytest.raises(BundleError, match="answers"):
        open_backend(rewrite_onnx(own_bundle, drop_cam))


def test_answers_that_are_no_numbers_never_become_verdicts(own_bundle, rewrite_onnx):
    def poison(proto):
        bias = next(w for w in proto.graph.initializer if w.name.endswith("fc.bias"))
        bias.CopyFrom(onnx.numpy_helper.from_array(np.full(2, np.nan, np.float32), bias.name))

    backend = open_backend(rewrite_onnx(own_bundle, poison))
    with pytest.raises(BackendError, match="no number for 3 of 3 images"):
        backend.run(np.zeros((3, 64, 64, 3), np.uint8))


def test_a_scan_engine_needs_no_torch(tiny_bundle_dir):
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from inspector.model.bundle import ModelBundle\n"
        "from inspector.engines import open_backend\n"
        "b = open_backend(ModelBundle.load(Path(sys.argv[1])), device='cpu')\n"
        "b.run(np.zeros((1, 64, 64, 3), np.uint8)); b.close()\n"
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, os.fspath(tiny_bundle_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
