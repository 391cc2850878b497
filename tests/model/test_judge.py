"""Verdicts follow the thresholds exactly, and doubt never becomes `clear`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inspector.engines.parity import verdicts
from inspector.errors import BackendError
from inspector.model.bundle import Thresholds
from inspector.model.verdict import MAX_CLEAR_SHRINK, decide, judge
from inspector.types import (
    ImageRef,
    Judgement,
    Photo,
    PhotoFacts,
    PhotoScore,
    Reason,
    Region,
    Scores,
    Verdict,
    View,
)

shares = st.floats(0, 1, width=32)
shrinks = st.floats(0.1, 30)
STAGES = ("int8@32", "fp32@64")
SEVERITY = {Verdict.CLEAR: 0, Verdict.REVIEW: 1, Verdict.CRACK: 2}


@st.composite
def thresholds(draw) -> Thresholds:
    low, high = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return Thresholds(clear_below=low, crack_from=high)


def photo(index: int, shrink: float = 1.0) -> Photo:
    return Photo(
        ImageRef(index, f"{index}.jpg", f"file:///{index}.jpg", 1, 0), PhotoFacts(), shrink
    )


def judge_one(p, limits, shrink=1.0, cam=((0.0,),), domain=0.0) -> Judgement:
    scores = Scores(
        np.array([p], np.float32), np.array([cam], np.float32), np.array([domain], np.float32)
    )
    (judgement,) = judge(scores, [photo(0, shrink)], limits, STAGES)
    return judgement


@given(shares, thresholds(), shrinks)
def test_thresholds_decide_in_float32(p, limits, shrink):
    judgement = judge_one(p, limits, shrink)
    if np.float32(p) >= np.float32(limits.crack_from):
        expected = Verdict.CRACK, Reason.MODEL
    elif np.float32(p) >= np.float32(limits.clear_below):
        expected = Verdict.REVIEW, Reason.NEAR_THRESHOLD
    elif shrink > MAX_CLEAR_SHRINK:
        expected = Verdict.REVIEW, Reason.DOWNSCALED
    else:
        expected = Verdict.CLEAR, Reason.MODEL
    assert (judgement.verdict, judgement.reason) == expected
    assert judgement.p_crack == np.float32(p)


@given(shares, thresholds(), shrinks)
def test_a_photo_whose_preview_alone_was_read_is_never_clear(p, limits, shrink):
    known, preview = (
        decide(np.array([p]), limits, shrink_N=shrink, preview_N=np.array([only_preview]))
        for only_preview in (False, True)
    )
    said, of_preview = ((str(v[0]), str(r[0])) for v, r in (known, preview))
    clear = (Verdict.CLEAR, Reason.MODEL)
    assert of_preview == ((Verdict.REVIEW, Reason.PREVIEW) if said == clear else said)


def test_a_probability_in_double_precision_is_compared_in_single():
    limits = Thresholds(clear_below=0.1, crack_from=0.7)
    just_below = np.nextafter(np.array([0.1, 0.7]), 0)
    assert decide(just_below, limits)[0].tolist() == ["review", "crack"]


@given(st.floats(0, 1), shrinks)
def test_a_probability_at_a_threshold_has_reached_it(threshold, shrink):
    """Also where the threshold has no float32 of its own: rounding never loses a crack."""
    p = np.float32(threshold)
    at_crack = Thresholds(clear_below=0, crack_from=threshold)
    assert judge_one(p, at_crack, shrink).verdict is Verdict.CRACK
    at_clear = Thresholds(clear_below=threshold, crack_from=1)
    assert judge_one(p, at_clear, shrink).verdict is not Verdict.CLEAR


@given(st.floats(width=32), st.floats(width=32), thresholds(), st.none() | st.floats(0.01, 100))
@example(
    p=float(np.float32(0.7295)), domain=0.0, limits=Thresholds(crack_from=0.7295), ood_from=None
)
def test_scan_and_gate_judge_alike(p, domain, limits, ood_from):
    """At and beside each threshold, too."""
    limits = replace(limits, out_of_distribution=ood_from)
    beside = [np.float32(t) for t in (limits.clear_below, limits.crack_from)]
    places = [p, *beside, *(np.nextafter(t, np.float32(way)) for t in beside for way in (-1, 2))]
    p_N = np.array(places, np.float32)
    ood_N = np.full(len(p_N), domain, np.float32)
    scores = Scores(p_N, np.zeros((len(p_N), 1, 1), np.float32), ood_N)
    gate_N = verdicts(scores, limits)
    finite_N = np.isfinite(p_N) & np.isfinite(ood_N)
    for k in np.flatnonzero(finite_N):
        assert judge_one(p_N[k], limits, domain=domain).verdict == gate_N[k]


@pytest.mark.parametrize("ood_from", [None, 1.5])
def test_what_is_no_number_is_for_a_person(ood_from):
    limits = Thresholds(clear_below=0.2, crack_from=0.8, out_of_distribution=ood_from)
    assert decide(np.array([np.nan]), limits)[0] == [Verdict.REVIEW]


@given(shares, shares, thresholds(), shrinks)
def test_a_higher_probability_never_gives_a_milder_verdict(one, other, limits, shrink):
    low, high = sorted((one, other))
    severities = [SEVERITY[judge_one(p, limits, shrink).verdict] for p in (low, high)]
    assert severities[0] <= severities[1]


@given(shares, thresholds(), st.floats(4.0001, 100))
def test_a_photo_shrunk_too_much_is_never_clear(p, limits, shrink):
    assert judge_one(p, limits, shrink).verdict is not Verdict.CLEAR


@given(shares, thresholds(), shrinks)
def test_a_place_is_given_unless_clear(p, limits, shrink):
    judgement = judge_one(p, limits, shrink)
    assert (judgement.peak_x is None) == (judgement.verdict is Verdict.CLEAR)
    assert (judgement.peak_y is None) == (judgement.verdict is Verdict.CLEAR)


def test_the_place_is_the_centre_of_the_highest_cell():
    cam = np.zeros((2, 4))
    cam[1, 2] = 3
    judgement = judge_one(0.9, Thresholds(), cam=cam)
    assert (judgement.peak_x, judgement.peak_y) == (2.5 / 4, 1.5 / 2)


def test_each_photo_has_its_own_answer():
    p_N = np.linspace(0, 1, 11, dtype=np.float32)
    cam_NHW = np.zeros((11, 1, 11), np.float32)
    cam_NHW[np.arange(11), 0, np.arange(11)] = 1
    judgements = judge(
        Scores(p_N, cam_NHW, np.zeros_like(p_N)),
        [photo(k) for k in range(11)],
        Thresholds(),
        STAGES,
    )
    assert [j.p_crack for j in judgements] == p_N.tolist()
    assert [j.peak_x for j in judgements[5:]] == [(k + 0.5) / 11 for k in range(5, 11)]


@pytest.mark.parametrize(("scores", "photos"), [(1, 2), (2, 1), (0, 1)])
def test_an_answer_too_few_or_too_many_is_an_error(scores, photos):
    answer = Scores(
        np.zeros(scores, np.float32),
        np.zeros((scores, 1, 1), np.float32),
        np.zeros(scores, np.float32),
    )
    with pytest.raises(BackendError):
        judge(answer, [photo(k) for k in range(photos)], Thresholds(), STAGES)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_no_number_is_an_error(number):
    with pytest.raises(BackendError, match=r"0\.jpg"):
        judge_one(number, Thresholds())
    with pytest.raises(BackendError, match=r"0\.jpg"):
        judge_one(0.5, Thresholds(), domain=number)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shrink", [1.0, 9.0])
def test_what_is_foreign_is_for_a_person_whatever_the_model_thinks(p, shrink):
    limits = Thresholds(clear_below=0.3, crack_from=0.7, out_of_distribution=1.5)
    found = judge_one(p, limits, shrink, domain=1.5)
    assert (found.verdict, found.reason) == (Verdict.REVIEW, Reason.OUT_OF_DISTRIBUTION)
    assert found.ood_score == 1.5 and found.peak_x is not None
    assert judge_one(p, limits, shrink, domain=1.49).reason is not Reason.OUT_OF_DISTRIBUTION
    assert judge_one(p, Thresholds(), shrink, domain=99.0).reason is not Reason.OUT_OF_DISTRIBUTION


def test_the_stage_that_decided_is_named():
    answer = Scores(
        np.zeros(3, np.float32),
        np.zeros((3, 1, 1), np.float32),
        np.zeros(3, np.float32),
        np.array([1, 0, 1], np.uint8),
    )
    judgements = judge(answer, [photo(k) for k in range(3)], Thresholds(), STAGES)
    assert [j.stage for j in judgements] == ["fp32@64", "int8@32", "fp32@64"]
    assert judge_one(0.5, Thresholds()).stage == "int8@32"


REGION = Region(3, 4, 5, 6, 0.8, 1.0, 9.0, "fp32@64")
OWN_SCALE = PhotoScore(0.4, 1.1, "int8@dense", (REGION,), 50, 5, 0.25, 0.75)


def test_a_photo_at_its_own_scale_is_decided_by_its_own_thresholds():
    strict = Thresholds(clear_below=0.1, crack_from=0.3)
    lax = Thresholds(clear_below=0.5, crack_from=0.9)
    photos = [photo(0), replace(photo(1), view=View.DENSE, shape=(900, 1200))]
    cam_N = np.empty(2, object)
    cam_N[0], cam_N[1] = np.ones((2, 2), np.float32), np.empty((0, 0), np.float32)
    scores = Scores(
        np.array([0.4, 0.4], np.float32), cam_N, np.array([1.0, 1.1], np.float32),
        np.array([1, 2], np.uint8), (None, OWN_SCALE),
    )  # fmt: skip
    stages = (*STAGES, "int8@dense")
    whole, dense = judge(scores, photos, lax, stages, strict)
    assert (whole.verdict, dense.verdict) == (Verdict.CLEAR, Verdict.CRACK)
    assert (whole.view, whole.windows, whole.regions) == (View.WHOLE, 1, None)
    assert (dense.view, dense.stage, dense.windows) == (View.DENSE, "int8@dense", 50)
    assert (dense.crack_windows, dense.crack_fraction) == (5, 0.1)
    assert (dense.regions, dense.peak_x, dense.peak_y) == ((REGION,), 0.25, 0.75)
    _, clear = judge(scores, photos, strict, stages, lax)
    assert (clear.verdict, clear.peak_x, clear.peak_y) == (Verdict.CLEAR, None, None)
    assert clear.regions == (REGION,)
