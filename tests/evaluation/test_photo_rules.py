from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inspector.calibration.run import CalibrateConfig, calibrate
from inspector.calibration.thresholds import Rule
from inspector.errors import UsageError
from inspector.evaluation.figures import OWN, assess, compare_rules
from inspector.evaluation.page import Subject, render_page
from inspector.evaluation.run import EvaluateConfig, evaluate
from inspector.evaluation.wording import evaluated_lines, rule_cells
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.synthesis import Kind, make_scene
from inspector.types import PhotoScore, SimpleRules
from tests.evaluation.known import predictions_of


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


def test_render_page_names_the_thresholds_that_decided_each_kind() -> None:
    """Of photos at their own scale, of those judged whole, and of both beside each other."""
    bundle = ModelBundle.load(DEFAULT_PATH)
    assert bundle.dense is not None
    whole, own = (f"{t.crack_from}" for t in (bundle.thresholds, bundle.dense.thresholds))
    assert whole != own
    score = PhotoScore(0.5, 0.1, "fp32@224", (), 9, 1, 0.5, 0.5)
    subject = Subject(title="t", data="/walls", made="today", gallery=0)
    for found_N, said, drawn in (
        ((score,) * 4, f"<b>crack</b> from {own},", {own}),
        ((None,) * 4, f"<b>crack</b> from {whole},", {whole}),
        ((score, None) * 2, f"<b>crack</b> from {own} ({whole} for photos judged whole),",
         {own, whole}),
    ):  # fmt: skip
        judged = predictions_of([0.9, 0.1, 0.2, 0.8], [True, False] * 2)
        judged = replace(judged, found_N=found_N)
        evaluation = assess(judged, bundle)
        page = render_page(subject, evaluation, judged, bundle)
        assert said in page
        assert set(re.findall(r"lie below [\d.]+ and \d+ from ([\d.]+\d)", page)) == drawn
        assert len(re.findall("<h3>What other thresholds would cost|What other", page)) == len(
            drawn
        )
        dense = None if own not in drawn else bundle.dense.thresholds.crack_from
        assert (evaluation.dense_thresholds or {}).get("crack_from") == dense


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
