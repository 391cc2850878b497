"""Batches that do not fit: halved, in order, once and for all."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engines.contract import FittingBatches, is_out_of_memory
from inspector.engines.onnxruntime import OnnxRuntimeBackend
from inspector.errors import BackendError

CUDA_MESSAGE = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv "
    "node. Status Message: CUDA failure 2: out of memory ; GPU=0"
)
ARENA_MESSAGE = "Failed to allocate memory for requested buffer of size 411041792"


class SmallEngine:
    """Answers each image's own number; holds at most `room` images."""

    def __init__(self, room, message=CUDA_MESSAGE):
        self.room, self.message, self.sizes = room, message, []

    def __call__(self, pixels):
        self.sizes.append(len(pixels))
        if len(pixels) > self.room:
            raise RuntimeError(self.message)
        numbers = pixels.reshape(len(pixels), -1)[:, 0].astype(np.float32)
        return np.stack([numbers, numbers], 1), numbers.reshape(-1, 1, 1), numbers


def numbered(n):
    return np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)


@given(n=st.integers(1, 200), room=st.integers(1, 200), most=st.none() | st.integers(1, 200))
def test_every_image_gets_its_own_answer(n, room, most):
    engine = SmallEngine(room)
    probabilities, cam, domain = FittingBatches(engine, most=most).run(numbered(n))
    np.testing.assert_array_equal(probabilities[:, 0], np.arange(n))
    np.testing.assert_array_equal(cam[:, 0, 0], np.arange(n))
    np.testing.assert_array_equal(domain, np.arange(n))


def test_the_size_that_fits_is_kept_and_said_once():
    engine = SmallEngine(room=20)
    batches = FittingBatches(engine)
    batches.run(numbered(100))
    assert engine.sizes == [100, 50, 25, 13, 12, 13, 12, 13, 13, 13, 11]
    engine.sizes.clear()
    batches.run(numbered(100))
    assert max(engine.sizes) == 13
    assert batches.notes == ("memory did not hold 25 images at once: the engine gets at most 13",)


def test_nothing_is_said_when_all_is_well():
    batches = FittingBatches(SmallEngine(room=8), most=8)
    batches.run(numbered(20))
    assert batches.notes == ()


def test_one_image_that_does_not_fit_is_an_error():
    engine = SmallEngine(room=0)
    with pytest.raises(RuntimeError, match="out of memory"):
        FittingBatches(engine).run(numbered(4))
    assert engine.sizes == [4, 2, 1]


def test_other_errors_are_not_retried():
    engine = SmallEngine(room=0, message="CUDA failure 700: an illegal memory access")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        FittingBatches(engine).run(numbered(4))
    assert engine.sizes == [4]


def test_the_failed_run_is_let_go_before_the_next():
    """Its traceback would hold on to the buffers that did not fit."""
    import gc
    import weakref

    class Held:
        pass

    seen: list[weakref.ref] = []

    def run_once(pixels):
        assert all(reference() is None for reference in seen)
        if len(pixels) > 1:
            big = Held()
            seen.append(weakref.ref(big))
            raise MemoryError
        return np.zeros((1, 2)), np.zeros((1, 1, 1)), np.zeros(1)

    gc.disable()
    try:
        FittingBatches(run_once).run(numbered(8))
    finally:
        gc.enable()
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (CUDA_MESSAGE, True),
        (ARENA_MESSAGE, True),
        ("Available memory of 5 is smaller than requested bytes of 9", True),
        ("CUBLAS_STATUS_ALLOC_FAILED", True),
        ("std::bad_alloc", True),
        ("mmap of 46 MB failed: Cannot allocate memory", True),
        ("CUDNN_STATUS_EXECUTION_FAILED", False),
        ("INVALID_ARGUMENT : Got invalid dimensions for input", False),
    ],
)
def test_what_counts_as_out_of_memory(message, expected):
    assert is_out_of_memory(RuntimeError(message)) is expected


class Failing:
    """A session that fails where the real one would, and is the real one otherwise."""

    def __init__(self, session, room, message):
        self.session, self.room, self.message = session, room, message

    def run(self, names, feeds):
        if len(next(iter(feeds.values()))) > self.room:
            raise RuntimeError(self.message)
        return self.session.run(names, feeds)


@pytest.fixture
def backend_with_room(tiny_bundle, monkeypatch):
    """The real engine with a session that fails above some batch size."""
    from inspector.engines.onnxruntime import open_session as real

    def make(room, message):

        def failing(*args):
            session, why = real(*args)
            proxy = Failing(session, room, message)
            for name in ("get_inputs", "get_outputs", "get_modelmeta", "get_providers"):
                setattr(proxy, name, getattr(session, name))
            return proxy, why

        with monkeypatch.context() as patch:
            patch.setattr("inspector.engines.onnxruntime.open_session", failing)
            return OnnxRuntimeBackend(tiny_bundle, device="cpu", threads=1)

    return make


def test_a_backend_halves_and_answers_the_same(backend_with_room, tiny_bundle):
    pixels = np.random.default_rng(3).integers(0, 256, (11, 64, 64, 3), dtype=np.uint8)
    whole = OnnxRuntimeBackend(tiny_bundle, device="cpu", threads=1)
    assert whole.notes == ()
    backend = backend_with_room(3, ARENA_MESSAGE)
    scores, expected = backend.run(pixels), whole.run(pixels)
    np.testing.assert_allclose(scores.p_crack_N, expected.p_crack_N, atol=1e-5)
    np.testing.assert_allclose(scores.cam_NHW, expected.cam_NHW, atol=1e-3)
    assert backend.notes == ("memory did not hold 6 images at once: the engine gets at most 3",)


@pytest.mark.parametrize(("room", "message"), [(0, ARENA_MESSAGE), (3, "device lost")])
def test_a_backend_that_cannot_go_on_says_so(backend_with_room, room, message):
    backend = backend_with_room(room, message)
    with pytest.raises(BackendError, match=rf"failed on cpu with 4 images \({message}"):
        backend.run(np.zeros((4, 64, 64, 3), np.uint8))


@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory with RLIMIT_AS")
def test_memory_that_really_runs_out(tiny_bundle_dir):
    """A real session in a process with too little memory for the batch."""
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from inspector.engines.onnxruntime import OnnxRuntimeBackend
from inspector.model.bundle import ModelBundle
backend = OnnxRuntimeBackend(ModelBundle.load(Path(sys.argv[1])), device="cpu", threads=1)
pixels = np.random.default_rng(0).integers(0, 256, (512, 64, 64, 3), np.uint8)
expected = backend.run(pixels[:1]).p_crack_N
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (150 << 20),) * 2)
scores = backend.run(pixels)
assert len(scores.p_crack_N) == 512
assert abs(scores.p_crack_N[0] - expected[0]) < 1e-5
print(*backend.notes)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, tiny_bundle_dir], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("memory did not hold")
