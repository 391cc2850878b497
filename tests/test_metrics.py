"""Every figure against scikit-learn's, over scores with ties and lopsided classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from inspector import metrics

SCORES = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),  # many ties, and the bins' own edges
    st.floats(0, 1, allow_subnormal=False),
)
ROWS = st.lists(st.tuples(SCORES, st.booleans()), min_size=2, max_size=60)
BOTH_CLASSES = ROWS.filter(lambda rows: 0 < sum(crack for _, crack in rows) < len(rows))


def arrays(rows):
    scores, truth = zip(*rows, strict=True)
    return np.array(scores), np.array(truth, dtype=bool)


@settings(max_examples=200, deadline=None)
@given(BOTH_CLASSES)
def test_ranking(rows):
    p, is_crack = arrays(rows)
    assert metrics.roc_auc(p, is_crack) == pytest.approx(reference.roc_auc_score(is_crack, p))
    assert metrics.average_precision(p, is_crack) == pytest.approx(
        reference.average_precision_score(is_crack, p)
    )


@settings(max_examples=200, deadline=None)
@given(BOTH_CLASSES, SCORES)
def test_decisions(rows, threshold):
    p, is_crack = arrays(rows)
    said = p >= threshold
    table = reference.confusion_matrix(is_crack, said, labels=[False, True])
    counts = metrics.confusion(p, is_crack, threshold)
    assert [[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]] == table.tolist()
    assert metrics.balanced_accuracy(p, is_crack, threshold) == pytest.approx(
        reference.balanced_accuracy_score(is_crack, said)
    )
    assert metrics.matthews_corrcoef(p, is_crack, threshold) == pytest.approx(
        reference.matthews_corrcoef(is_crack, said)
    )


@settings(max_examples=100, deadline=None)
@given(BOTH_CLASSES)
def test_calibration(rows):
    p, is_crack = arrays(rows)
    assert metrics.brier(p, is_crack) == pytest.approx(reference.brier_score_loss(is_crack, p))
    assert metrics.ece(p, is_crack) == pytest.approx(ece_by_hand(p, is_crack))


def ece_by_hand(p, is_crack):
    """The definition, bin by bin: share of the bin times |accuracy - confidence|."""
    total = 0.0
    for k in range(metrics.ECE_BINS):
        low, high = k / metrics.ECE_BINS, (k + 1) / metrics.ECE_BINS
        inside = (p * metrics.ECE_BINS >= k) & ((p * metrics.ECE_BINS < k + 1) | (high == 1))
        assert low < high
        if inside.any():
            total += inside.mean() * abs(is_crack[inside].mean() - p[inside].mean())
    return total


def test_float32_scores_as_the_engines_give_them():
    p = np.linspace(0, 1, 1001, dtype=np.float32)
    is_crack = np.random.default_rng(0).random(1001) < p
    assert metrics.roc_auc(p, is_crack) == pytest.approx(reference.roc_auc_score(is_crack, p))
    assert metrics.ece(p, is_crack) < 0.06


@pytest.mark.parametrize("truth", [True, False])
def test_one_class_alone_has_no_ranking(truth):
    p, is_crack = np.array([0.2, 0.9]), np.array([truth, truth])
    assert math.isnan(metrics.roc_auc(p, is_crack))
    assert math.isnan(metrics.balanced_accuracy(p, is_crack))
    assert metrics.matthews_corrcoef(p, is_crack) == 0
    assert math.isnan(metrics.average_precision(p, is_crack)) is (not truth)


def sample(groups: int, per_group: int, seed: int = 0):
    """Scores of photos from walls that differ: photos of one wall look alike."""
    rng = np.random.default_rng(seed)
    is_crack = rng.random(groups * per_group) < 0.5
    wall = np.repeat(rng.normal(0, 1, groups), per_group)
    p = 1 / (1 + np.exp(-(2 * is_crack - 1 + wall + rng.normal(0, 0.3, len(wall)))))
    return p, is_crack, np.repeat([f"wall {g}" for g in range(groups)], per_group).tolist()


def test_the_interval_holds_the_estimate_and_is_repeatable():
    p, is_crack, groups = sample(20, 10)
    low, high = metrics.grouped_interval(metrics.roc_auc, p, is_crack, groups, resamples=300)
    assert low < metrics.roc_auc(p, is_crack) < high
    again = metrics.grouped_interval(metrics.roc_auc, p, is_crack, groups, resamples=300)
    assert (low, high) == again


def test_photos_of_one_wall_widen_the_interval():
    p, is_crack, groups = sample(8, 60)
    alone = [str(i) for i in range(len(p))]

    def width(names):
        low, high = metrics.grouped_interval(metrics.roc_auc, p, is_crack, names, resamples=300)
        return high - low

    assert width(groups) > 1.5 * width(alone)


def test_more_walls_narrow_the_interval():
    def width(count):
        p, is_crack, groups = sample(count, 5)
        low, high = metrics.grouped_interval(metrics.roc_auc, p, is_crack, groups, resamples=300)
        return high - low

    assert width(200) < width(10)


def test_an_interval_of_nothing_is_nan():
    p, is_crack = np.array([0.1, 0.2]), np.array([False, False])
    interval = metrics.grouped_interval(metrics.roc_auc, p, is_crack, ["a", "b"], resamples=10)
    assert all(math.isnan(value) for value in interval)
