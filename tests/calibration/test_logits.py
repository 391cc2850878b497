"""Temperature and shift are found, weigh both classes alike, and keep to their bounds."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.calibration.logits import LOWEST_TEMPERATURE, fit_calibration


def logits_of(odds):
    return np.stack([np.zeros_like(odds), odds], axis=1)


@pytest.mark.parametrize("temperature", [0.9, 1.5, 3.0, 8.0])
@pytest.mark.parametrize("shift", [-1.5, 0.0, 2.0])
def test_temperature_and_shift_are_recovered(temperature, shift):
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 3, 40_000)
    truth = rng.random(40_000) < 1 / (1 + np.exp(-odds))
    found = fit_calibration(logits_of(odds * temperature - shift), truth)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.shift == pytest.approx(shift, abs=0.1 * temperature)


def test_rare_cracks_do_not_count_less():
    """Training balances the classes, so calibration must not bring their frequency back in."""
    rng = np.random.default_rng(1)
    truth = np.arange(40_000) < 4_000
    margin = rng.normal(np.where(truth, 1.0, -1.0), 1.0)  # true log odds at balance: 2 x margin
    found = fit_calibration(logits_of(4 * margin), truth)
    assert found.temperature == pytest.approx(2, rel=0.1)
    assert found.shift == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_separable_data_do_not_make_it_surer(scale):
    logits = scale * np.array([[3.0, 0.0], [0.0, 3.0]] * 20)
    truth = np.array([False, True] * 20)
    found = fit_calibration(logits, truth)
    assert found.temperature == pytest.approx(LOWEST_TEMPERATURE)
    assert found.shift == pytest.approx(0.0, abs=1e-3)
