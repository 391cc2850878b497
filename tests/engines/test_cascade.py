"""Each image gets exactly one stage's answer, and doubt is always handed on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engines import open_backend
from inspector.engines.cascade import CascadeBackend, Doubt, Stage
from inspector.errors import BundleError, UsageError
from inspector.model.bundle import Cascade, Thresholds
from inspector.model.preprocess import shrink
from inspector.types import Scores

NEVER = Doubt(((0.0, 1.1),))


class Reader:
    """An engine whose probability is the image's first grey level, plus `offset` levels."""

    device, why = "cpu", "asked for"
    providers: tuple[str, ...] = ("test",)
    notes: tuple[str, ...] = ()

    def __init__(self, name: str, grid: int, offset: int = 0) -> None:
        self.name = name
        self.stages: tuple[str, ...] = (name,)
        self.grid, self.offset = grid, offset
        self.seen: list[int] = []
        self.closed = False

    def run(self, pixels_NHWC):
        self.seen += [int(image[0, 0, 0]) for image in pixels_NHWC]
        p_N = (pixels_NHWC[:, 0, 0, 0].astype(np.float32) + self.offset) / 255
        cam_NHW = np.zeros((len(p_N), self.grid, self.grid), np.float32)
        cam_NHW[:, -1, 0] = 1
        return Scores(p_N, cam_NHW, np.zeros_like(p_N))

    def close(self):
        self.closed = True


def grey(*levels: int):
    return np.stack([np.full((8, 8, 3), level, np.uint8) for level in levels])


def floats(*values: float):
    return np.array(values, np.float32)


def cascade_of(*doubts: Doubt) -> tuple[CascadeBackend, list[Reader]]:
    readers = [Reader(f"stage{k}", 2 + k, k) for k in range(len(doubts) + 1)]
    sizes = [4, *[8] * len(doubts)]
    stages = [
        Stage(reader, size, doubt)
        for reader, size, doubt in zip(readers, sizes, [*doubts, Doubt()], strict=True)
    ]
    return CascadeBackend(stages, threads=2), readers


@given(st.lists(st.integers(0, 250), min_size=1, max_size=40))
def test_every_image_has_the_answer_of_the_first_stage_without_doubt(levels):
    backend, readers = cascade_of(Doubt(((0.1, 0.9),)), Doubt(((0.3, 0.5), (0.6, 0.7))))
    scores = backend.run(grey(*levels))
    backend.close()
    assert scores.stage_N is not None
    for level, p, stage in zip(levels, scores.p_crack_N, scores.stage_N, strict=True):
        answers = [np.float32(level + k) / np.float32(255) for k in range(3)]
        in_doubt = [
            0.1 <= answers[0] < 0.9,
            any(a <= answers[1] < b for a, b in ((0.3, 0.5), (0.6, 0.7))),
        ]
        expected = 0 if not in_doubt[0] else 1 if not in_doubt[1] else 2
        assert (stage, p) == (expected, answers[expected])
    assert readers[0].seen == levels
    assert len(readers[1].seen) == int((scores.stage_N >= 1).sum())
    assert all(reader.closed for reader in readers)


def test_nothing_is_handed_on_where_nothing_is_in_doubt():
    backend, readers = cascade_of(
        Doubt(),
    )
    backend.run(grey(0, 100, 255))
    assert readers[1].seen == []
    backend.close()


def test_each_image_keeps_the_map_of_the_stage_that_decided():
    backend, _ = cascade_of(Doubt(((0.5, 1.1),)))
    scores = backend.run(grey(10, 200))
    backend.close()
    assert [cam_HW.shape for cam_HW in scores.cam_NHW] == [(2, 2), (3, 3)]


def answered(*p_cracks, domain=0.0):
    p_N = floats(*p_cracks)
    ood_N = np.broadcast_to(np.float32(domain), p_N.shape)
    return Scores(p_N, np.zeros((len(p_N), 1, 1), np.float32), ood_N)


def test_what_is_foreign_is_doubt():
    low = Cascade(
        file="m.onnx", backend="onnxruntime", precision="int8", size=32,
        clear_below=0.0, crack_from=0.5,
        familiar_below=1.2,
    )  # fmt: skip
    found = Doubt.between(low).about(answered(0.6, 0.6, 0.6, domain=[1.19, 1.2, np.nan]))
    assert found.tolist() == [False, True, True]
    around = Doubt.around(Thresholds(out_of_distribution=2.0), 0.0, 0.5)
    found = around.about(answered(*[0.9] * 4, domain=[1.49, 1.51, 2.49, 2.51]))
    assert found.tolist() == [False, True, True, False]


def test_no_number_is_doubt():
    assert Doubt(((0.4, 0.5),)).about(answered(np.nan, 0.3, 0.4, 0.5)).tolist() == [
        True, False, True, False,
    ]  # fmt: skip


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.05, 3), st.floats(0, 1, width=32))
def test_doubt_lies_within_the_margin_around_each_threshold(one, other, margin, p):
    low, high = sorted((one, other))
    doubt = Doubt.around(Thresholds(clear_below=low, crack_from=high), margin, 0.0)
    with np.errstate(divide="ignore"):
        logit = np.log(np.float64(p)) - np.log1p(-np.float64(p))
    gaps = [abs(logit - np.log(t / (1 - t))) for t in (low, high)]
    if abs(min(gaps) - margin) > 1e-6:
        assert doubt.about(answered(p))[0] == (min(gaps) < margin)


def test_an_edge_of_one_leaves_nothing_decided():
    assert Doubt(((0.0, 1.0),)).about(answered(0.0, 0.5, 1.0)).all()


def test_thresholds_at_the_ends_are_allowed():
    doubt = Doubt.around(Thresholds(clear_below=0.0, crack_from=1.0), 0.5, 0.0)
    assert not doubt.about(answered(0.2, 0.999)).any()


@pytest.fixture(scope="module")
def staged_bundle(tiny_bundle):
    """The tiny bundle with its own fp32 file as a first stage, on the full size."""
    low = Cascade(
        file=tiny_bundle.variant("onnxruntime", "fp32").file,
        backend="onnxruntime", precision="fp32", size=tiny_bundle.preprocess.size,
        clear_below=0.3, crack_from=0.7, familiar_below=2.0,
    )  # fmt: skip
    return dataclasses.replace(tiny_bundle, cascade=low)


def test_a_cascade_of_real_engines_answers_like_the_model(staged_bundle):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 64, 64, 3), np.uint8)
    plain, staged = open_backend(staged_bundle), open_backend(staged_bundle, cascade=True)
    assert staged.stages == ("fp32@64", "fp32@64")
    expected, got = plain.run(pixels), staged.run(pixels)
    np.testing.assert_allclose(got.p_crack_N, expected.p_crack_N, atol=1e-5)
    doubtful = (expected.p_crack_N >= 0.3) & (expected.p_crack_N < 0.7)
    assert got.stage_N.tolist() == doubtful.astype(int).tolist()
    plain.close()
    staged.close()


def test_what_is_missing_is_said_in_one_line(tiny_bundle):
    with pytest.raises(BundleError, match=r"inspector export .* --cascade"):
        open_backend(tiny_bundle, cascade=True)
    with pytest.raises(BundleError, match="no int8 variant"):
        open_backend(tiny_bundle, precision="int8")
    with pytest.raises(UsageError, match="eager runs neither"):
        open_backend(tiny_bundle, "eager", precision="int8")


def test_shrinking_keeps_the_whole_picture():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 200
    small = shrink(image, 16)
    assert small.shape == (16, 16, 3) and small.dtype == np.uint8
    assert (small[:, :7] == 0).all() and (small[:, 9:] == 200).all()
    assert (shrink(np.full((224, 224, 3), 77, np.uint8), 80) == 77).all()
