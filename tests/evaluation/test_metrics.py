"""Figures against their definitions, over scores with ties and lopsided classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from inspector.evaluation import metrics

SCORES = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),  # many ties, and the bins' own edges
    st.floats(0, 1, allow_subnormal=False),
)
ROWS = st.lists(st.tuples(SCORES, st.booleans()), min_size=2, max_size=60)
BOTH_CLASSES = ROWS.filter(lambda rows: 0 < sum(crack for _, crack in rows) < len(rows))


def arrays(rows):
    scores, truth = zip(*rows, strict=True)
    return np.array(scores), np.array(truth, dtype=bool)


def pairs_won(p, is_crack):
    """ROC AUC by its definition: how often a crack is ranked above a clear image."""
    return np.mean([(a > b) + 0.5 * (a == b) for a in p[is_crack] for b in p[~is_crack]])


@settings(max_examples=150, deadline=None)
@given(BOTH_CLASSES, st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_ranking(rows, rate):
    p, is_crack = arrays(rows)
    assert metrics.roc_auc(p, is_crack) == pytest.approx(pairs_won(p, is_crack))
    found = [(p[is_crack] >= t).mean() for t in [*p, 2.0] if (p[~is_crack] >= t).mean() <= rate]
    assert metrics.recall_at_fpr(p, is_crack, rate) == pytest.approx(max(found))
    expected = reference.average_precision_score(is_crack, p)
    assert metrics.average_precision(p, is_crack) == pytest.approx(expected)
    expected = reference.balanced_accuracy_score(is_crack, p >= 0.5)
    assert metrics.balanced_accuracy(p, is_crack) == pytest.approx(expected)
    (tn, fp), (fn, tp) = reference.confusion_matrix(is_crack, p >= rate)
    assert metrics.confusion(p, is_crack, rate) == {"tp": tp, "fn": fn, "fp": fp, "tn": tn}


def test_a_case_by_hand():
    """Four cracks, four clear images; at one half a miss and a false alarm."""
    p = np.array([0.9, 0.8, 0.6, 0.2, 0.7, 0.4, 0.3, 0.1])
    is_crack = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    assert metrics.confusion(p, is_crack, 0.5) == {"tp": 3, "fn": 1, "fp": 1, "tn": 3}
    assert metrics.balanced_accuracy(p, is_crack) == pytest.approx(3 / 4)
    assert metrics.roc_auc(p, is_crack) == pytest.approx(12 / 16)
    assert metrics.average_precision(p, is_crack) == pytest.approx((1 + 1 + 3 / 4 + 4 / 7) / 4)
    assert metrics.recall_at_fpr(p, is_crack, 0.1) == pytest.approx(2 / 4)


@settings(max_examples=100, deadline=None)
@given(BOTH_CLASSES)
def test_calibration(rows):
    p, is_crack = arrays(rows)
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


def test_scores_without_an_order_have_no_ranking():
    p, is_crack = np.array([0.1, math.nan, 0.9]), np.array([True, False, True])
    for measure in (metrics.roc_auc, metrics.average_precision):
        with pytest.raises(ValueError, match="no numbers"):
            measure(p, is_crack)


@pytest.mark.parametrize("truth", [True, False])
def test_one_class_alone_has_no_ranking(truth):
    p, is_crack = np.array([0.2, 0.9]), np.array([truth, truth])
    assert math.isnan(metrics.roc_auc(p, is_crack))
    assert math.isnan(metrics.balanced_accuracy(p, is_crack))
    assert math.isnan(metrics.average_precision(p, is_crack)) is (not truth)
