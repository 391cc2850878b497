"""Functions take options or a config, show their progress in a notebook, and their examples run."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import inspector
from inspector.errors import UsageError
from inspector.library import calls

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("name", inspector.__all__)
def test_examples_in_docstrings_run(room, name):
    found = getattr(inspector, name)
    text = inspect.getdoc(found) or ""
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert test.examples or name not in ("Model", "Results", "scan")
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(test).failed == 0


def test_options_are_taken_as_people_write_them(monkeypatch):
    taken: list[Any] = []
    monkeypatch.setattr(inspector.scanning, "scan", taken.append, raising=True)
    monkeypatch.setattr(calls, "inspect", inspect)
    scan = calls.load("scan")
    scan("a", exclude="thumbs", out="o", max_failures="5%")
    scan(sources=["a", "b"], exclude=["x"])
    one, two = taken
    assert (one.sources, one.exclude, str(one.out)) == (("a",), ("thumbs",), "o")
    assert (two.sources, two.exclude) == (("a", "b"), ("x",)) and one.max_failures.share == 0.05
    for given, options in ((("a", "b"), {}), ((one,), {"out": "p"}), (("a",), {"ouput": "o"})):
        with pytest.raises(TypeError):
            scan(*given, **options)
    with pytest.raises(UsageError):
        scan("a", max_failures="few")


class Cell:
    """What a notebook would show."""

    def __init__(self):
        self.shown = []

    def update(self, html):
        self.shown.append(html)

    def text(self, text):
        self.shown.append(text)


@pytest.fixture
def kernel(monkeypatch):
    """A process that looks like the kernel of a notebook."""
    cell = Cell()
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    worded: dict[type, Callable[..., object]] = {}
    plain = SimpleNamespace(for_type=worded.__setitem__)
    formatter = SimpleNamespace(formatters={"text/plain": plain})
    kind = type("ZMQInteractiveShell", (), {"display_formatter": formatter, "worded": worded})
    ipython.get_ipython = kind  # type: ignore[attr-defined]
    display.HTML = str  # type: ignore[attr-defined]
    display.display = lambda html, display_id: cell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(calls, "_SECONDS", 0)
    return cell


def test_a_notebook_shows_how_far_it_is(kernel, room, capfd):
    inspector.scan("photos", out="seen", precision="fp32")
    assert any("photos (" in html and " 3" in html for html in kernel.shown), kernel.shown
    assert kernel.shown[-1] == ""
    kernel.shown.clear()
    inspector.verify("seen")
    assert any("</progress>" in html for html in kernel.shown)
    kernel.shown.clear()
    inspector.verify("seen", progress=lambda *step: None)
    assert kernel.shown == [] and capfd.readouterr() == ("", "")


def test_a_notebook_prints_remarks_unless_it_is_told_whom_to_tell(kernel, monkeypatch, capfd):
    def says(config, say=lambda _: None):
        say("a remark")

    monkeypatch.setattr("inspector.evaluation.run.evaluate", says)
    heard: list[str] = []
    calls.load("evaluate")("labelled")
    calls.load("evaluate")("labelled", say=heard.append)
    assert capfd.readouterr().out == "a remark\n" and heard == ["a remark"]


def test_a_notebook_words_results_as_the_command_line_does(kernel, room):
    worded = sys.modules["IPython"].get_ipython().worded
    summary = inspector.scan("photos", out="worded", precision="fp32")
    proven = inspector.verify("worded")
    for found, first in ((summary, "verdicts   crack"), (proven, "table      worded (3 rows")):
        kernel.shown.clear()
        worded[type(found)](found, kernel, False)
        assert kernel.shown[0].startswith(first), kernel.shown
    assert inspector.Results("worded").to_arrow().num_rows == summary.table.rows


def test_all_that_words_a_result_is_there():
    assert inspector._LINES.keys() < inspector._CALLS.keys()
    assert all(callable(calls.find(place)) for place in inspector._LINES.values())


def test_jsonl_is_a_line_for_each_row(room):
    """Before it is committed: every row of the table had its line, whatever happens then."""
    command = [sys.executable, "-m", "inspector", "scan", "photos", "--out", "lines", "--jsonl"]
    options = ["--precision", "fp32", "--device", "cpu"]
    done = subprocess.run([*command, "-", *options], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    rows = inspector.Results("lines").to_arrow().to_pylist()
    assert [line["uri"] for line in lines] == [row["uri"] for row in rows]
    named = [name for name in lines[0] if name not in ("mtime", "taken_at", "judged_at")]
    assert [[line[n] for n in named] for line in lines] == [[r[n] for n in named] for r in rows]
    moments = [row["judged_at"].isoformat() for row in rows]
    assert [line["judged_at"] for line in lines] == moments
    assert "verdicts" in done.stderr or "crack" in done.stderr
    again = subprocess.run([*command, "-", "-q", *options], capture_output=True, check=True)
    assert again.stdout == b""
    both = subprocess.run([*command, "-", "--json"], capture_output=True, text=True, check=False)
    assert both.returncode == 2
