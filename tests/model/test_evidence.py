from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from inspector.errors import BundleError
from inspector.model.bundle import DenseView
from inspector.model.evidence import PhotoRule, components, find_candidates, judge_photo
from inspector.model.windows import WindowMap
from inspector.types import PhotoScore

SIDES = (640, 960)
RULE = {
    "grow": 2.0,
    "seed": 5.0,
    "region_from": 0.5,
    "window_from": 0.0,
    "candidate": {"bias": -6.5, "peak": 1.6, "sum": 0.4, "bent": -5.3, "tile": 0.9},
    "photo": {"bias": 0.0, "best": 1.0},
}
VIEW = DenseView(temperature=1.0, shift=0.0, photo=RULE)
STAGES = ("dense", "exact")


def window_map(cells_HW: np.ndarray, *, left: int = 0, top: int = 0) -> WindowMap:
    view = np.lib.stride_tricks.sliding_window_view(cells_HW, (7, 7))
    odds_HW = view.mean(axis=(2, 3)).astype(np.float32)
    return WindowMap(
        odds_HW, np.ones_like(odds_HW), cells_HW.astype(np.float32), 224, 32, left, top
    )


def quiet(rows: int = 20, columns: int = 30) -> np.ndarray:
    return np.full((rows, columns), -2.0, np.float32)


def with_line() -> np.ndarray:
    """Evidence along row 5, in columns 8 to 19."""
    cells_HW = quiet()
    cells_HW[5, 8:20] = 15.0
    return cells_HW


def judged(cells_HW: np.ndarray, *tiles: float, sides: tuple[int, int] = SIDES) -> PhotoScore:
    found = window_map(cells_HW)
    return judge_photo(found, find_candidates(found, sides, VIEW), tiles, sides, VIEW, STAGES)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_components_are_those_that_touch(rows: int, columns: int, seed: int, share: float) -> None:
    is_in = np.random.default_rng(seed).random((rows, columns)) < share
    label = components(is_in)
    expected, count = ndimage.label(is_in, np.ones((3, 3)))
    assert np.array_equal(label >= 0, is_in)
    assert len(np.unique(label[is_in])) == count
    pairs = set(zip(label[is_in].tolist(), expected[is_in].tolist(), strict=True))
    assert len(pairs) == count


def test_a_line_is_one_region_in_its_place() -> None:
    score = judged(with_line())
    assert score.p_crack > 0.7
    (region,) = score.regions
    assert (region.x, region.y, region.width, region.height) == (8 * 32, 5 * 32, 12 * 32, 32)
    assert region.length_at_least <= 12 * 32 <= region.length_at_most
    assert region.stage == "dense"
    assert 8 / 30 < score.peak_x < 20 / 30
    assert 5 / 20 < score.peak_y < 6 / 20
    assert 0 < score.crack_windows < score.windows == 14 * 24


def test_a_photo_without_evidence_has_no_region() -> None:
    score = judged(quiet())
    assert score.p_crack < 0.1
    assert score.regions == ()


def test_lines_apart_are_regions_apart() -> None:
    cells_HW = with_line()
    cells_HW[14, 3:12] = 12.0
    first, second = judged(cells_HW).regions
    assert first.p_crack >= second.p_crack
    assert {first.y, second.y} == {5 * 32, 14 * 32}


def test_evidence_lies_where_the_offset_says() -> None:
    view = replace(VIEW, offset_x=-8.0, offset_y=-10.0)
    (candidate,) = find_candidates(window_map(with_line()), SIDES, view)
    assert (candidate.x, candidate.y) == (8 * 32 - 8, 5 * 32 - 10)
    assert (candidate.width, candidate.height) == (12 * 32, 32)


def test_boxes_and_tiles_stay_inside_the_photo() -> None:
    cells_HW = quiet()
    cells_HW[:, 29] = 15.0
    cells_HW[19, 0] = 15.0
    for sides in ((640, 960), (630, 950)):
        candidates = find_candidates(window_map(cells_HW), sides, VIEW)
        for found in candidates:
            assert found.x >= 0 and found.x + found.width <= sides[1]
            assert found.y >= 0 and found.y + found.height <= sides[0]
            assert 0 <= found.tile_x <= sides[1] - 224
            assert 0 <= found.tile_y <= sides[0] - 224
        assert max(found.x + found.width for found in candidates) == sides[1]
        assert max(found.y + found.height for found in candidates) == sides[0]


def test_the_tile_of_a_candidate_shows_its_peak() -> None:
    cells_HW = with_line()
    cells_HW[5, 12] = 25.0
    (found,) = find_candidates(window_map(cells_HW), SIDES, VIEW)
    assert 13 * 32 - 224 <= found.tile_x <= 12 * 32
    assert 0 <= found.tile_y <= 5 * 32


def test_a_photo_smaller_than_a_window_is_judged() -> None:
    found = replace(window_map(np.full((7, 7), 20.0, np.float32)), left=-40, top=-60)
    score = judge_photo(found, find_candidates(found, (90, 150), VIEW), (), (90, 150), VIEW, STAGES)
    (region,) = score.regions
    assert (region.x, region.y, region.width, region.height) == (0, 0, 150, 90)


def test_windows_judged_one_by_one_mark_their_middles() -> None:
    odds_HW = np.full((5, 9), -2.0, np.float32)
    odds_HW[2, 3:6] = 6.0
    found = WindowMap(odds_HW, np.ones_like(odds_HW), None, 224, 112, 0, 0)
    (candidate,) = find_candidates(found, (672, 1120), VIEW)
    assert (candidate.x, candidate.y) == (3 * 112 + 56, 2 * 112 + 56)
    assert (candidate.width, candidate.height) == (3 * 112, 112)
    assert (candidate.tile_x, candidate.tile_y) in {(c * 112, 224) for c in (3, 4, 5)}


def test_an_exact_tile_decides_with_and_says_so() -> None:
    found = window_map(with_line())
    candidates = find_candidates(found, SIDES, VIEW)
    low, high = (
        judge_photo(found, candidates, (tile,), SIDES, VIEW, STAGES) for tile in (-4.0, 4.0)
    )
    assert low.p_crack < high.p_crack
    assert high.stage == high.regions[0].stage == "exact"


@pytest.mark.parametrize(
    "rule", [{"grow": "x"}, {"nonsense": 1}, {"candidate": {"colour": 1.0}}, {"photo": [1]}]
)
def test_what_is_no_rule_is_refused(rule: dict[str, object]) -> None:
    with pytest.raises(BundleError):
        PhotoRule.from_json(rule)
