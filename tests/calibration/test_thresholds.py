"""Thresholds keep their promise: on the images they were chosen on, and on fresh ones as often as
they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import beta, norm

from inspector.calibration.edges import error_bound, most_errors, safest_edge, trials_needed
from inspector.calibration.thresholds import (
    Costs,
    Judged,
    Rule,
    choose_thresholds,
    for_unseen_walls,
    recalibrated,
)
from inspector.errors import DataError, UsageError
from inspector.model.bundle import ModelBundle, Thresholds

seeds, counts = st.integers(0, 2**32 - 1), st.integers(1, 300)
targets = st.floats(0.5, 0.999)


def wall(seed, cracks, clears, sources=1):
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.beta(4, 2, cracks), rng.beta(1, 6, clears)]).astype(np.float32)
    truth = np.arange(cracks + clears) < cracks
    return Judged(p, truth, rng.integers(0, sources, len(p)).astype(str))


def misses(judged, thresholds, of=True):
    below = judged.p_N < np.float32(thresholds.clear_below)
    return int((below & judged.is_crack_N & of).sum())


def alarms(judged, thresholds, of=True):
    above = judged.p_N >= np.float32(thresholds.crack_from)
    return int((above & ~judged.is_crack_N & of).sum())


@settings(max_examples=50)
@given(seeds, counts, counts, targets, targets, st.integers(1, 4))
def test_choose_thresholds_meets_targets_on_its_own_images(
    seed, cracks, clears, recall, specificity, k
):
    judged = wall(seed, cracks, clears, sources=k)
    rule = Rule(target_recall=recall, target_specificity=specificity)
    chosen = choose_thresholds(judged, rule, on="test")
    assert 0 <= chosen.clear_below <= chosen.crack_from <= 1
    for side, count, share, truth in (
        ("missed", misses, 1 - recall, True), ("alarms", alarms, 1 - specificity, False),
    ):  # fmt: skip
        parts = chosen.evidence[side]["parts"]
        assert sorted(s for part in parts for s in part["sources"]) == sorted(
            set(judged.source_N[judged.is_crack_N == truth].tolist())
        )
        for part in parts:
            of = np.isin(judged.source_N, part["sources"])
            most = max(0, most_errors(part["units"], share, 0.95))
            assert count(judged, chosen, of) <= most
            assert part["at_most"] >= error_bound(most, part["units"], 0.95) - 1e-9 or (
                part["at_most"] == pytest.approx(share)
            )


@settings(max_examples=50)
@given(seeds, counts, st.integers(1, 4), targets, targets)
def test_higher_target_is_never_less_careful(seed, cracks, sources, one, other):
    judged = wall(seed, cracks, 1, sources)
    low, high = sorted([one, other])
    assert _recall_edge(judged, high) <= _recall_edge(judged, low)


rules = st.one_of(
    st.builds(
        Rule, target_recall=targets, target_specificity=targets, by_source=st.booleans(),
        confidence=st.floats(0.5, 0.999),
    ),
    st.builds(
        lambda miss, review: Rule(costs=Costs(miss=miss, false_alarm=1, review=review)),
        st.floats(0.1, 500), st.floats(0.01, 2),
    ),
)  # fmt: skip
owns = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(
    lambda pair: Thresholds(clear_below=min(pair), crack_from=max(pair))
)


@settings(max_examples=150)
@given(seeds, counts, counts, st.integers(1, 4), rules, owns)
def test_no_photo_is_called_clear_that_the_model_itself_would_not(
    seed, cracks, clears, sources, rule, own
):
    """Unless it is allowed; and with too few images for a target, nothing is chosen at all."""
    judged = wall(seed, cracks, clears, sources)
    free = choose_thresholds(judged, rule, on="test")
    short = any(
        part["at_most"] > free.evidence[side]["asked"]
        for side in ("missed", "alarms")
        for part in free.evidence.get(side, {"parts": []})["parts"]
    )
    if short:
        for allow in (False, True):
            with pytest.raises(DataError, match=r"it takes \d.*stay as they are"):
                recalibrated(judged, rule, own, on="test", allow_laxer=allow)
        return
    held = recalibrated(judged, rule, own, on="test", allow_laxer=False)
    assert held.clear_below <= own.clear_below
    assert misses(judged, held) <= misses(judged, own)
    assert held.clear_below <= free.clear_below and held.crack_from >= held.clear_below
    was_held = "would_be_clear_below" in held.evidence
    assert was_held == (free.clear_below > own.clear_below)
    assert recalibrated(judged, rule, own, on="test", allow_laxer=True) == free


@settings(max_examples=50)
@given(st.integers(1, 400), targets, st.floats(0.5, 0.99))
@example(1, 0.5, 0.5000000000000001)
def test_as_many_as_it_takes_are_enough_and_one_less_is_not(others, target, confidence):
    rule = Rule(target_recall=target, target_specificity=0.5, confidence=confidence)
    needed = trials_needed(1 - target, confidence)
    own = Thresholds(clear_below=0.1, crack_from=0.9)
    enough = wall(others, needed, 1000)
    recalibrated(enough, rule, own, on="test", allow_laxer=False)
    if needed > 1:
        with pytest.raises(DataError, match=f"it takes {needed:,}"):
            recalibrated(wall(others, needed - 1, 1000), rule, own, on="test", allow_laxer=True)


def _recall_edge(judged, target, confidence=0.95):
    p, sources = judged.p_N[judged.is_crack_N], judged.source_N[judged.is_crack_N]
    share = 1 - target
    return safest_edge(p, sources, None, share=share, confidence=confidence, by_source=True).at


@settings(max_examples=50)
@given(seeds, counts, targets, st.floats(0.5, 0.9), st.floats(0.9, 0.999))
def test_more_confidence_is_never_less_careful(seed, cracks, target, low, high):
    judged = wall(seed, cracks, 5)
    assert _recall_edge(judged, target, high) <= _recall_edge(judged, target, low)


@pytest.mark.parametrize(("cracks", "recall"), [(40, 0.9), (300, 0.98)])
def test_guarantee_holds_as_often_as_the_confidence_says(cracks, recall):
    """On a wall whose probabilities are known, the miss rate on all further photos exceeds 1 -
    recall in no more than 5 % of the calibrations."""
    rng = np.random.default_rng(cracks)
    runs = 1000
    chosen = np.array([_edge_of(p, None, 1 - recall) for p in rng.beta(4, 2, (runs, cracks))])
    broken = (beta.cdf(chosen, 4, 2) > 1 - recall).mean()
    assert broken <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert broken >= 0.01  # and it is no more careful than it has to be


def _edge_of(p, groups, share):
    sources = np.zeros(len(p), dtype=str)
    return safest_edge(p, sources, groups, share=share, confidence=0.95, by_source=True).at


def test_groups_keep_the_promise_where_single_photos_break_it():
    """Photos of one wall are alike. What is promised is the mean over walls of the share missed."""
    rng = np.random.default_rng(5)
    runs, walls, photos, share = 200, 60, 8, 0.1
    wall_N = np.repeat(np.arange(walls), photos).astype(str)
    odds = rng.normal(1.5, 1.5, (runs, walls, 1)) + rng.normal(0, 0.5, (runs, walls, photos))
    p = expit(odds.reshape(runs, -1))

    def broken(groups):
        chosen = np.array([_edge_of(p[run], groups, share) for run in range(runs)])
        return (norm.cdf((logit(chosen) - 1.5) / np.hypot(1.5, 0.5)) > share).mean()

    assert broken(wall_N) <= 0.05
    assert broken(None) > 0.1


def test_every_source_keeps_the_promise_not_their_sum():
    """A bad wall of 100 cracks hides among 1,000 easy ones only if sources are pooled."""
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.uniform(0.9, 1, 1000), rng.uniform(0, 1, 100), rng.uniform(0, 0.1, 99)])
    judged = Judged(p, np.arange(1199) < 1100, np.repeat(["easy", "bad", "easy"], [1000, 100, 99]))
    shares = {}
    for by_source in (True, False):
        chosen = choose_thresholds(judged, Rule(by_source=by_source), on="x")
        shares[by_source] = misses(judged, chosen, judged.source_N == "bad") / 100
    assert shares[True] <= 0.1 < shares[False]


def test_claim_of_few_images_says_what_they_can_show():
    judged = wall(0, 12, 300)
    chosen = choose_thresholds(judged, Rule(target_recall=0.99), on="12 photos")
    assert misses(judged, chosen) == 0
    # 1 - 0.05 ** (1 / 12) is 22.1 %
    assert "at most 22.1 % of cracks on images like these are called clear" in chosen.chosen
    assert "12 images can show no less than 22.1 %; for 1 % it takes 299" in chosen.chosen


def test_small_sources_are_counted_together_and_named():
    judged = wall(3, 300, 300)
    sources = np.array(["big"] * 250 + ["s1"] * 25 + ["s2"] * 25 + ["big"] * 300)
    chosen = choose_thresholds(Judged(judged.p_N, judged.is_crack_N, sources), Rule(), on="x")
    assert "(each of big, s1 with s2)" in chosen.chosen
    assert [part["units"] for part in chosen.evidence["missed"]["parts"]] == [250, 50]


def test_separated_classes_get_one_threshold_in_the_middle():
    p = np.repeat([0.02, 0.98], 100)
    judged = Judged(p, p > 0.5, np.zeros(200, dtype=str))
    chosen = choose_thresholds(judged, Rule(), on="x")
    assert chosen.clear_below == chosen.crack_from == pytest.approx(0.5, abs=1e-3)
    unseen = choose_thresholds(judged, for_unseen_walls(Rule()), on="x")
    assert (unseen.clear_below, unseen.crack_from) == (0.17, 0.5)


def test_thresholds_near_one_keep_their_digits():
    p = np.concatenate([np.linspace(0.9999, 0.999999, 400), np.linspace(0.99, 0.99995, 400)])
    judged = Judged(p, np.arange(800) < 400, np.zeros(800, dtype=str))
    chosen = choose_thresholds(judged, Rule(), on="x")
    assert 0.9999 > chosen.clear_below == chosen.crack_from > 0.9995
    assert alarms(judged, chosen) <= most_errors(400, 0.08, 0.95) and misses(judged, chosen) == 0
    rule = Rule(target_specificity=0.999)
    assert 0.99995 < choose_thresholds(judged, rule, on="x").crack_from < 1


def test_crack_free_images_with_probability_one_are_admitted():
    p = np.concatenate([np.full(50, 0.5), np.ones(50)]).astype(np.float32)
    chosen = choose_thresholds(Judged(p, np.arange(100) < 50, np.zeros(100, str)), Rule(), on="x")
    assert "no threshold keeps the target for crack-free images" in chosen.chosen


def test_thresholds_by_costs_claim_no_guarantee():
    judged = wall(1, 200, 200)
    rule = Rule(costs=Costs(miss=50, false_alarm=1), prevalence=0.02)
    chosen = choose_thresholds(judged, rule, on="200 photos")
    assert "nothing is guaranteed" in chosen.chosen and "2.00% have a crack" in chosen.chosen
    assert for_unseen_walls(rule) == rule


def test_the_evidence_survives_json(tiny_bundle_copy):
    chosen = choose_thresholds(wall(0, 90, 90), Rule(), on="x")
    replace(tiny_bundle_copy, thresholds=chosen).save()
    assert ModelBundle.load(tiny_bundle_copy.path).thresholds == chosen


def test_judged_and_rule_reject_impossible_values():
    with pytest.raises(DataError, match="0 with and 5 without"):
        Judged(np.zeros(5), np.zeros(5, bool), np.zeros(5, str))
    for wrong in ({"target_recall": 1}, {"confidence": 0}, {"prevalence": 1.5}):
        with pytest.raises(UsageError, match=r"not between 0 and 1"):
            Rule(**wrong)
