"""The dense view's engine: one answer for every window, whatever the photo's size and blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.engines import dense as module
from inspector.engines.dense import open_dense, take_places
from inspector.errors import BackendError, BundleError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.model.golden import read_golden
from inspector.model.verdict import log_odds
from inspector.model.windows import MOST_PIXELS, STRIDE, plan_blocks
from inspector.synthesis import Kind, make_scene
from inspector.synthesis.crack import CrackStyle, add_crack

WHOLE = 100_000_000
"""Pixels of a block that every photo here fits into."""


@pytest.fixture(scope="module")
def shipped():
    return ModelBundle.load(DEFAULT_PATH)


@pytest.fixture(scope="module")
def engine(shipped):
    opened = open_dense(shipped, device="cpu", precision="int8")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def usual_blocks(engine):
    usual = engine._most, engine._smaller
    yield
    engine._most, engine._smaller = usual


def scene(height, width, kind=Kind.CRACK, seed=0):
    return make_scene(np.random.default_rng(seed), height, width, kind).pixels


def wall(height, width, seed=0):
    """A photo of any size: scenes side by side, with edges between them."""
    tile = scene(256, 256, seed=seed)
    return np.tile(tile, (-(-height // 256), -(-width // 256), 1))[:height, :width]


def test_blocks_agree_with_one_pass_over_the_photo(engine):
    @settings(max_examples=8, deadline=None)
    @given(
        st.integers(300, 1100), st.integers(300, 1100), st.integers(300_000, 900_000),
        st.sampled_from((0, 1, 2, 3)),
    )  # fmt: skip
    def agree(height, width, most, turns):
        pixels_HWC = np.ascontiguousarray(np.rot90(wall(height, width), turns))
        engine._most = WHOLE
        whole = engine.run(pixels_HWC)
        engine._most = most
        parts = engine.run(pixels_HWC)
        assert (parts.left, parts.top) == (whole.left, whole.top)
        assert np.abs(parts.log_odds_HW - whole.log_odds_HW).max() < 0.01
        assert np.abs(parts.ood_HW - whole.ood_HW).max() < 0.15

    agree()


@given(
    side=st.integers(1, 70),
    first=st.integers(-160, 40),
    length=st.integers(1, 200),
    axis=st.sampled_from([0, 1]),
)
def test_pixels_beyond_the_border_are_those_of_the_reflection(side, first, length, axis):
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    places = np.pad(np.arange(side), 400, mode="reflect" if side > 1 else "edge")
    places = places[400 + first : 400 + first + length]
    assert np.array_equal(take_places(pixels, places, axis), pixels.take(places, axis))


def test_a_lone_tile_is_judged_as_by_the_variant_for_tiles(shipped):
    golden = read_golden(shipped)
    engine = open_dense(shipped, device="cpu")
    log_odds_N, ood_N = engine.judge_lone(golden.pixels_NHWC)
    # Beyond 8, float32 has too few probabilities beside 1 to tell log odds to a thousandth.
    expected_N = np.clip(log_odds(golden.scores.p_crack_N), -8, 8)
    seen_N = np.clip(log_odds_N / shipped.temperature, -8, 8)
    assert seen_N == pytest.approx(expected_N, abs=1e-3)
    assert ood_N == pytest.approx(golden.scores.ood_N, rel=1e-3)
    engine.close()


@pytest.mark.parametrize("sides", [(1, 1), (1, 500), (223, 90), (337, 224), (448, 448)])
def test_any_size_has_windows_over_every_pixel(engine, sides):
    pixels_HWC = wall(*sides)
    found = engine.run(pixels_HWC)
    rows, columns = found.log_odds_HW.shape
    assert found.ood_HW.shape == (rows, columns)
    assert found.cells_HW.shape == (rows + 6, columns + 6)
    assert found.left < 0 and found.top < 0
    assert found.left + (columns - 1) * STRIDE + found.size >= sides[1]
    assert found.top + (rows - 1) * STRIDE + found.size >= sides[0]
    assert found.log_odds_HW[0, 0] == pytest.approx(found.cells_HW[:7, :7].mean(), abs=1e-4)


def test_an_even_photo_is_even_but_for_its_border(engine):
    grey = engine.run(np.full((500, 700, 3), 128, np.uint8))
    assert np.ptp(grey.log_odds_HW) < 0.5


def test_a_crack_is_found_where_it_is(engine):
    pixels_HWC = scene(800, 1000, Kind.CLEAN, seed=3)
    before = engine.run(pixels_HWC)
    style = CrackStyle(width_px=3.0, contrast=0.8, through=False)
    patch = pixels_HWC[300:396, 600:696]
    pixels_HWC[300:396, 600:696], mask = add_crack(patch, np.random.default_rng(1), style)
    found = engine.run(pixels_HWC)
    added_HW = found.cells_HW - before.cells_HW
    row, column = np.unravel_index(added_HW.argmax(), added_HW.shape)
    y, x = found.top + (row + 0.5) * STRIDE, found.left + (column + 0.5) * STRIDE
    down, across = (axis.mean() for axis in np.nonzero(mask))
    assert added_HW.max() > 5
    assert abs(y - 300 - down) < 48 and abs(x - 600 - across) < 48


def test_calibration_is_the_bundles(shipped, engine):
    pixels_HWC = wall(400, 400)
    usual = engine.run(pixels_HWC)
    engine_dense, dense = engine._dense, shipped.dense
    engine._dense = replace(dense, temperature=2 * dense.temperature, shift=dense.shift + 1)
    try:
        other = engine.run(pixels_HWC)
    finally:
        engine._dense = engine_dense
    expected_HW = (usual.log_odds_HW - dense.shift) / 2 + dense.shift + 1
    assert other.log_odds_HW == pytest.approx(expected_HW, abs=1e-4)


class Failing:
    """A session that has memory for blocks of so many pixels."""

    def __init__(self, session, most, message="Failed to allocate memory"):
        self._session, self._most, self._message = session, most, message

    def run(self, names, feeds):
        if feeds["images"].size // 3 > self._most:
            raise RuntimeError(self._message)
        return self._session.run(names, feeds)


def test_short_memory_leads_to_smaller_blocks(engine, monkeypatch):
    monkeypatch.setattr(module, "_FEWEST_PIXELS", 200_000)
    pixels_HWC = wall(900, 1000)
    expected = engine.run(pixels_HWC)
    monkeypatch.setattr(engine, "_session", Failing(engine._session, 700_000))
    found = engine.run(pixels_HWC)
    assert np.abs(found.log_odds_HW - expected.log_odds_HW).max() < 0.01
    (note,) = engine.notes
    assert "memory did not hold" in note


def test_other_failures_are_errors_of_the_engine(engine, monkeypatch):
    monkeypatch.setattr(engine, "_session", Failing(engine._session, 0, "no kernel"))
    with pytest.raises(BackendError, match="no kernel"):
        engine.run(wall(300, 300))


def test_a_panorama_is_judged_in_blocks_of_bounded_size(engine, monkeypatch):
    """30,000 x 600 px, without the network: the memory is that of the largest block."""
    seen = []

    class Counting:
        def run(self, _, feeds):
            (_, height, width, _) = feeds["images"].shape
            seen.append(height * width)
            rows, columns = height // STRIDE, width // STRIDE
            zeros = np.zeros((1, rows, columns), np.float32)
            return zeros, zeros[:, 6:, 6:]

    monkeypatch.setattr(engine, "_session", Counting())
    found = engine.run(np.zeros((600, 30_000, 3), np.uint8))
    assert found.log_odds_HW.shape[1] > 930
    assert max(seen) <= MOST_PIXELS and sum(seen) == plan_blocks(600, 30_000, 224).pixels


def test_a_bundle_without_a_dense_view_says_so(tiny_bundle, shipped):
    assert tiny_bundle.dense is None
    with pytest.raises(BundleError, match="no dense view"):
        open_dense(tiny_bundle)
    tiles = {name: v for name, v in shipped.variants.items() if v.view == "whole"}
    with pytest.raises(BundleError, match="no dense int8 variant"):
        open_dense(replace(shipped, variants=tiles), precision="int8")


def test_other_engines_leave_photos_to_onnx_runtime(shipped):
    engine = open_dense(shipped, "openvino", device="cpu", precision="int8")
    assert engine.stage == "int8@dense" and "ONNX Runtime, not openvino" in engine.notes[0]
    engine.close()


def test_pixels_of_another_kind_are_a_mistake(engine):
    with pytest.raises(ValueError, match="uint8"):
        engine.run(np.zeros((300, 300, 3), np.float32))
