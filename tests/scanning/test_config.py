"""Options that cannot be right are refused where they are made, in one line."""

from __future__ import annotations

import pytest

from inspector.errors import UsageError
from inspector.model.bundle import Thresholds
from inspector.scanning.config import FailureBudget, ScanConfig


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sources": ()}, "at least one"),
        ({"device": "gpu"}, "device 'gpu'"),
        ({"device": "cpu:1"}, "device 'cpu:1'"),
        ({"backend": "tflite"}, "choose one of: auto, onnxruntime"),
        ({"precision": "int4"}, "choose one of: auto, fp32"),
        ({"trust": True}, "serves --backend torchscript only"),
        ({"loader": "half"}, "choose one of: auto, processes, torch"),
        ({"loader": "torch", "workers": 0}, "leave out --workers 0"),
        ({"batch_size": 0}, "batch size of 0"),
        ({"workers": -1}, "workers of -1"),
        ({"limit": 0}, "limit of 0"),
        ({"threshold": 1.0}, "threshold of 1.0"),
        ({"threshold": 0.0}, "threshold of 0.0"),
        ({"threshold": float("nan")}, "threshold of nan"),
    ],
)
def test_refused(options, says):
    with pytest.raises(UsageError, match=says) as caught:
        ScanConfig(**({"sources": ("photos",)} | options))
    assert "\n" not in str(caught.value)


def test_a_given_threshold_leaves_no_review_band():
    of_model = Thresholds(clear_below=0.2, crack_from=0.8, out_of_distribution=1.5)
    assert ScanConfig(sources=("x",)).thresholds(of_model) is of_model
    chosen = ScanConfig(sources=("x",), threshold=0.4).thresholds(of_model)
    assert (chosen.clear_below, chosen.crack_from) == (0.4, 0.4)
    assert chosen.out_of_distribution == 1.5, "a photo of no concrete stays one for a person"


@pytest.mark.parametrize(
    ("text", "share", "count"),
    [("5%", 0.05, None), ("0.5 %", 0.005, None), ("0", None, 0), ("120", None, 120)],
)
def test_budget_is_parsed(text, share, count):
    budget = FailureBudget.parse(text)
    assert (budget.share, budget.count) == (pytest.approx(share) if share else None, count)
    assert FailureBudget.parse(str(budget)) == budget


@pytest.mark.parametrize("text", ["", "5%%", "-1", "101%", "1e3", "5.5", "many"])
def test_budget_that_cannot_be_right(text):
    with pytest.raises(UsageError):
        FailureBudget.parse(text)


def test_a_share_counts_after_the_probation_or_at_the_end():
    budget = FailureBudget.parse("5%")
    assert not budget.exceeded(100, 199, finished=False)
    assert budget.exceeded(100, 199, finished=True)
    assert budget.exceeded(11, 200, finished=False)
    assert not budget.exceeded(10, 200, finished=False)
    assert not budget.exceeded(0, 0, finished=True)


def test_a_count_counts_at_once():
    budget = FailureBudget.parse("2")
    assert not budget.exceeded(2, 2, finished=False)
    assert budget.exceeded(3, 3, finished=False)
