"""Figures and intervals: against scikit-learn draw by draw, and against what must hold."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from bench.recipe.card import read_metrics
from inspector.errors import DataError
from inspector.evaluation import metrics
from inspector.evaluation.figures import assess, best_temperature, measure, measure_widths
from inspector.evaluation.metrics import FALSE_RATES, at_rate, resampled
from tests.evaluation.known import THRESHOLDS, predictions_of


def test_resampled_equals_scikit_learn_on_the_images_drawn(sample):
    """The vectorised figures against plain ones, over the very images of each draw."""
    draws = resampled(sample, resamples=3, seed=5)
    names, group_N = np.unique(sample.group_N, return_inverse=True)
    picked = np.random.default_rng(5).integers(0, len(names), (3, len(names)))
    for b in range(3):
        rows = np.concatenate([np.flatnonzero(group_N == g) for g in picked[b]])
        p, truth = sample.p_crack_N[rows].astype(float), sample.is_crack_N[rows]
        said, verdict = p >= 0.5, sample.verdict_N[rows]
        expected = {
            "accuracy": sk.accuracy_score(truth, said),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, said),
            "precision": sk.precision_score(truth, said),
            "recall": sk.recall_score(truth, said),
            "f1": sk.f1_score(truth, said),
            "matthews_corrcoef": sk.matthews_corrcoef(truth, said),
            "roc_auc": sk.roc_auc_score(truth, p),
            "average_precision": sk.average_precision_score(truth, p),
            "brier": sk.brier_score_loss(truth, p),
            "ece": metrics.ece(p, truth),
            "missed": (verdict[truth] == "clear").mean(),
            "false_alarms": (verdict[~truth] == "crack").mean(),
            "review": (verdict == "review").mean(),
            "out_of_distribution": 0.0,
        }
        false_rates, recalls, _ = sk.roc_curve(truth, p, drop_intermediate=False)
        expected |= {at_rate(r): recalls[false_rates <= r].max() for r in FALSE_RATES}
        assert expected.keys() == draws.keys()
        for name, value in expected.items():
            assert draws[name][b] == pytest.approx(value, abs=1e-9), name


def test_measure_gives_intervals_that_hold_the_value(sample):
    for figures in measure(sample):
        for name, found in figures.measures.items():
            assert found.low <= found.value <= found.high, name


def test_interval_is_wider_for_grouped_photos():
    rng = np.random.default_rng(0)
    is_crack = rng.random(480) < 0.5
    odds = 2 * is_crack - 1 + np.repeat(rng.normal(0, 1, 8), 60) + rng.normal(0, 0.3, 480)
    p = 1 / (1 + np.exp(-odds))

    def width(groups):
        found = measure(predictions_of(p, is_crack, groups))[-1].measures["roc_auc"]
        return found.high - found.low

    assert width(np.repeat(range(8), 60)) > 1.5 * width(range(480))


def test_resampled_in_small_parts_agrees_with_one_part(sample, monkeypatch):
    whole = resampled(sample, resamples=400)
    monkeypatch.setattr("inspector.evaluation.metrics._CELLS", 1000)
    parts = resampled(sample, resamples=400)
    for name, values in parts.items():
        assert values.shape == (400,)
        assert values.mean() == pytest.approx(whole[name].mean(), abs=0.01), name
        assert values.std() == pytest.approx(whole[name].std(), rel=0.25), name


def test_share_of_zero_gets_clopper_pearson_end():
    judged = predictions_of([0.9] * 50 + [0.1] * 50, [True] * 50 + [False] * 50)
    found = measure(judged)[0].measures
    assert found["missed"].value == 0 and found["missed"].low == 0
    assert found["missed"].high == pytest.approx(1 - 0.025 ** (1 / 50))
    assert found["recall"].low == pytest.approx(0.025 ** (1 / 50)) and found["recall"].high == 1


def test_measure_counts_what_is_called_crack_as_the_trials_of_precision():
    judged = predictions_of([0.9] * 5 + [0.1] * 995, [True] * 5 + [False] * 995)
    found = measure(judged)[0].measures["precision"]
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025 ** (1 / 5))


def test_figures_of_cracks_alone_are_nan_where_two_classes_are_needed():
    found = measure(predictions_of([0.9, 0.2, 0.4], [True] * 3))[0].measures
    undefined = {name for name, figure in found.items() if math.isnan(figure.value)}
    assert undefined == {
        "balanced_accuracy", "precision", "f1", "matthews_corrcoef", "roc_auc", "false_alarms",
        "average_precision", *map(at_rate, FALSE_RATES),
    }  # fmt: skip


def test_one_group_has_no_interval():
    found = measure(predictions_of([0.9, 0.2, 0.4], [True, False, True], ["a"] * 3))[0].measures
    assert found["roc_auc"].value == 1 and math.isnan(found["roc_auc"].low)


def test_figures_of_one_class_are_nan_where_two_are_needed():
    found = measure(predictions_of([0.9, 0.2, 0.4], [False] * 3))[0].measures
    undefined = {name for name, figure in found.items() if math.isnan(figure.value)}
    assert undefined == {
        "balanced_accuracy", "precision", "recall", "f1", "matthews_corrcoef", "roc_auc",
        "average_precision", "missed", *map(at_rate, FALSE_RATES),
    }  # fmt: skip
    assert found["false_alarms"].value == pytest.approx(1 / 3)


def test_measure_ends_with_all_sources(sample):
    east, west, everything = measure(sample)
    assert (east.source, west.source, everything.source) == ("east", "west", "all")
    assert east.images + west.images == everything.images == 300
    for class_name in ("crack", "clear"):
        assert sum(everything.verdicts[class_name].values()) == (
            everything.cracks if class_name == "crack" else everything.clears
        )


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_best_temperature_is_found(true_temperature):
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 3, 20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-odds))
    p = 1 / (1 + np.exp(-odds * true_temperature))
    assert best_temperature(p, truth) == pytest.approx(true_temperature, rel=0.06)


def test_measure_widths_counts_cracks_only():
    judged = replace(
        predictions_of([0.1, 0.8, 0.5, 0.9, 0.9], [True, True, True, True, False]),
        width_px_N=np.array([0.5, 0.9, 1.0, np.nan, 3.0]),
    )
    thin, wider = measure_widths(judged)
    assert (thin.below_px, thin.cracks, thin.missed, thin.found) == (1.0, 2, 1, 1)
    assert (wider.from_px, wider.cracks, wider.missed, wider.found) == (1.0, 1, 0, 0)


def test_read_metrics_restores_what_was_written(sample, tiny_bundle, tmp_path):
    judged = replace(sample, width_px_N=np.full(300, 9.0))
    written = assess(judged, replace(tiny_bundle, thresholds=THRESHOLDS))
    text = json.dumps(written.to_json())
    assert "NaN" not in text and "Infinity" not in text
    (tmp_path / "metrics.json").write_text(text)
    read = read_metrics(tmp_path / "metrics.json")
    assert read.to_json() == written.to_json()
    assert read.widths[0].below_px == math.inf
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(DataError, match="inspector evaluate"):
        read_metrics(tmp_path / "metrics.json")


def test_docs_name_every_figure(sample):
    file = Path(__file__).parents[2] / "docs/reference/evaluation.md"
    page = file.read_text(encoding="utf-8")
    for name in measure(sample)[-1].measures:
        assert f"`{name}`" in page, name
