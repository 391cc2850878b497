"""What all pages share: one scale of type, and charts in words."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

from inspector.core.pages import ASSETS, page_environment

ROOT = Path(__file__).parents[2]
SCALE = {"1.8", "1.3", "1.05", "1", ".9", ".8"}


def test_pages_have_one_scale_of_type():
    sheets = [ASSETS / "page.css", *ROOT.glob("inspector/*/template/*.css"),
              *ROOT.glob("bench/report/template/*.css")]  # fmt: skip
    assert len(sheets) == 4
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8")
        sizes = set(re.findall(r"(?:font-size|font): ?([\d.]+)rem", text))
        assert sizes <= SCALE, f"{sheet.name}: {sizes - SCALE}"


def test_a_chart_says_what_it_shows_and_nothing_in_it_is_markup():
    drawn = SimpleNamespace(svg='<svg class="chart"></svg>', alt='a "wall" <b>')
    page = page_environment(ASSETS).from_string("{{ drawn|svg }}").render(drawn=drawn)
    assert page == '<svg aria-label="a &#34;wall&#34; &lt;b&gt;" class="chart"></svg>'
