"""Several engines on one batch, and the devices they stand on."""

from __future__ import annotations

import threading
from contextlib import closing

import numpy as np
import pytest

from inspector.engines import Device, combined, has_nvidia_driver, open_backend, visible_gpus
from inspector.engines.combined import FleetBackend, open_fleet
from inspector.errors import BackendError, UsageError
from inspector.types import Scores

without_gpu = pytest.mark.skipif(has_nvidia_driver(), reason="this machine has an NVIDIA driver")


class Counting:
    """Answers each image's own number, and which of the engines it is as its stage."""

    name = "counting"
    providers: tuple[str, ...] = ("none",)
    stages: tuple[str, ...] = ("first", "second")

    def __init__(self, index=0, meeting=None, error=None):
        self.device, self.index, self.meeting, self.error = f"cuda:{index}", index, meeting, error
        self.closed = False
        self.notes: tuple[str, ...] = ()

    def run(self, pixels):
        if self.meeting:
            self.meeting.wait()
        if self.error:
            raise self.error
        n = len(pixels)
        numbers = pixels[:, 0, 0, 0].astype(np.float32)
        return Scores(numbers, numbers.reshape(n, 1, 1), numbers, np.full(n, self.index, np.uint8))

    def close(self):
        self.closed = True


def numbered(n):
    return np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("engines", [1, 2, 3, 8])
def test_answers_come_in_order(n, engines):
    with closing(FleetBackend([Counting(i) for i in range(engines)])) as backend:
        scores = backend.run(numbered(n))
    np.testing.assert_array_equal(scores.p_crack_N, np.arange(n))
    np.testing.assert_array_equal(scores.cam_NHW[:, 0, 0], np.arange(n))
    assert len(set(scores.stage_N.tolist())) == min(n, engines)


def test_engines_run_at_the_same_time():
    """Each waits for the other: one after the other would never end."""
    meeting = threading.Barrier(2, timeout=30)
    with closing(FleetBackend([Counting(i, meeting) for i in range(2)])) as backend:
        assert len(backend.run(numbered(4)).p_crack_N) == 4


def test_real_engines_answer_like_one(tiny_bundle):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    with closing(open_backend(tiny_bundle, device="cpu", threads=1)) as one:
        expected = one.run(pixels)
    several = [open_backend(tiny_bundle, device="cpu", threads=1) for _ in range(3)]
    with closing(FleetBackend(several)) as backend:
        scores = backend.run(pixels)
    np.testing.assert_allclose(scores.p_crack_N, expected.p_crack_N, atol=1e-5)
    np.testing.assert_allclose(scores.cam_NHW, expected.cam_NHW, atol=1e-3)
    assert scores.stage_N is None
    assert (backend.name, backend.device) == ("onnxruntime", "cpu, cpu, cpu")


def test_one_failing_gpu_fails_the_batch_and_the_others_finish():
    engines = [Counting(0), Counting(1, error=BackendError("cuda:1 fell off the bus")), Counting(2)]
    with closing(FleetBackend(engines)) as backend:
        with pytest.raises(BackendError, match="cuda:1 fell off the bus"):
            backend.run(numbered(6))
        engines[1].error = None
        np.testing.assert_array_equal(backend.run(numbered(6)).p_crack_N, np.arange(6))


def test_notes_name_their_gpu():
    engines = [Counting(0), Counting(1)]
    engines[1].notes = ("memory did not hold 8 images at once",)
    with closing(FleetBackend(engines)) as backend:
        assert backend.notes == ("cuda:1: memory did not hold 8 images at once",)


def test_every_visible_gpu_gets_an_engine(monkeypatch):
    monkeypatch.setattr(combined, "visible_gpus", lambda: 3)
    opened = []

    def open_one(device):
        opened.append(Counting(int(device[5:])))
        return opened[-1]

    backend = open_fleet(open_one)
    assert backend.device == "cuda:0, cuda:1, cuda:2"
    backend.close()
    assert [engine.closed for engine in opened] == [True] * 3


def test_engines_are_closed_when_one_does_not_come_up(monkeypatch):
    monkeypatch.setattr(combined, "visible_gpus", lambda: 2)
    opened = []

    def open_one(device):
        if device == "cuda:1":
            raise BackendError("no kernels for cuda:1")
        opened.append(Counting())
        return opened[-1]

    with pytest.raises(BackendError, match="no kernels"):
        open_fleet(open_one)
    assert [engine.closed for engine in opened] == [True]


@without_gpu
@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt", "torchscript"])
def test_cuda_all_fails_closed(tiny_bundle, name):
    with pytest.raises(BackendError) as refusal:
        open_backend(tiny_bundle, name, device="cuda:all")
    message = str(refusal.value)
    assert "\n" not in message
    assert "cuda:all was asked for, but there is no NVIDIA driver" in message
    assert "use --device cpu" in message


@without_gpu
def test_no_driver_shows_no_gpu():
    assert visible_gpus() == 0


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", Device("auto")),
        ("cpu", Device("cpu")),
        ("cuda", Device("cuda", 0)),
        ("cuda:3", Device("cuda", 3)),
        ("cuda:all", Device("cuda", every=True)),
    ],
)
def test_devices(text, device):
    assert Device.parse(text) == device
    assert Device.parse(str(device)) == device


@pytest.mark.parametrize("text", ["cuda:ALL", "cpu:all", "all", "cuda:-1", "cuda:1,2", "cuda:٣"])
def test_unknown_devices(text):
    with pytest.raises(UsageError, match=r"choose auto, cpu, cuda, cuda:<i> or cuda:all"):
        Device.parse(text)
