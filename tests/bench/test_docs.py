"""The benchmarks page and the README show the committed measurements and no other figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bench
from bench.report.markdown import report_lines
from bench.report.wording import figure
from bench.results import read_results

ROOT = Path(bench.__file__).parents[1]
MEASURED = sorted((ROOT / "docs" / "benchmarks").glob("*.json"))


@pytest.mark.parametrize("file", MEASURED, ids=lambda file: file.stem)
def test_the_page_holds_the_report_of_each_measurement(file):
    page = (ROOT / "docs" / "explanation" / "benchmarks.md").read_text(encoding="utf-8")
    body = report_lines(read_results(file))[2:]
    assert "\n".join(body) in page, (
        f"put the report of {file.name} into docs/explanation/benchmarks.md again"
    )


def test_there_is_a_measurement():
    assert MEASURED


def row_of(case, base_ids):
    rate, low, high = map(figure, (case.rate.median, case.rate.low, case.rate.high))
    cells = [f"{rate} ({low} to {high})"]
    cells += [figure(case.against[base].median) if base in case.against else "1"
              for base in base_ids]  # fmt: skip
    return cells


def test_the_readme_shows_figures_of_the_measurement():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.partition("<!-- speed -->\n")[2].partition("\n\n")[0].splitlines()
    cases = {case.id: case for case in read_results(MEASURED[0]).cases}
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block[2:]]
    assert len(rows) >= 6
    for *_, shown, loop, timm, name in rows:
        case = cases[re.sub(r"`", "", name)]
        images = case.input
        bases = (f"peer/plain/{images}", f"peer/timm/{images}")
        assert [shown, loop, timm] == row_of(case, bases), name


def test_the_readme_names_the_machine():
    system = read_results(MEASURED[0]).system
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert system["cpu"].split()[0] in text and "two CPU cores" in text
    assert system["usable_cores"] == 2
