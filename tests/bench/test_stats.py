"""Summaries of measurements, by their properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import system
from bench.stats import NO_NOISE_KNOWN, Noise, interval, noise_of, percentile, ratio, spread
from bench.system import cpu_flags, describe_system, without_folders

TIMES = st.floats(1e-3, 1e6)


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


def test_cores_are_counted_once_per_socket_however_many_threads_they_run(tmp_path, monkeypatch):
    threads = [("0", "0"), ("0", "1"), ("0", "0"), ("0", "1"), ("1", "0")]
    text = "".join(f"physical id\t: {s}\ncore id\t\t: {c}\n\n" for s, c in threads)
    file = tmp_path / "cpuinfo"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(system, "_CPUINFO", file)
    assert system.physical_cores() == 3
    file.write_text("model name : any\n", encoding="utf-8")
    assert system.physical_cores() is None


def test_the_governor_and_cuda_where_they_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "_GOVERNOR", tmp_path / "scaling_governor")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (system.cpu_governor(), system.cuda_version()) == (None, None)
    (tmp_path / "scaling_governor").write_text("powersave\n", encoding="utf-8")
    program = tmp_path / "nvidia-smi"
    header = "| NVIDIA-SMI 570.86.15   Driver Version: 570.86.15   CUDA Version: 12.8     |"
    program.write_text(f"#!/bin/sh\necho '{header}'\n", encoding="utf-8")
    program.chmod(0o755)
    assert (system.cpu_governor(), system.cuda_version()) == ("powersave", "12.8")


rates = st.lists(st.floats(1.0, 1000.0), min_size=2, max_size=8)


@settings(deadline=None)  # the first example loads SciPy
@given(rates)
def test_an_interval_holds_the_middle_of_few_values(values):
    found = interval(values)
    assert found["rounds"] == len(values)
    low, high = found["low"], found["high"]
    assert low <= math.exp(np.log(values).mean()) * (1 + 1e-9)
    assert high >= math.exp(np.log(values).mean()) * (1 - 1e-9)
    if len(values) <= 6:
        assert low * (1 - 1e-9) <= found["median"] <= high * (1 + 1e-9)


def test_one_value_has_no_interval():
    assert interval([3.0]) == {"median": 3.0, "low": None, "high": None, "rounds": 1}
    assert ratio([3.0], [2.0, 2.0])["p_value"] is None


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    drawn = np.exp(rng.normal(np.log(50), 0.05, (2000, 4)))
    found = [interval(row.tolist()) for row in drawn]
    share = np.mean([of["low"] <= 50 <= of["high"] for of in found])
    assert 0.935 < share < 0.965


def test_the_noise_of_all_makes_the_intervals_of_few_rounds_narrow_and_they_still_hold():
    rng = np.random.default_rng(2)
    held, wide, narrow = [], [], []
    for _ in range(300):
        cases = np.exp(rng.normal(np.log(50), 0.05, (8, 2))).tolist()
        noise = noise_of(cases)
        assert noise.freedom == 8
        of = interval(cases[0], noise)
        held.append(of["low"] <= 50 <= of["high"])
        narrow.append(math.log(of["high"] / of["low"]))
        alone = interval(cases[0])
        wide.append(math.log(alone["high"] / alone["low"]))
    assert np.mean(held) > 0.92
    assert np.median(narrow) < np.median(wide) / 2


def test_one_round_borrows_its_interval_and_many_rounds_keep_their_own():
    noise = Noise(0.05**2, 20)
    assert interval([3.0], noise)["low"] == pytest.approx(3 * math.exp(-2.776 * 0.05), rel=1e-3)
    many = [100 * (1 + 0.3 * (-1) ** k) for k in range(60)]
    own, lent = interval(many), interval(many, noise)
    assert lent["high"] == pytest.approx(own["high"], rel=0.02)
    assert ratio([3.0], [2.0], noise, noise)["p_value"] < 0.01
    assert noise_of([[1.0], [2.0], []]) == NO_NOISE_KNOWN


@settings(deadline=None)
@given(rates, rates)
def test_a_ratio_turned_round_is_its_inverse(values, base):
    one, other = ratio(values, base), ratio(base, values)
    assert one["ratio"] == pytest.approx(1 / other["ratio"])
    if one["p_value"] is not None:
        assert one["p_value"] == pytest.approx(other["p_value"], abs=1e-9)
        assert one["low"] == pytest.approx(1 / other["high"], rel=1e-6)


def test_equal_rates_are_rarely_told_apart_and_different_ones_are():
    rng = np.random.default_rng(1)
    drawn = np.exp(rng.normal(np.log(50), 0.05, (2000, 2, 4)))
    odds = [ratio(a.tolist(), b.tolist())["p_value"] for a, b in drawn]
    assert np.mean(np.array(odds) < 0.05) < 0.06
    assert ratio([50, 51, 49], [100, 102, 98])["p_value"] < 0.01
    assert ratio([50, 50], [50, 50])["p_value"] == 1
    assert ratio([50, 50], [60, 60])["p_value"] == 0
