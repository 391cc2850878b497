"""Two results compared, by the properties that a comparison must have."""

from __future__ import annotations

import copy
import dataclasses
import json
from itertools import pairwise

import pytest

from bench.compare import TOO_FEW, Change, compare, markdown_lines, terminal_lines
from inspector.errors import UsageError
from tests.bench.made import HOSTILE, made_results


@pytest.fixture(scope="module")
def before():
    return made_results()


def case_of(results, identity):
    return next(case for case in results.cases if case.id == identity)


def changed(results, identity, **values):
    """A copy in which one case is another."""
    copied = copy.deepcopy(results)
    case = case_of(copied, identity)
    for name, value in values.items():
        setattr(case, name, value)
    return copied


def found_in(comparison, identity):
    return next(case for case in comparison.cases if case.id == identity)


def test_a_against_itself_is_noise(before):
    found = compare(before, before)
    assert not found.regressed and not found.of(Change.IMPROVEMENT)
    assert all(case.ratio.median == pytest.approx(1) for case in found.cases if case.ratio)
    assert (found.only_a, found.only_b, found.differences) == ((), (), ())
    assert len(found.cases) == len(before.cases)


@pytest.mark.parametrize(("times", "change"), [(0.5, Change.REGRESSION), (2, Change.IMPROVEMENT)])
def test_a_factor_of_two_is_found_everywhere(before, times, change):
    found = compare(before, made_results(seed=9, times=times))
    measured = [case for case in found.cases if case.ratio]
    assert measured and all(case.change is change for case in measured)
    assert found.regressed == (change is Change.REGRESSION)
    assert found.ceilings["fp32"] == pytest.approx(times)
    assert any("ceilings are not the same" in line for line in markdown_lines(found))


def test_what_is_certain_but_small_is_noise(before):
    precise = [made_results(seed=k, noise=1e-4, times=t) for k, t in ((1, 1.0), (2, 0.96))]
    assert not compare(*precise).regressed
    assert compare(*precise, threshold=0.03).regressed


def test_chance_alone_rarely_calls_a_regression():
    """Runs of one machine whose rounds scatter by 3 %, at the threshold that is the default."""
    results = [made_results(seed=k, noise=0.03, rounds=5) for k in range(12)]
    changed = cases = 0
    for a, b in pairwise(results):
        found = compare(a, b)
        changed += sum(case.change is not Change.SAME for case in found.cases)
        cases += sum(case.ratio is not None for case in found.cases)
    assert changed <= 0.03 * cases


def test_two_rounds_cannot_tell(before):
    found = compare(before, made_results(rounds=2, times=0.1))
    assert not found.regressed
    assert found_in(found, "engine/eager fp32/8").reason == TOO_FEW
    assert any("Too few rounds to tell" in line for line in terminal_lines(found))


@pytest.mark.parametrize("status", ["failed", "unavailable"])
def test_what_no_longer_runs_is_a_regression_with_the_reason(before, status):
    after = changed(before, "scan/openvino int8/tiles", status=status, reason="cracks missed")
    found = compare(before, after)
    (case,) = found.of(Change.REGRESSION)
    assert found.regressed and "cracks missed" in case.reason and status in case.reason
    assert any("cracks missed" in line for line in terminal_lines(found))
    (back,) = compare(after, before).of(Change.IMPROVEMENT)
    assert back.id == case.id


def test_an_engine_that_no_longer_opens_stands_for_all_its_batch_sizes(before):
    """It then has one entry without a batch size instead of three with one."""
    after = copy.deepcopy(before)
    broken = changed(after, "engine/eager fp32/8", id="engine/eager fp32", status="failed",
                     reason="it does not open", rates=[], rate=None)  # fmt: skip
    gone = ("engine/eager fp32/1", "engine/eager fp32/32")
    broken.cases = [case for case in broken.cases if case.id not in gone]
    found = compare(before, broken)
    assert {c.id for c in found.of(Change.REGRESSION)} == {*gone, "engine/eager fp32/8"}
    assert found.only_a == found.only_b == ()
    assert len(compare(broken, before).of(Change.IMPROVEMENT)) == 3


def test_a_newly_missed_crack_is_a_regression_whatever_the_speed(before):
    case = case_of(before, "scan/openvino int8/tiles")
    answers = dataclasses.replace(case.answers, missed_cracks=1)
    after = changed(before, case.id, rates=[2 * rate for rate in case.rates], answers=answers)
    found = compare(before, after)
    assert found_in(found, case.id).reason == "1 cracks called clear, before 0"
    assert found.regressed


def test_a_new_case_with_wrong_answers_is_named(before):
    after = made_results(broken=True)
    found = compare(before, after)
    assert "engine/compile fp32" in found.only_b
    assert found.regressed is False
    worse = changed(before, "peer/ray/tiles", status="failed", reason="wrong")
    assert compare(before, worse).regressed


def test_what_else_changed_is_said_in_words(before):
    after = copy.deepcopy(before)
    after.system |= {"cpu": "Another CPU", "gpus": ["H200"], "packages": {"numpy": "2.4.0"},
                        "load_average": 3.0}  # fmt: skip
    after.model |= {"digest": "cd" * 32}
    after.inputs["tiles"].files = 5
    after.mode = "full"
    text = "\n".join(compare(before, after).differences)
    for words in ("cpu Example CPU @ 2.70GHz in A, Another CPU in B", "gpus none in A, H200",
                  "compare machines, not versions", "Another model", "Other tiles: 192 of",
                  "numpy 2.3.0 in A, 2.4.0 in B", "onnxruntime 1.31.0 in A, missing in B",
                  "quick in A, full in B", "B began on a busy machine"):  # fmt: skip
        assert words in text, words


def test_another_driver_is_no_other_machine(before):
    one, other = copy.deepcopy(before), copy.deepcopy(before)
    for results, driver in ((one, "550.1"), (other, "560.2")):
        results.system |= {"gpus": [f"H200, driver {driver}, 141 GB"], "driver": driver}
    (sentence,) = compare(one, other).differences
    assert sentence == "Other versions: driver 550.1 in A, 560.2 in B."


def test_json_and_text_say_the_same(before):
    found = compare(before, made_results(seed=4, times=0.8, broken=True))
    said = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert said["regressed"] is True and len(said["cases"]) == len(found.cases)
    lines, markdown = terminal_lines(found), "\n".join(markdown_lines(found))
    assert max(map(len, lines)) <= 80
    for case in said["cases"]:
        if case["ratio"]:
            assert f"{case['ratio']['median']:.2f}" in markdown and case["id"] in markdown


def test_nothing_from_outside_drives_a_terminal_or_a_page(before):
    nasty = f"\x1b[31m{HOSTILE}"
    found = compare(before, changed(before, "peer/timm/tiles", status="failed", reason=nasty))
    assert "\x1b" not in "".join(terminal_lines(found)) + "".join(markdown_lines(found))
    assert "<img" not in "".join(markdown_lines(found))


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 5.0, float("nan")])
def test_a_threshold_is_a_share(before, threshold):
    with pytest.raises(UsageError, match="--threshold"):
        compare(before, before, threshold=threshold)
