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
