"""The rules by which answers are right, and mistakes that must not slip through them."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import pytest

from bench.answers import (
    LEAST_IMAGES,
    Answer,
    Furthest,
    Rule,
    allowed_other,
    check,
    examine,
    judge_counts,
    mistaken,
    resembled,
    with_truth,
    worst_of,
)
from bench.prepare import make_pool
from inspector.engines import open_backend
from inspector.model.bundle import Thresholds
from inspector.synthesis import Kind, make_scene
from inspector.types import Scores

THRESHOLDS = Thresholds(clear_below=0.3, crack_from=0.7)


def answers(**p_cracks):
    return {name: Answer(p) for name, p in p_cracks.items()}


EXPECTED = answers(a=0.1, b=0.9, c=None)


@pytest.mark.parametrize(
    ("found", "rows", "wrong"),
    [
        (answers(a=0.1, b=0.9, c=None), 3, ""),
        (answers(a=0.10005, b=0.9, c=None), 3, ""),
        (answers(a=0.9, b=0.1, c=None), 3, "2 of 2 probabilities"),
        (answers(a=0.1, b=float("nan"), c=None), 3, "1 of 2 probabilities"),
        (answers(a=None, b=0.9, c=0.1), 3, "judged or refused 2 files"),
        (answers(a=0.1, b=0.9), 2, "2 rows"),
        (answers(a=0.1, b=0.9, c=None), 4, "4 rows"),
        (answers(a=0.1, b=0.9, d=None), 3, "not one for each"),
    ],
)
def test_what_is_wrong_in_a_table_is_found(found, rows, wrong):
    said = examine(EXPECTED, found, rows, Rule.PROBABILITIES, THRESHOLDS).trouble
    assert wrong in said
    assert bool(said) == bool(wrong)


@pytest.mark.parametrize(
    ("rule", "images", "other", "missed", "right"),
    [
        (Rule.VERDICTS, 10, 1, 0, True),
        (Rule.VERDICTS, 10, 2, 0, False),
        (Rule.VERDICTS, 10, 1, 1, False),
        (Rule.VERDICTS, 1999, 1, 0, True),
        (Rule.VERDICTS, 1999, 1, 1, False),
        (Rule.VERDICTS, 2000, 2, 1, True),
        (Rule.VERDICTS, 2000, 3, 0, False),
        (Rule.PROBABILITIES, 100, 2, 0, False),
        (Rule.OWN_PIXELS, 10, 1, 1, True),
        (Rule.OWN_PIXELS, 100, 3, 0, False),
        (Rule.OWN_PIXELS, 300, 6, 6, True),
        (Rule.OWN_PIXELS, 300, 7, 0, False),
    ],
)
def test_how_many_verdicts_may_differ(rule, images, other, missed, right):
    assert (judge_counts(rule, [0.0] * images, other, missed) == "") is right


@pytest.mark.parametrize("rule", Rule)
def test_more_images_never_allow_fewer_differences(rule):
    allowed = [allowed_other(rule, images) for images in range(1, 5000, 7)]
    assert allowed == sorted(allowed)


def test_probabilities_may_move_where_the_rule_says_so_but_not_verdicts():
    moved = answers(a=0.25, b=0.75, c=None)
    assert examine(EXPECTED, moved, 3, Rule.PROBABILITIES, THRESHOLDS).trouble
    outcome = examine(EXPECTED, moved, 3, Rule.VERDICTS, THRESHOLDS)
    assert (outcome.trouble, outcome.other_verdicts) == ("", 0)
    assert outcome.largest_difference == pytest.approx(0.15)
    missed = examine(EXPECTED, answers(a=0.1, b=0.2, c=None), 3, Rule.VERDICTS, THRESHOLDS)
    assert (missed.missed_cracks, missed.trouble) == (1, "1 of 2 are cracks that it calls clear")
    nan = examine(EXPECTED, answers(a=0.1, b=float("nan"), c=None), 3, Rule.OWN_PIXELS, THRESHOLDS)
    assert "no numbers" in nan.trouble


def test_a_wrong_verdict_beside_a_right_probability_is_found():
    expected = {name: Answer(0.9, "crack") for name in "ab"}
    found = {"a": Answer(0.9, "crack"), "b": Answer(0.9, "clear")}
    outcome = examine(expected, found, 2, Rule.PROBABILITIES, THRESHOLDS)
    assert "cracks that it calls clear" in outcome.trouble
    assert worst_of([examine(expected, expected, 2, Rule.VERDICTS, THRESHOLDS), outcome]) == outcome


def test_a_photo_too_large_to_be_clear_is_review_for_a_scan_only():
    expected = {"a": Answer(0.1, "review")}
    scan = examine(expected, {"a": Answer(0.1, "clear")}, 1, Rule.VERDICTS, THRESHOLDS)
    loop = examine(expected, {"a": Answer(0.1)}, 1, Rule.VERDICTS, THRESHOLDS)
    assert (scan.other_verdicts, loop.other_verdicts) == (1, 0)


@pytest.fixture(scope="module")
def pool(tiny_bundle):
    rng, side = np.random.default_rng(0), tiny_bundle.preprocess.size
    scenes = [make_scene(rng, side, side, kind).pixels for kind in islice(cycle(Kind), 32)]
    with closing(open_backend(tiny_bundle, "eager", device="cpu")) as eager:
        return make_pool(eager, np.stack(scenes), tiny_bundle.preprocess)


def swapped(pixels_NHWC):
    return np.ascontiguousarray(pixels_NHWC[..., ::-1])


def half_normalised(pixels_NHWC):
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wrong = 255 * (mean + std * (pixels_NHWC / 255 - 0.5) / 0.5)
    return np.rint(wrong).astype(np.uint8)


@pytest.mark.parametrize(
    ("broken", "mistake"),
    [(swapped, "swapped channels"), (half_normalised, "mean and std of 0.5"), (None, None)],
)
def test_an_engine_with_a_mistake_resembles_the_reference_with_it(
    tiny_bundle, pool, broken, mistake
):
    """Also behind noise as large as that of int8, and where no verdict changes."""
    with closing(open_backend(tiny_bundle, device="cpu", threads=1)) as engine:
        pixels_NHWC = broken(pool.pixels_NHWC) if broken else pool.pixels_NHWC
        p_N = engine.run(pixels_NHWC).p_crack_N
    rng = np.random.default_rng(0)
    logits_N = np.log(p_N / (1 - p_N)) + rng.normal(0, 0.02, len(p_N))
    found = {str(k): float(1 / (1 + np.exp(-logit))) for k, logit in enumerate(logits_N)}
    right = {str(k): float(p) for k, p in enumerate(pool.expected.p_crack_N)}
    assert resembled(right, found, pool.mistakes) == mistake
    few = {name: found[name] for name in list(found)[: LEAST_IMAGES - 1]}
    assert resembled(right, few, pool.mistakes) is None

    blind = Thresholds(clear_below=0.0, crack_from=1.0)
    furthest = Furthest(pool.expected)
    p_N = np.array(list(found.values()), np.float32)
    furthest.add(range(len(p_N)), replace(pool.expected, p_crack_N=p_N))
    outcome = check(furthest, pool.mistakes, blind, Rule.VERDICTS)
    assert outcome.other_verdicts == 0
    assert (mistake in outcome.trouble) if mistake else outcome.trouble == ""


def test_known_mistakes_change_the_answers(tiny_bundle, pool):
    with closing(open_backend(tiny_bundle, "eager", device="cpu")) as eager:
        images = {str(k): pixels for k, pixels in enumerate(pool.pixels_NHWC[:4])}
        wrong = mistaken(eager, images, tiny_bundle.preprocess)
    assert all(p != pool.expected.p_crack_N[int(k)] for m in wrong.values() for k, p in m.items())


def test_the_furthest_answer_of_several_runs_counts_also_from_other_processes(pool):
    right, places = pool.expected, range(4)
    wrong_N = right.p_crack_N[:4].copy()
    wrong_N[2] += 0.01
    furthest = Furthest(right)
    for p_N in (right.p_crack_N[:4], wrong_N, right.p_crack_N[:4]):
        one = Furthest(right)
        one.add(places, Scores(p_N, right.cam_NHW[:4], right.ood_N[:4]))
        furthest.merge(json.loads(json.dumps(one.to_json())))
    outcome = check(furthest, pool.mistakes, THRESHOLDS, Rule.PROBABILITIES)
    assert "1 of 4 probabilities are wrong" in outcome.trouble
    assert outcome.largest_difference == pytest.approx(0.01, rel=1e-3)


def test_maps_and_answers_that_are_no_numbers_count_too(pool):
    right, places = pool.expected, range(4)
    maps = Furthest(right)
    maps.add(places, Scores(right.p_crack_N[:4], right.cam_NHW[:4] * 1.01, right.ood_N[:4]))
    found = check(maps, pool.mistakes, THRESHOLDS, Rule.PROBABILITIES)
    assert "activation maps are wrong" in found.trouble
    one = Furthest(right)
    nothing_N = np.array([np.nan, *right.p_crack_N[1:4]], np.float32)
    one.add(places, Scores(nothing_N, right.cam_NHW[:4], right.ood_N[:4]))
    other = Furthest(right)
    other.merge(json.loads(json.dumps(one.to_json())))
    for rule in (Rule.PROBABILITIES, Rule.VERDICTS):
        assert "1 of 4 probabilities are" in check(other, pool.mistakes, THRESHOLDS, rule).trouble


def test_roc_auc_needs_both_classes_and_numbers():
    right = {"a": 0.1, "b": 0.9, "c": 0.4}
    outcome = examine({}, {}, 0, Rule.VERDICTS, THRESHOLDS)

    def areas(truth, found):
        figures = with_truth(outcome, truth, found, right)
        return figures.roc_auc, figures.reference_roc_auc

    truth = {"a": False, "b": True}
    assert areas(truth | {"c": True}, right) == (1.0, 1.0)
    assert areas({"a": False}, right) == (None, None)
    assert areas(truth, right | {"a": float("nan")}) == (None, 1.0)
