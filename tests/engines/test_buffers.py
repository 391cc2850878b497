"""IO binding with buffers that are used again, on the CPU provider."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from inspector.engines.contract import FittingBatches
from inspector.engines.onnxruntime import BoundSession


@pytest.fixture(scope="module")
def session(tiny_bundle_dir):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        tiny_bundle_dir / "model.onnx", options, providers=["CPUExecutionProvider"]
    )


def noise(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)


def plain(session, pixels):
    return session.run(None, {"images": np.ascontiguousarray(pixels)})


def test_the_same_answers_as_without_binding(session):
    bound = BoundSession(session, "cpu")
    for seed, n in enumerate([3, 1, 3, 2, 3]):
        for found, expected in zip(
            bound(noise(n, seed)), plain(session, noise(n, seed)), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == np.float32


def test_answers_survive_the_next_run(session):
    """The next run writes into the same buffers: a verdict must not change under its owner."""
    bound = BoundSession(session, "cpu")
    first = bound(noise(3, 0))
    kept = [answer.copy() for answer in first]
    second = bound(noise(3, 1))
    assert np.abs(first[0] - second[0]).max() > 1e-4
    for answer, before in zip(first, kept, strict=True):
        np.testing.assert_array_equal(answer, before)


def test_a_buffer_is_used_again_for_its_shape_only(session):
    bound = BoundSession(session, "cpu")
    bound(noise(3, 0))
    buffer = bound._buffer
    bound(noise(3, 1))
    assert bound._buffer is buffer is not None
    bound(noise(2, 2))
    assert bound._buffer is not buffer and bound._buffer.shape[0] == 2


def test_strided_and_read_only_pixels(session):
    wide = np.random.default_rng(0).integers(0, 256, (4, 64, 128, 3), dtype=np.uint8)
    strided = wide[::2, :, ::2]
    frozen = strided.copy()
    frozen.setflags(write=False)
    bound = BoundSession(session, "cpu")
    for pixels in (strided, frozen):
        np.testing.assert_array_equal(bound(pixels)[0], plain(session, strided)[0])


def test_after_an_error_no_buffer_is_kept(session):
    """What held the batch that was too big must be free before the smaller one is tried."""

    class Short:
        def io_binding(self):
            return session.io_binding()

        def run_with_iobinding(self, binding):
            if bound_sizes[-1] > 2:
                raise RuntimeError("CUDA failure 2: out of memory")
            session.run_with_iobinding(binding)

    bound = BoundSession(Short(), "cpu")
    bound_sizes = []

    def run_once(pixels):
        bound_sizes.append(len(pixels))
        if len(bound_sizes) in (3, 4):  # right after the first and the second failure
            assert bound._buffer is None
        return bound(pixels)

    batches = FittingBatches(run_once)
    batches.run(noise(2, 0))
    pixels = noise(7, 5)
    np.testing.assert_allclose(batches.run(pixels)[0], plain(session, pixels)[0], atol=1e-6)
    assert bound_sizes == [2, 7, 4, 2, 2, 2, 1]
