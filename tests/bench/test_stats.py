"""Summaries of measurements, by their properties."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import pairwise_ratios, percentile, shuffled_rounds, spread
from bench.system import cpu_flags, describe_system, without_folders

TIMES = st.floats(1e-3, 1e6)
ROUNDS = st.lists(st.tuples(TIMES, TIMES, st.floats(0.1, 10)), min_size=1, max_size=12)


@given(st.lists(TIMES, min_size=1), st.randoms())
def test_spread_holds_its_values_in_order_and_ignores_theirs(values, rng):
    found = spread(values)
    assert min(values) == found["min"] <= found["median"] <= found["max"] == max(values)
    assert spread(rng.sample(values, len(values))) == found


@given(st.lists(TIMES, min_size=1, max_size=200), st.integers(1, 100))
def test_percentile_is_the_least_value_that_enough_do_not_exceed(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(v <= found for v in values) * 100 >= percent * len(values)
    assert sum(v < found for v in values) * 100 < percent * len(values)
    assert found == np.percentile(values, percent, method="inverted_cdf")


@given(ROUNDS)
def test_a_drift_that_hits_whole_rounds_leaves_pairwise_ratios_alone(rounds):
    values, reference, drift = zip(*rounds, strict=True)
    drifted = [v * d for v, d in zip(values, drift, strict=True)]
    drifted_reference = [v * d for v, d in zip(reference, drift, strict=True)]
    calm = median(pairwise_ratios(values, reference))
    assert median(pairwise_ratios(drifted, drifted_reference)) == pytest.approx(calm)
    assert pairwise_ratios(values, values) == [1.0] * len(values)


def test_ratios_of_different_numbers_of_rounds_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        pairwise_ratios([1.0, 2.0], [1.0])


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 99))
def test_every_round_has_every_case_once(cases, rounds, seed):
    turns = list(shuffled_rounds(range(cases), rounds, seed=seed))
    assert [sorted(turn) for turn in turns] == [list(range(cases))] * rounds
    assert turns == list(shuffled_rounds(range(cases), rounds, seed=seed))


def test_the_order_changes_between_rounds():
    assert len({tuple(turn) for turn in shuffled_rounds("abcd", 10, seed=0)}) > 1


def test_errors_lose_their_folders_only():
    text = "/opt/some/where/model.ts is no model (see /tmp/x/y.log); half/way 3/4 https://a.b/c/d"
    assert without_folders(text) == "model.ts is no model (see y.log); half/way 3/4 https://a.b/c/d"


def test_the_system_is_described_without_its_name():
    import socket

    found = describe_system()
    assert found["usable_cores"] >= 1
    assert found["packages"]["numpy"] == np.__version__
    assert "hostname" not in found
    assert socket.gethostname() not in map(str, found.values())


def test_the_processor_says_what_it_can_do():
    flags = cpu_flags()
    assert flags == sorted(set(flags))
    assert not set(flags) - {"asimddp", "i8mm"} or not {"asimddp", "i8mm"} & set(flags)
