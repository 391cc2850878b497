"""Opening the review in a browser without its secret in the browser's command line, which every
user of the machine can read."""

from __future__ import annotations

import contextlib
import html
import os
import stat
import webbrowser
from typing import TYPE_CHECKING

from inspector.core.layout import RESULTS_DIR

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>inspector review</title>
<a href="{address}">Open the review</a>
"""


def door_of(out: Path) -> Path:
    """The page that leads to the review of `out`. It lies beside the labels: browsers that are shut
    in, such as Ubuntu's, see neither `/tmp` nor hidden folders."""
    return out.resolve() / RESULTS_DIR / "review.html"


def open_in_browser(address: str, door: Path) -> bool:
    """Write a page that leads to `address` and that only this user can read, and open it. False,
    and nothing is opened, where files cannot be kept from others."""
    with contextlib.suppress(OSError):
        door.unlink(missing_ok=True)
        descriptor = os.open(door, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            if os.name != "posix" or not stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                stream.write(_PAGE.format(address=html.escape(address)))
                stream.flush()
                return webbrowser.open(door.as_uri())
    return False
