"""Bounds against SciPy, known values and their own definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from inspector.calibration.edges import (
    error_bound,
    largest_mean,
    mean_bound,
    most_errors,
    trials_needed,
)

shares = st.floats(0.001, 0.5)
confidences = st.floats(0.5, 0.999)


@given(st.integers(0, 400), st.integers(1, 400), confidences)
def test_error_bound_equals_scipy(errors, trials, confidence):
    errors = min(errors, trials)
    expected = binomtest(errors, trials, alternative="less").proportion_ci(confidence).high
    assert error_bound(errors, trials, confidence) == pytest.approx(expected, abs=1e-9)


def test_bounds_at_known_values():
    """No error in 29 shows 10 %, in 59 shows 5 %, in 299 shows 1 % (the rule of three, exactly)."""
    assert [trials_needed(share, 0.95) for share in (0.1, 0.05, 0.01)] == [29, 59, 299]
    assert error_bound(0, 299, 0.95) == pytest.approx(0.00997, abs=1e-5)
    assert error_bound(4, 100, 0.95) == pytest.approx(0.08920, abs=1e-5)
    assert error_bound(7, 7, 0.95) == 1.0
    assert most_errors(100, 0.1, 0.95) == 4


@given(st.integers(1, 2000), shares, confidences)
def test_most_errors_is_the_most(trials, share, confidence):
    most = most_errors(trials, share, confidence)
    assert most < 0 or error_bound(most, trials, confidence) <= share
    assert error_bound(most + 1, trials, confidence) > share


@given(shares, confidences)
def test_as_many_as_needed_are_enough_and_fewer_are_not(share, confidence):
    needed = trials_needed(share, confidence)
    assert most_errors(needed + 1, share, confidence) >= 0  # + 1: floats
    assert needed < 3 or most_errors(needed - 2, share, confidence) < 0
    assert largest_mean(needed + 1, share, confidence) >= 0
    assert needed < 3 or largest_mean(needed - 2, share, confidence) < 0


@given(st.integers(1, 300), shares, confidences)
def test_the_largest_mean_is_the_one_whose_bound_is_the_share(units, share, confidence):
    largest = largest_mean(units, share, confidence)
    if largest < 0:
        assert mean_bound(0.0, units, confidence) > share
    else:
        assert mean_bound(max(largest - 1e-5, 0), units, confidence) <= share + 1e-5


def test_the_bound_on_a_mean_holds_for_losses_of_any_kind():
    """Errors counted one by one are such losses: there the bound may be wider than the exact one,
    and must hold as often as it says."""
    units, expected, confidence = 80, 0.08, 0.9
    errors = np.arange(units + 1)
    bounds = np.array([mean_bound(k / units, units, confidence) for k in errors])
    exact = np.array([error_bound(int(k), units, confidence) for k in errors])
    assert (bounds >= exact - 1e-5).all()
    assert binom.pmf(errors, units, expected)[bounds < expected].sum() <= 1 - confidence
    assert (np.diff(bounds) >= -1e-5).all()
