"""Each image has exactly one stage's answers, and what a stage is not sure of is deferred."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.photos import golden_inputs
from inspector.engines import open_backend, open_engine
from inspector.engines.combined import DeferringBackend, UncertaintyBand, chain
from inspector.errors import BundleError, UsageError
from inspector.model.bundle import Thresholds, Variant
from inspector.types import Scores
from tests.engines.narrow import with_narrow


class Reader:
    """An engine whose probability is the image's first grey level, plus `offset` levels."""

    device = "cpu"
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


def stages_with(*bands: UncertaintyBand) -> tuple[DeferringBackend, list[Reader]]:
    readers = [Reader(f"stage{k}", 2 + k, k) for k in range(len(bands) + 1)]
    pairs = zip(readers, [*bands, UncertaintyBand()], strict=True)
    return DeferringBackend(list(pairs)), readers


@given(st.lists(st.integers(0, 250), min_size=1, max_size=40))
def test_run_takes_each_answer_from_the_first_stage_that_is_sure(levels):
    backend, readers = stages_with(
        UncertaintyBand(((0.1, 0.9),)), UncertaintyBand(((0.3, 0.5), (0.6, 0.7)))
    )
    scores = backend.run(grey(*levels))
    backend.close()
    assert scores.stage_N is not None
    for level, p, stage in zip(levels, scores.p_crack_N, scores.stage_N, strict=True):
        answers = [np.float32(level + k) / np.float32(255) for k in range(3)]
        unsure = [
            0.1 <= answers[0] < 0.9,
            any(a <= answers[1] < b for a, b in ((0.3, 0.5), (0.6, 0.7))),
        ]
        expected = 0 if not unsure[0] else 1 if not unsure[1] else 2
        assert (stage, p) == (expected, answers[expected])
    assert readers[0].seen == levels
    assert len(readers[1].seen) == int((scores.stage_N >= 1).sum())
    assert all(reader.closed for reader in readers)


def test_run_defers_nothing_from_an_empty_band():
    backend, readers = stages_with(UncertaintyBand())
    backend.run(grey(0, 100, 255))
    assert readers[1].seen == []
    backend.close()


def test_run_keeps_the_map_of_the_stage_that_answered():
    backend, _ = stages_with(UncertaintyBand(((0.5, 1.1),)))
    scores = backend.run(grey(10, 200))
    backend.close()
    assert [cam_HW.shape for cam_HW in scores.cam_NHW] == [(2, 2), (3, 3)]


def answered(*p_cracks, domain=0.0):
    p_N = floats(*p_cracks)
    ood_N = np.broadcast_to(np.float32(domain), p_N.shape)
    return Scores(p_N, np.zeros((len(p_N), 1, 1), np.float32), ood_N)


def test_contains_ood_scores_within_the_margin_of_their_threshold():
    band = UncertaintyBand.around(Thresholds(out_of_distribution=2.0), 0.0, 0.5)
    found = band.contains(answered(*[0.9] * 5, domain=[1.49, 1.51, 2.49, 2.51, np.nan]))
    assert found.tolist() == [False, True, True, False, True]


def test_contains_what_is_not_a_number():
    assert UncertaintyBand(((0.4, 0.5),)).contains(answered(np.nan, 0.3, 0.4, 0.5)).tolist() == [
        True, False, True, False,
    ]  # fmt: skip


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.05, 3), st.floats(0, 1, width=32))
def test_contains_probabilities_within_the_margin_of_each_threshold(one, other, margin, p):
    low, high = sorted((one, other))
    band = UncertaintyBand.around(Thresholds(clear_below=low, crack_from=high), margin, 0.0)
    with np.errstate(divide="ignore"):
        logit = np.log(np.float64(p)) - np.log1p(-np.float64(p))
    gaps = [abs(logit - np.log(t / (1 - t))) for t in (low, high)]
    if abs(min(gaps) - margin) > 1e-6:
        assert band.contains(answered(p))[0] == (min(gaps) < margin)


def test_contains_everything_in_a_band_from_0_to_1():
    assert UncertaintyBand(((0.0, 1.0),)).contains(answered(0.0, 0.5, 1.0)).all()


def test_around_thresholds_of_0_and_1_contains_nothing_between():
    band = UncertaintyBand.around(Thresholds(clear_below=0.0, crack_from=1.0), 0.5, 0.0)
    assert not band.contains(answered(0.2, 0.999)).any()


def test_open_backend_without_the_variant_says_so_in_one_line(tiny_bundle):
    with pytest.raises(BundleError, match="no int8 variant"):
        open_backend(tiny_bundle, precision="int8")
    with pytest.raises(UsageError, match="eager runs fp32 only"):
        open_backend(tiny_bundle, "eager", precision="int8")


def test_open_backend_defers_what_lies_within_a_variants_margin(tiny_bundle):
    """The tiny bundle's own fp32 file stands for a variant that is not sure."""
    exact = tiny_bundle.variant("onnxruntime", "fp32")
    unsure = dataclasses.replace(exact, precision="int8", margin=1.0)
    bundle = dataclasses.replace(
        tiny_bundle, variants={**tiny_bundle.variants, "onnx-int8": unsure}
    )
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), np.uint8)
    thresholds = Thresholds(clear_below=0.4, crack_from=0.6)
    plain = open_backend(bundle)
    staged = open_backend(bundle, precision="int8", thresholds=thresholds)
    assert staged.stages == ("int8@64", "fp32@64")
    expected, got = plain.run(pixels_NHWC), staged.run(pixels_NHWC)
    np.testing.assert_allclose(got.p_crack_N, expected.p_crack_N, atol=1e-5)
    deferred_N = UncertaintyBand.around(thresholds, 1.0, 0.0).contains(expected)
    assert got.stage_N is not None and got.stage_N.tolist() == deferred_N.astype(int).tolist()
    plain.close()
    staged.close()


@given(st.floats(0, 1, width=32), st.floats(0, 3, width=32), st.sampled_from((None, 1.5)))
def test_a_narrow_variant_decides_only_what_is_beyond_all_thresholds_and_familiar(p, ood, limit):
    narrow = Variant(
        file="n.onnx", backend="onnxruntime", precision="narrow", margin=1.0, crack_margin=0.5,
        ood_margin=0.25,
    )  # fmt: skip
    thresholds = Thresholds(clear_below=0.2, crack_from=0.6, out_of_distribution=limit)
    low, high = (1 / (1 + np.exp(-(np.log(t / (1 - t)) + m))) for t, m in ((0.2, -1), (0.6, 0.5)))
    sure = (p < low or p >= high) and ood < (limit or 2.0) - 0.25
    if min(abs(p - low), abs(p - high)) > 1e-6:
        assert UncertaintyBand.of(narrow, thresholds).contains(answered(p, domain=ood))[0] != sure


def test_a_narrow_variant_has_a_margin_on_both_sides_and_no_other_has():
    some: dict[str, Any] = {"file": "n.onnx", "backend": "onnxruntime"}
    with pytest.raises(UsageError, match="crack_margin"):
        Variant(**some, precision="narrow")
    with pytest.raises(UsageError, match="crack_margin"):
        Variant(**some, precision="int8", crack_margin=1.0)
    with pytest.raises(UsageError, match="negative"):
        Variant(**some, precision="narrow", crack_margin=-1.0)


def test_a_narrow_variant_is_followed_by_int8_where_there_is_one(tiny_bundle):
    exact = tiny_bundle.variant("onnxruntime", "fp32")
    variants = {
        "narrow": dataclasses.replace(exact, precision="narrow", crack_margin=0.0),
        "fp32": exact,
    }
    bundle = dataclasses.replace(tiny_bundle, variants=variants)
    assert list(chain(bundle, "narrow", bundle.thresholds)) == ["narrow", "fp32"]
    assert list(chain(bundle, "fp32", bundle.thresholds)) == ["fp32"]
    for margin, stages in ((0.5, ["narrow", "int8", "fp32"]), (0.0, ["narrow", "int8"])):
        int8 = dataclasses.replace(exact, precision="int8", margin=margin)
        whole = dataclasses.replace(bundle, variants={**variants, "int8": int8})
        bands = chain(whole, "narrow", whole.thresholds)
        assert list(bands) == stages
        assert bands[stages[-1]] == UncertaintyBand()


def test_the_narrow_stage_decides_first_and_the_model_what_is_left(tiny_bundle_dir, tmp_path):
    bundle = with_narrow(tiny_bundle_dir, tmp_path, gain=0.8, shift=0.1)
    pixels_NHWC = golden_inputs(64)[1]
    thresholds = Thresholds(clear_below=0.3, crack_from=0.7, out_of_distribution=1e6)
    engines = {name: open_backend(bundle, precision=name, thresholds=thresholds, device="cpu")
               for name in ("narrow", "fp32")}  # fmt: skip
    alone = open_engine(bundle, precision="narrow", device="cpu")
    found, exact, narrow = (e.run(pixels_NHWC) for e in (*engines.values(), alone))
    assert engines["narrow"].stages == ("narrow@64", "fp32@64")
    deferred_N = chain(bundle, "narrow", thresholds)["narrow"].contains(narrow)
    assert 0 < deferred_N.sum() < len(deferred_N)
    assert found.stage_N.tolist() == deferred_N.astype(int).tolist()
    expected_N = np.where(deferred_N, exact.p_crack_N, narrow.p_crack_N)
    np.testing.assert_allclose(found.p_crack_N, expected_N, atol=1e-5)
    for engine in (*engines.values(), alone):
        engine.close()


def test_a_bundle_without_a_narrow_variant_says_what_to_do(tiny_bundle):
    with pytest.raises(BundleError, match=r"no narrow variant .*choose another --precision"):
        open_backend(tiny_bundle, precision="narrow")
