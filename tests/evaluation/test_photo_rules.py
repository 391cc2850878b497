from __future__ import annotations

import numpy as np
import pytest

from inspector.evaluation.photo_rules import OWN, compare_rules, rules_table
from inspector.types import SimpleRules


def test_rules_are_compared_in_photos() -> None:
    is_crack_N = np.array([True] * 4 + [False] * 6)
    p_N = np.array([0.9, 0.8, 0.7, 0.4, 0.6, 0.3, 0.2, 0.1, 0.1, 0.1])
    simple_N = [SimpleRules(1 - p, p, 0.9, p / 2) for p in p_N]
    found = {figures.rule: figures for figures in compare_rules(is_crack_N, p_N, simple_N)}
    assert set(found) == {OWN, *SimpleRules._fields}
    assert found[OWN].roc_auc == pytest.approx(23 / 24)
    assert found[OWN].recall == 3 / 4
    assert found[OWN].false_alarms == pytest.approx(1 / 6)
    assert found[OWN].recall_at_alarms == 3 / 4
    assert found["maximum"].roc_auc == pytest.approx(1 / 24)
    assert found["top_three"].roc_auc == found["mean"].roc_auc == found[OWN].roc_auc
    assert found["noisy_or"].false_alarms == 1
    assert found["mean"].recall == 0


def test_one_class_alone_has_no_ranking() -> None:
    rules = compare_rules(
        np.array([False, False]), np.array([0.1, 0.7]), [SimpleRules(1, 1, 1, 1)] * 2
    )
    assert np.isnan(rules[0].roc_auc)
    assert rules[0].false_alarms == 0.5
    assert any("-" in line for line in rules_table(rules))
