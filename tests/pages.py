"""Pages opened in a real Chromium, where there is one."""

from __future__ import annotations

import shutil

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def open_on_a_phone(browser, address):
    """The page, opened once, with everything it asked for and complained of in `heard`."""
    opened = browser.new_page(viewport={"width": 400, "height": 800})
    opened.heard = []
    opened.on("console", lambda message: opened.heard.append(message.text))
    opened.on("pageerror", lambda error: opened.heard.append(str(error)))
    opened.on("request", lambda request: opened.heard.append(request.url))
    opened.goto(address)
    return opened


_LAID_OUT = """[...document.querySelectorAll('svg.chart')].map(chart => {
  const frame = chart.getBoundingClientRect();
  const texts = [...chart.querySelectorAll('text')]
    .map(text => [text.textContent, text.getBoundingClientRect()]);
  const over = ([, a], [, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
  return {
    width: Math.round(frame.width), told: chart.ariaLabel,
    outside: texts.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1 ||
      box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([text]) => text),
    colliding: texts.filter((one, k) => texts.slice(k + 1).some(other => over(one, other)))
      .map(([text]) => text),
  };
}).filter(({ width }) => width)"""


def check_charts(page):
    """Charts have one size, say in words what they show, and no text leaves them or lies on
    another."""
    charts = page.evaluate(_LAID_OUT)
    assert charts and len({chart["width"] for chart in charts}) == 1
    for chart in charts:
        assert chart["told"] and (chart["outside"], chart["colliding"]) == ([], []), chart
