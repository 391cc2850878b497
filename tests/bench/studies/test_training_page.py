"""docs/explanation/training.md shows the committed figures and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bench
from bench.studies.report import table
from bench.studies.training.run import CASES, COLUMNS

DOCS = Path(bench.__file__).parents[1] / "docs" / "explanation"


@pytest.fixture(scope="module")
def committed():
    return json.loads((DOCS / "training.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", ["trainings", "views"])
def test_the_page_shows_the_committed_figures(committed, part):
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    assert "\n".join(table(committed[part], COLUMNS)) in page


def test_what_was_tried_can_be_tried_again(committed):
    """By the name and the words that the page gives it; what made the `wide-...` images is gone."""
    now = {case.name: case.what for case in CASES}
    for case in committed["trainings"]["cases"]:
        assert case["name"].startswith("wide-") or now[case["name"]] == case["what"]


def test_the_page_names_its_settings(committed):
    page = " ".join((DOCS / "training.md").read_text(encoding="utf-8").split())
    settings = committed["trainings"]["settings"]
    images = settings["epochs"] * settings["epoch_images"]
    assert f"{images:,} images" in page and f"{settings['judged']} images" in page
    assert committed["trainings"]["system"]["cpu"] in page
