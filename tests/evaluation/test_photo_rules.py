from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inspector.calibration.run import CalibrateConfig, calibrate
from inspector.calibration.thresholds import Rule
from inspector.errors import UsageError
from inspector.evaluation.figures import OWN, compare_rules
from inspector.evaluation.run import EvaluateConfig, evaluate
from inspector.evaluation.wording import evaluated_lines, rule_cells
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.synthesis import Kind, make_scene
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
    assert "-" in rule_cells(rules[0])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that are larger than the model's input, half of them with a crack."""
    root = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(3)
    for name, kind in (("Positive", Kind.CRACK), ("Negative", Kind.CLEAN)):
        (root / name).mkdir()
        for k in range(4):
            scene = make_scene(rng, 350, 400, kind)
            Image.fromarray(scene.pixels).save(root / name / f"{k}.png")
    return root


def test_large_photos_are_evaluated_at_their_own_scale(large: Path, tmp_path: Path) -> None:
    evaluation = evaluate(EvaluateConfig(data=large, device="cpu", workers=0, out=tmp_path / "out"))
    assert [rule.rule for rule in evaluation.rules] == [OWN, *SimpleRules._fields]
    assert "highest window" in "\n".join(evaluated_lines(evaluation))
    assert "highest window" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert len(figures["rules"]) == 5


def test_photos_judged_whole_have_no_such_rules(large: Path) -> None:
    evaluation = evaluate(EvaluateConfig(data=large, device="cpu", workers=0, view="whole"))
    assert evaluation.rules == ()
    assert "highest window" not in "\n".join(evaluated_lines(evaluation))


def test_photos_at_their_own_scale_get_thresholds_of_their_own(large: Path, tmp_path: Path) -> None:
    rule = Rule(target_recall=0.5, target_specificity=0.5, confidence=0.6)
    config = CalibrateConfig(
        data=large, view="dense", out=tmp_path / "model", rule=rule, device="cpu"
    )
    before = ModelBundle.load(DEFAULT_PATH)
    found = calibrate(config)
    copy = ModelBundle.load(tmp_path / "model")
    assert before.dense is not None and copy.dense is not None
    assert copy.dense.thresholds.clear_below == found.thresholds.clear_below
    assert copy.dense.thresholds.crack_from == found.thresholds.crack_from
    assert copy.dense.thresholds != before.dense.thresholds
    assert copy.dense.photo == before.dense.photo
    assert copy.thresholds == before.thresholds
    assert set(copy.variants) == set(before.variants)
    assert copy.digest != before.digest
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "photos at their own scale: `clear` below" in card


@pytest.mark.parametrize("view", ["tiles", "auto", "sideways"])
def test_other_views_are_not_calibrated(large: Path, view: str) -> None:
    with pytest.raises(UsageError):
        CalibrateConfig(data=large, view=view)
