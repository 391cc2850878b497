"""TensorRT without a GPU: it refuses in one line, and asks for what it should ask for."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from inspector.engines import Device, has_nvidia_driver, open_backend, tensorrt
from inspector.engines import onnxruntime as ort
from inspector.errors import BackendError, UsageError

without_gpu = pytest.mark.skipif(has_nvidia_driver(), reason="this machine has an NVIDIA driver")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setattr(tensorrt, "private_folder", lambda: folder)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "")  # so that it is put back
    return folder


@without_gpu
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_fails_closed(tiny_bundle, device, capfd):
    with pytest.raises(BackendError) as refusal:
        open_backend(tiny_bundle, "tensorrt", device=device)
    message = str(refusal.value)
    assert "\n" not in message
    assert message.startswith(f"TensorRT on cuda:{device[5:] or 0} was asked for, but")
    assert "pip install" in message
    assert "--backend onnxruntime" in message
    assert capfd.readouterr() == ("", "")


def test_a_build_without_it(tiny_bundle, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match="this build of ONNX Runtime has no TensorRT provider"):
        open_backend(tiny_bundle, "tensorrt")


def test_cpu_and_int8_are_refused(tiny_bundle, int8_bundle):
    with pytest.raises(BackendError, match="needs an NVIDIA GPU, but cpu was asked for"):
        open_backend(tiny_bundle, "tensorrt", device="cpu")
    with pytest.raises(UsageError, match="does not run --precision int8; choose fp32 or fp16"):
        open_backend(int8_bundle, "tensorrt", precision="int8")


class Pretending:
    """A CPU session that says it runs in TensorRT."""

    def __init__(self, session, providers):
        self._session, self._providers = session, providers

    def __getattr__(self, name):
        return getattr(self._session, name)

    def get_providers(self):
        return self._providers

    def get_provider_options(self):
        return {"CUDAExecutionProvider": {"device_id": "0"}}


@pytest.fixture
def asked(monkeypatch):
    """The providers that were asked for; what comes up instead is a CPU session that claims to run
    in `asked.found`."""

    class Asked(list):
        found = (tensorrt.TENSORRT, ort.CUDA, ort.CPU)

    real, seen = ort.create, Asked()

    def create(file, threads, providers):
        seen.extend(providers)
        return Pretending(real(file, threads, [ort.CPU]), list(seen.found))

    monkeypatch.setattr(ort, "create", create)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [tensorrt.TENSORRT])
    monkeypatch.setattr(ort, "has_nvidia_driver", lambda: True)
    # Its buffers would be made on a GPU.
    monkeypatch.setattr(
        "inspector.engines.onnxruntime.BoundSession", lambda session, *_: session_run(session)
    )
    return seen


def session_run(session):
    return lambda pixels: tuple(session.run(None, {"images": pixels}))


def test_a_session_that_fell_back_to_cuda_is_refused(tiny_bundle, asked):
    asked.found = (ort.CUDA, ort.CPU)
    with pytest.raises(BackendError, match="came up with CUDAExecutionProvider and CPU"):
        open_backend(tiny_bundle, "tensorrt")


def test_another_gpu_than_asked_for_is_refused(tiny_bundle, asked):
    with pytest.raises(BackendError, match="TensorRT on cuda:1 was asked for"):
        open_backend(tiny_bundle, "tensorrt", device="cuda:1")


def test_what_is_asked_for(tiny_bundle, asked, own_cache):
    backend = open_backend(tiny_bundle, "tensorrt", device="cuda")
    (name, options), (second, _) = asked
    assert (name, second) == (tensorrt.TENSORRT, ort.CUDA)
    assert options["trt_fp16_enable"] == "0"
    assert options["trt_engine_cache_enable"] == "1"
    assert options["trt_profile_min_shapes"] == "images:1x64x64x3"
    assert options["trt_profile_max_shapes"] == "images:256x64x64x3"
    (kept,) = (own_cache / "tensorrt").iterdir()
    assert options["trt_engine_cache_path"] == str(kept)
    assert kept.name.startswith(
        f"{tiny_bundle.digest[:12]}-{tiny_bundle.files['model.onnx'][:12]}-"
    )
    assert onnxruntime.__version__ in kept.name
    assert backend.name == "tensorrt"
    assert backend.device == "cuda:0"
    assert backend.notes == ()


def test_batches_stay_within_the_profile(tiny_bundle, asked, monkeypatch):
    monkeypatch.setattr(tensorrt.TensorRtBackend, "most", 4)
    sizes = []

    def bound(session, *_):
        def run(pixels):
            sizes.append(len(pixels))
            return session_run(session)(pixels)

        return run

    monkeypatch.setattr("inspector.engines.onnxruntime.BoundSession", bound)
    backend = tensorrt.TensorRtBackend(tiny_bundle)
    assert len(backend.run(np.zeros((10, 64, 64, 3), np.uint8)).p_crack_N) == 10
    assert sizes == [4, 4, 2]
    assert backend.notes == ()


def test_fp16_is_asked_for_only_with_fp16():
    for fp16 in (False, True):
        options = tensorrt._options(Device("cuda", 1), 224, fp16=fp16, folder=None)
        assert options["trt_fp16_enable"] == str(int(fp16))
        assert options["device_id"] == "1"
        assert "trt_engine_cache_enable" not in options


def test_a_home_that_cannot_be_written_only_means_building_again(tiny_bundle, asked, own_cache):
    own_cache.write_text("a file where the folder should be")
    (note,) = open_backend(tiny_bundle, "tensorrt").notes
    assert "cannot be kept" in note
