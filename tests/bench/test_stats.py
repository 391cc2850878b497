"""Medians and their intervals, by their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.rounds import LEAST_ROUNDS, Interval, half_width, median_of, percentile, ratio_of
from bench.studies.report import spread

TIMES = st.floats(1e-3, 1e6)


def bounds(found: Interval) -> tuple[float, float]:
    assert found.low is not None and found.high is not None
    return found.low, found.high


RATES = st.lists(st.floats(1.0, 1000.0), min_size=LEAST_ROUNDS, max_size=8)


@given(st.lists(TIMES, min_size=1), st.randoms())
def test_spread_holds_its_values_in_any_order(values, rng):
    found = spread(values)
    assert min(values) == found["min"] <= found["median"] <= found["max"] == max(values)
    assert spread(rng.sample(values, len(values))) == found


@given(st.lists(TIMES, min_size=1, max_size=200), st.integers(1, 100))
def test_percentile_is_the_least_value_that_enough_do_not_exceed(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(v <= found for v in values) * 100 >= percent * len(values)
    assert sum(v < found for v in values) * 100 < percent * len(values)


@settings(deadline=None)
@given(RATES)
def test_interval_lies_within_the_values_and_holds_their_median(values):
    found = median_of(values)
    assert found.median == pytest.approx(np.median(values))
    low, high = bounds(found)
    assert min(values) <= low <= found.median <= high <= max(values)
    assert median_of(values) == found, "the same values give the same interval"


def test_few_rounds_have_no_interval():
    assert median_of([3.0]) == Interval(3.0)
    assert median_of([3.0, 5.0]) == Interval(4.0)
    assert ratio_of([3.0, 3.0], [2.0] * 5) == Interval(1.5)
    assert half_width([]) == half_width([100.0]) == float("inf")


def test_three_rounds_have_their_range_as_interval():
    assert median_of([98.0, 100.0, 104.0]) == Interval(100.0, 98.0, 104.0)
    assert half_width([98.0, 100.0, 104.0]) == pytest.approx(0.03)


def test_intervals_of_scipy_are_the_same():
    from scipy.stats import bootstrap

    rates = [50.1, 48.3, 53.9, 49.0, 51.5, 55.0]
    theirs = bootstrap((rates,), np.median, method="percentile", n_resamples=20_000, rng=1)
    low, high = bounds(median_of(rates))
    assert low == pytest.approx(theirs.confidence_interval.low, rel=0.01)
    assert high == pytest.approx(theirs.confidence_interval.high, rel=0.01)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    drawn = np.exp(rng.normal(np.log(50), 0.05, (400, 6)))
    found = [bounds(median_of(row.tolist())) for row in drawn]
    assert np.mean([low <= 50 <= high for low, high in found]) > 0.9


@settings(deadline=None)
@given(RATES, RATES)
def test_ratio_turned_round_is_its_inverse(values, base):
    one, other = ratio_of(values, base), ratio_of(base, values)
    assert one.median == pytest.approx(1 / other.median)
    low, high = bounds(one)
    assert low <= one.median <= high


def test_equal_rates_are_rarely_told_apart_and_different_ones_are():
    rng = np.random.default_rng(1)
    drawn = np.exp(rng.normal(np.log(50), 0.05, (400, 2, 5)))
    assert np.mean([ratio_of(a.tolist(), b.tolist()).differs_from_one for a, b in drawn]) < 0.08
    assert ratio_of([50, 51, 49], [100, 102, 98]).differs_from_one
    assert not ratio_of([50, 50, 50], [50, 50, 50]).differs_from_one
    assert not ratio_of([50], [100, 102, 98]).differs_from_one
