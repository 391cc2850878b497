"""Which images are shown, and in which order."""

from __future__ import annotations

import numpy as np

from inspector.evaluation.gallery import find_mistakes, likely_label_errors, misclassified
from tests.evaluation.known import predictions_of


def test_find_mistakes_sorts_by_kind_and_confidence():
    p = [0.2, 0.05, 0.35, 0.6, 0.75, 0.95, 0.45, 0.99, 0.01]
    is_crack = [True, True, True, False, False, False, True, True, False]
    judged = predictions_of(p, is_crack)
    found = find_mistakes(judged)
    assert found["missed"].tolist() == [1, 0]
    assert found["false_alarms"].tolist() == [5, 4]
    assert found["caught"].tolist() == [2, 3, 6]
    assert sorted(misclassified(judged)) == [0, 1, 2, 3, 4, 5, 6]


def test_likely_label_errors_finds_swapped_labels():
    """A good model, 400 images, 12 labels swapped: most are found, and nothing else."""
    rng = np.random.default_rng(2)
    truth = rng.random(400) < 0.5
    p = 1 / (1 + np.exp(-np.where(truth, 3, -3) - rng.normal(0, 1.2, 400)))
    swapped = rng.choice(400, 12, replace=False)
    label = truth.copy()
    label[swapped] ^= True
    found = likely_label_errors(predictions_of(p, label))
    assert len(found) >= 8 and set(found) <= set(swapped)


def test_likely_label_errors_of_one_class_is_empty():
    assert len(likely_label_errors(predictions_of([0.1, 0.9], [True, True]))) == 0
