"""How the margin is chosen, and what its gate refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from export.gates import (
    LEAST_MARGIN,
    MOST_DEFERRED,
    MOVED_SHARE,
    SAFETY,
    choose_margins,
    gate_reduced,
)
from inspector.engines.combined import UncertaintyBand
from inspector.engines.parity import differing, settled
from inspector.errors import ExportError
from inspector.model.bundle import Thresholds
from inspector.model.verdict import log_odds
from inspector.types import Scores

THRESHOLDS = Thresholds(clear_below=0.2, crack_from=0.7)
probability = st.floats(1e-5, 1 - 1e-5)
answers = st.lists(st.tuples(probability, probability), min_size=1, max_size=30)
edges = st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)).map(sorted)


def answered(p_N, ood_N=None):
    known = np.zeros(len(p_N), np.float32) if ood_N is None else ood_N
    return Scores(p_N, np.zeros((len(p_N), 1, 1), np.float32), known)


def choose_margin(reference, candidate, thresholds):
    return choose_margins(answered(reference), answered(candidate), thresholds)[0]


def left_to_differ(reference, candidate, thresholds, margin, ood_margin=0.0):
    deferred = UncertaintyBand.around(thresholds, margin, ood_margin).contains(candidate)
    return differing(reference, settled(candidate, reference, deferred), thresholds).sum()


@given(pairs=answers, edges=edges)
@example(pairs=[(0.5, 0.5), (0.01, 0.0078125)], edges=[0.01, 0.5])  # 0.01 is no float32
def test_choose_margins_leaves_no_differing_verdict(pairs, edges):
    reference, candidate = np.array(pairs, np.float32).T
    thresholds = Thresholds(clear_below=edges[0], crack_from=edges[1])
    margin = choose_margin(reference, candidate, thresholds)
    assert np.isfinite(margin) and margin >= 0
    assert left_to_differ(answered(reference), answered(candidate), thresholds, margin) == 0


@given(pairs=answers)
def test_choose_margins_is_no_wider_than_needed(pairs):
    """Without the factor, a little less lets a verdict differ, or is what precision moves."""
    reference, candidate = np.array(pairs, np.float32).T
    margin = choose_margin(reference, candidate, THRESHOLDS)
    moved = np.quantile(np.abs(log_odds(candidate) - log_odds(reference)), MOVED_SHARE)
    if margin > max(1.001 * moved, LEAST_MARGIN):
        smaller = 0.999 * margin / SAFETY - 1e-6
        assert left_to_differ(answered(reference), answered(candidate), THRESHOLDS, smaller) > 0


domains = st.lists(st.tuples(st.floats(-3, 9), st.floats(-3, 9)), min_size=30, max_size=30)


@given(pairs=answers, domains=domains)
def test_choose_margins_covers_the_ood_score(pairs, domains):
    reference, candidate = (
        answered(*scores)
        for scores in zip(
            np.array(pairs, np.float32).T,
            np.array(domains[: len(pairs)], np.float32).T,
            strict=True,
        )
    )
    limits = replace(THRESHOLDS, out_of_distribution=1.5)
    margins = choose_margins(reference, candidate, limits)
    assert left_to_differ(reference, candidate, limits, *margins) == 0


def test_margin_reaches_the_farthest_flip():
    """One flip over each threshold; the farther one, from 0.2 to 0.25, counts, with the factor."""
    reference = np.array([0.199, 0.701] + 400 * [0.5], np.float32)
    candidate = np.array([0.25, 0.69] + 400 * [0.5], np.float32)
    distance = np.log(0.25 / 0.75) - np.log(0.2 / 0.8)
    margin = choose_margin(reference, candidate, THRESHOLDS)
    assert margin == pytest.approx(SAFETY * distance, rel=1e-5)


def test_margin_without_a_flip_is_what_precision_moves():
    reference = np.full(100, 0.5, np.float32)
    candidate = np.linspace(0.5, 0.6, 100, dtype=np.float32)
    margin = choose_margin(reference, candidate, THRESHOLDS)
    assert 0.98 * np.log(0.6 / 0.4) < margin < np.log(0.6 / 0.4)
    assert choose_margin(reference, reference, THRESHOLDS) == LEAST_MARGIN


def evidence(**changes):
    return {"images": 3000, "verdict_flips": [], "deferred": 0.1, **changes}


def test_gate_reduced_allows_one_flip_per_thousand():
    flip = [0.1, 0.9]
    gate_reduced("onnx-int8", evidence(verdict_flips=3 * [flip]))
    with pytest.raises(ExportError, match=r"onnx-int8 .*4 of 3000 verdicts differ") as refusal:
        gate_reduced("onnx-int8", evidence(verdict_flips=4 * [flip]))
    assert "0.9000 instead of 0.1000" in str(refusal.value)
    assert "--calibration" in str(refusal.value) and "\n" not in str(refusal.value)
    with pytest.raises(ExportError, match="1 of 999 verdicts"):
        gate_reduced("onnx-int8", evidence(images=999, verdict_flips=[flip]))


def test_gate_reduced_refuses_too_many_deferred():
    gate_reduced("onnx-int8", evidence(deferred=MOST_DEFERRED))
    with pytest.raises(ExportError, match=r"61% of the photos lie so near a threshold"):
        gate_reduced("onnx-int8", evidence(deferred=0.61))
