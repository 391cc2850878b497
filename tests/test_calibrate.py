"""Temperature and thresholds do what they promise on the data they were chosen on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.calibrate import (
    FALSE_CRACKS,
    HIGHEST_CLEAR,
    LOWEST_CRACK,
    MISSED_CRACKS,
    choose_thresholds,
    fit_calibration,
)


@pytest.mark.parametrize("temperature", [1.5, 3.0, 8.0])
@pytest.mark.parametrize("shift", [-1.5, 0.0, 2.0])
def test_temperature_and_shift_are_recovered(temperature, shift):
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 3, 40_000)
    truth = rng.random(40_000) < 1 / (1 + np.exp(-odds))
    logits = np.stack([np.zeros_like(odds), odds * temperature - shift], axis=1)
    found = fit_calibration(logits, truth)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.shift == pytest.approx(shift, abs=0.1 * temperature)


def test_rare_cracks_do_not_pull_the_odds_down():
    """Training balances the classes, so calibration must not bring their frequency back in."""
    rng = np.random.default_rng(1)
    truth = np.arange(40_000) < 4_000
    margin = rng.normal(np.where(truth, 1.0, -1.0), 1.0)  # true log odds at balance: 2 x margin
    logits = np.stack([np.zeros_like(margin), 4 * margin], axis=1)
    found = fit_calibration(logits, truth)
    assert found.temperature == pytest.approx(2, rel=0.1)
    assert found.shift == pytest.approx(0, abs=0.15)


def test_separable_data_do_not_make_it_surer():
    logits = np.array([[3.0, 0.0], [0.0, 3.0]] * 20)
    truth = np.array([False, True] * 20)
    found = fit_calibration(logits, truth)
    assert found.temperature == 1.0 and found.shift == pytest.approx(0.0, abs=1e-3)


@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 400))
def test_thresholds_keep_their_shares(seed, cracks, clears):
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.beta(4, 2, cracks), rng.beta(1, 6, clears)])
    truth = np.arange(cracks + clears) < cracks
    chosen = choose_thresholds(p, truth, on="test")
    assert chosen.clear_below <= HIGHEST_CLEAR and chosen.crack_from >= LOWEST_CRACK
    # One image may lie on the threshold itself, moved by its rounding.
    assert (p[truth] < chosen.clear_below).sum() <= MISSED_CRACKS * cracks + 1
    assert (p[~truth] >= chosen.crack_from).sum() <= FALSE_CRACKS * clears + 1
