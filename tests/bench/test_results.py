"""Results written, read again, and shown; made-up ones, see `made`."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from typing import Any

import pytest

from bench.report.markdown import report_lines, terminal_lines
from bench.report.page import render_page
from bench.report.wording import figure
from bench.results import PAGE, REPORT, RESULTS, Recommendation, read_results, write_results
from inspector.errors import InspectorError, OutputError
from tests.bench.made import made_results
from tests.pages import check_charts, open_on_a_phone


@pytest.fixture(scope="module")
def results():
    return made_results(broken=True)


def few(results):
    """A copy without most of what takes time to draw."""
    copied = copy.deepcopy(results)
    copied.cases = [case for case in copied.cases if case.input == "tiles"
                    or case.id.startswith("engine/openvino int8")]  # fmt: skip
    return copied


@pytest.fixture(scope="module")
def out(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite") / "new" / "out"
    write_results(folder, results)
    return folder


@pytest.fixture(scope="module")
def html(out):
    return (out / PAGE).read_text(encoding="utf-8")


def test_what_is_written_is_read_again(results, out):
    assert sorted(file.name for file in out.iterdir()) == sorted((PAGE, REPORT, RESULTS))
    assert read_results(out) == read_results(out / RESULTS) == results


DAMAGE: dict[str, tuple[dict[str, Any], str]] = {
    "other benchmark": ({"benchmark": "scan"}, "not written by inspector bench"),
    "a later format": ({"format": 3}, "has format 3, this version reads format 2"),
    "an earlier format": ({"format": 1}, "has format 1, this version"),
    "cases gone": ({"cases": None}, "cases is None, not a list"),
    "no advice": ({"recommendation": {}}, "recommendation has no 'sentence'"),
    "a case that is none": ({"cases": ["x"]}, "cases[0] is 'x', not an object"),
    "a ceiling of old": ({"ceilings": {"fp32": 3.0}}, "ceilings['fp32'] is 3.0, not an object"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line(results, tmp_path, name):
    values, words = DAMAGE[name]
    (tmp_path / RESULTS).write_text(json.dumps(dataclasses.asdict(results) | values))
    with pytest.raises(InspectorError, match=re.escape(words)) as raised:
        read_results(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("key", "value"), [("rates", [0.0, 1.0]), ("rates", ["1"]), ("rate", None),
                                            ("status", "fine"), ("answers", {}), ("id", None),
                                            ("latency_ms", {"p50": "1"})])  # fmt: skip
def test_a_damaged_case_is_named(results, tmp_path, key, value):
    damaged = dataclasses.asdict(results)
    damaged["cases"][3][key] = value if key != "id" else damaged["cases"][2]["id"]
    (tmp_path / RESULTS).write_text(json.dumps(damaged))
    named = re.escape(damaged["cases"][3]["id"])
    with pytest.raises(InspectorError, match=rf"cases\[3\]|{named}"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"NaN", b"[" * 100_000,
     b'{"format": NaN, "benchmark": "inspector bench"}'],
)  # fmt: skip
def test_what_is_no_result_is_one_line(tmp_path, content):
    (tmp_path / RESULTS).write_bytes(content)
    with pytest.raises(InspectorError) as raised:
        read_results(tmp_path)
    assert "\n" not in str(raised.value)


def test_what_is_not_there_is_said(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / RESULTS):
        with pytest.raises(InspectorError, match="does not exist"):
            read_results(path)


def test_a_place_that_cannot_be_written_is_said(results, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="another --out"):
        write_results(tmp_path / "file", results)


def test_every_figure_of_the_texts_comes_from_the_json(results, html):
    markdown = "\n".join(report_lines(results))
    counted = [case for case in results.cases if case.counts]
    for case in counted:
        rate = case.rate
        assert f"{figure(rate.median)}<small>{figure(rate.low)} to " in html
        text = f"{figure(rate.median)} ({figure(rate.low)}..{figure(rate.high)})"
        if case.level != "engine":
            assert text in markdown
        if case.level in ("scan", "peer"):
            assert text in html
    for ceiling in results.ceilings.values():
        assert f"<td>{figure(ceiling.peak)}</td>" in html and ceiling.what in markdown
    for line in terminal_lines(results):
        for number in re.findall(r"(?<![\d.])(\d[\d.]*) \(\d", line):
            assert number in {figure(case.median) for case in counted}, line


def test_everything_is_said_in_every_text(results, html):
    for text in ("\n".join(report_lines(results)), " ".join(terminal_lines(results)), html):
        plain = " ".join(text.split())
        assert results.recommendation.sentence in plain
        assert "engine compile fp32" in plain and "tensorrt fp16 on cuda" in plain
        assert "Not distinguishable from it: onnxruntime int8" in plain
        assert re.search(r"9\.\d\d times as many images/s as the fastest peer, plain", plain)
    assert "no NVIDIA driver" in html and "onnxruntime 1.31.0" in html


def test_a_terminal_has_80_columns(results):
    assert max(map(len, terminal_lines(results))) <= 80


def test_a_failure_is_never_among_the_figures(results):
    broken = few(results)
    for case in broken.cases:
        if case.name == "openvino int8":
            case.status, case.reason, case.best, case.tied = "failed", "wrong by 0.9", False, False
    text = "\n".join(report_lines(broken))
    before, after = text.split("## Tiles", 1)
    assert "openvino int8: wrong by 0.9" in before and "openvino int8" not in after
    page = render_page(broken)
    rest = re.sub('<section class="failures".*?</section>', "", page, flags=re.DOTALL)
    assert rest.count("openvino int8") == page.count("failed</span>") > 0


def test_a_run_in_which_nothing_worked_has_a_page(results):
    nothing = Recommendation(sentence="No scan ran and was right.")
    empty = dataclasses.replace(results, cases=[], ceilings={}, recommendation=nothing)
    assert "No scan ran and was right." in render_page(empty)
    assert report_lines(empty) and terminal_lines(empty)
    broken = made_results(rounds=1)
    for case in broken.cases:
        case.status, case.reason, case.best, case.tied = "unavailable", "no", False, False
    assert "What could not run here" in render_page(broken)


def test_one_round_has_no_interval(results):
    single = few(made_results(rounds=1))
    assert "(1 round)" in "\n".join(report_lines(single))
    assert "too few rounds" in render_page(single)


@pytest.fixture(scope="module")
def page(browser, out):
    return open_on_a_phone(browser, (out / PAGE).as_uri())


def test_the_page_opens_alone_on_a_phone(page, out, html):
    assert page.heard == [(out / PAGE).as_uri()]
    assert page.title().startswith("Benchmark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.evaluate("document.querySelectorAll('img, script').length") == 0
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names)), "ids of different charts collide"


@pytest.mark.parametrize(("scheme", "media", "light"),
                         [("light", "screen", True), ("dark", "screen", False),
                          ("dark", "print", True)])  # fmt: skip
def test_light_dark_and_paper(page, scheme, media, light):
    page.emulate_media(color_scheme=scheme, media=media)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 > 200) == light


def test_stages_are_told_apart_without_colours(html):
    assert re.search(r'aria-label="Seconds of a whole run: [^"]*\(starting up [^"]*verdicts ', html)
    patterns = set(re.findall(r'<pattern [^>]*id="([^"]+)"', html))
    assert len(patterns) >= 4
    assert patterns <= set(re.findall(r"url\(#([^)]+)\)", html)), "each is used by its name"
    assert "#0102" not in html


def test_charts_can_be_read(page):
    page.emulate_media(color_scheme="light", media="screen")
    check_charts(page)
