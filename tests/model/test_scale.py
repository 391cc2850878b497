"""What a scale lets a photo show, and that doubt about it never becomes `clear`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import UsageError
from inspector.model.bundle import Thresholds
from inspector.model.scale import NOTHING_ASKED, Scale, cannot_show
from inspector.model.verdict import decide
from inspector.types import ImageRef, Photo, PhotoFacts, ScaleSource

REF = ImageRef.of("a.jpg")


@pytest.mark.parametrize("value", [0.0, -0.3, float("nan"), float("inf"), 1e-9, 1e9])
@pytest.mark.parametrize("name", ["mm_per_px", "min_crack_mm"])
def test_what_no_photo_can_have_is_refused(name, value):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}"):
        Scale(**{name: value})


@given(st.none() | st.floats(1e-3, 1e4), st.none() | st.floats(1e-3, 1e4))
def test_an_identity_gives_back_what_was_said(mm_per_px, min_crack_mm):
    scale = Scale(mm_per_px=mm_per_px, min_crack_mm=min_crack_mm)
    assert Scale.of(scale.identity) == scale
    assert Scale.of({}) == NOTHING_ASKED


def test_two_pixels_as_judged_are_the_thinnest_crack():
    facts = PhotoFacts().at_scale(0.15)
    assert (facts.mm_per_px, facts.mm_per_px_source) == (0.15, ScaleSource.FLAG)
    assert Photo(REF, facts, 1.0).smallest_visible_mm == pytest.approx(0.3)
    assert Photo(REF, facts, 6.0).smallest_visible_mm == pytest.approx(1.8)
    assert Photo(REF, facts, 0.5).smallest_visible_mm == pytest.approx(0.3)
    assert Photo(REF, PhotoFacts(), 1.0).smallest_visible_mm is None


def test_as_wide_as_asked_is_wide_enough_in_the_tables_precision():
    visible_N = np.array([0.15 * 2, np.float32(0.3), 0.1, 0.30001, np.nan])
    assert Scale(min_crack_mm=0.3).hides_N(visible_N).tolist() == [False, False, False, True, True]
    assert NOTHING_ASKED.hides_N(visible_N).any() == np.False_


@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.none() | st.floats(0.001, 100)), min_size=1),
    st.floats(0.01, 10),
)
def test_a_photo_that_cannot_show_it_is_never_clear(photos, min_crack_mm):
    p_N = np.array([p for p, _ in photos], np.float32)
    visible_N = np.array([visible for _, visible in photos], np.float64)
    limits = Thresholds(clear_below=0.4, crack_from=0.7)
    hidden_N = Scale(min_crack_mm=min_crack_mm).hides_N(visible_N)
    verdict_N, reason_N = decide(p_N, limits, hidden_N=hidden_N)
    plain_N, _ = decide(p_N, limits)
    assert not (verdict_N[hidden_N] == "clear").any()
    differ_N = verdict_N != plain_N
    assert (differ_N == (hidden_N & (plain_N == "clear"))).all()
    assert (reason_N[differ_N] == "scale").all() and (verdict_N[differ_N] == "review").all()


def test_how_many_cannot_show_it():
    assert cannot_show(3, 0, 40, 0.3) == "3 of 40 photos cannot show 0.3 mm"
    assert "11 of 1,040 photos" in cannot_show(3, 8, 1040, 0.3)
    assert "8 of them of unknown scale" in cannot_show(3, 8, 1040, 0.3)
