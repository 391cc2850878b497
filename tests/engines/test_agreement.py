"""Parity evidence: what counts as a difference, and whose it is."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.engines.contract import joined
from inspector.engines.parity import parity
from inspector.model.bundle import Thresholds
from inspector.types import Scores

THRESHOLDS = Thresholds(clear_below=0.3, crack_from=0.7)


def scores(*p: float, cam: float = 1.0, domain: float = 1.0) -> Scores:
    return Scores(
        np.array(p, np.float32),
        np.full((len(p), 2, 2), cam, np.float32),
        np.ones(len(p), np.float32),
    )


def test_differences_over_several_images():
    reference = joined([scores(0.1, 0.2), scores(0.9, cam=-4.0)])
    candidate = joined([scores(0.1, 0.25), scores(0.8, cam=-3.0)])
    report = parity(["a", "b", "c"], reference, candidate, THRESHOLDS)
    assert report.images == 3
    assert report.worst.image == "c"
    assert report.max_difference == pytest.approx(0.1)
    assert report.mean_difference == pytest.approx(0.05)
    assert report.max_cam_difference == pytest.approx(0.25)
    assert report.verdict_flips == ()


def test_maps_of_stages_that_see_less_are_not_compared():
    """As stages give them: each on the grid of the stage that answered."""
    whole = scores(0.1, 0.9)
    cams = np.empty(2, object)
    cams[0], cams[1] = np.full((1, 1), 9, np.float32), np.full((2, 2), 0.5, np.float32)
    report = parity(["a", "b"], whole, Scores(whole.p_crack_N, cams, whole.ood_N), THRESHOLDS)
    assert report.max_cam_difference == pytest.approx(0.5)


def test_a_flip_is_one_however_small_the_difference():
    below = float(np.nextafter(np.float32(0.7), np.float32(0)))
    report = parity(["x", "on the edge"], scores(0.5, below), scores(0.5, 0.71), THRESHOLDS)
    assert [flip.image for flip in report.verdict_flips] == ["on the edge"]


def test_the_evidence_holds_no_names():
    report = parity(["/private/somebody/wall.jpg"], scores(0.1), scores(0.9), THRESHOLDS)
    assert "somebody" not in str(report.to_json())
    assert report.to_json()["verdict_flips"] == [[pytest.approx(0.1), pytest.approx(0.9)]]


@pytest.mark.parametrize(("p", "cam"), [(float("nan"), 1.0), (0.5, float("nan"))])
def test_nothing_agrees_with_no_number(p, cam):
    report = parity(["a", "b"], scores(0.5, 0.5), scores(p, 0.5, cam=cam), THRESHOLDS)
    assert max(report.max_difference, report.max_cam_difference) == float("inf")


def test_answers_of_different_length_are_not_compared():
    with pytest.raises(ValueError, match="zip"):
        parity(["a", "b"], scores(0.1, 0.2), scores(0.1), THRESHOLDS)
