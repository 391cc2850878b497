"""The cheapest thresholds, against every pair of thresholds there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.calibration.thresholds import Costs, cheapest
from inspector.errors import UsageError

cost = st.floats(0.1, 100)
images = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.9, 0.99]), st.booleans()),
    min_size=2, max_size=25,
).filter(lambda pairs: len({truth for _, truth in pairs}) == 2)  # fmt: skip


def mean_cost(p, truth, costs, prevalence, low, high):
    weight = np.where(truth, prevalence / truth.sum(), (1 - prevalence) / (~truth).sum())
    each = np.where(p < low, costs.miss * truth, np.where(p < high, costs.look, 0.0))
    return weight @ (each + np.where(p >= high, costs.false_alarm * ~truth, 0.0))


@given(images, cost, cost, cost, st.floats(0.01, 0.99))
def test_cheapest_finds_the_cheapest_pair(pairs, miss, false_alarm, review, prevalence):
    p, truth = np.array([p for p, _ in pairs]), np.array([t for _, t in pairs])
    costs = Costs(miss=miss, false_alarm=false_alarm, review=review)
    low, high = cheapest(p, truth, costs, prevalence)
    assert 0 <= low <= high <= 1
    edges = [*np.unique(p), 1.5]
    best = min(mean_cost(p, truth, costs, prevalence, a, b) for a in edges for b in edges if a <= b)
    assert mean_cost(p, truth, costs, prevalence, low, high) == pytest.approx(best)


def test_with_calibrated_probabilities_it_is_chows_rule():
    """A look is worth it where either verdict is expected to cost more: from review / miss to
    1 - review / false alarm."""
    rng = np.random.default_rng(0)
    p = rng.random(400_000)
    truth = rng.random(400_000) < p
    low, high = cheapest(p, truth, Costs(miss=20, false_alarm=4, review=1), None)
    assert low == pytest.approx(1 / 20, abs=0.015)
    assert high == pytest.approx(1 - 1 / 4, abs=0.03)


def test_a_look_that_costs_too_much_is_never_taken():
    rng = np.random.default_rng(1)
    p = rng.random(100_000)
    truth = rng.random(100_000) < p
    low, high = cheapest(p, truth, Costs(miss=3, false_alarm=1, review=0.9), None)
    assert low == high == pytest.approx(1 / 4, abs=0.03)


def test_thresholds_lie_in_the_middle_of_a_gap():
    p, truth = np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, True])
    assert cheapest(p, truth, Costs(miss=50, false_alarm=1), None) == pytest.approx((0.5, 0.5))


def test_a_look_costs_half_a_false_alarm_unless_said_otherwise():
    assert Costs(miss=50, false_alarm=3).look == 1.5
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="positive"):
            Costs(miss=50, false_alarm=wrong)
