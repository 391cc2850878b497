"""Text from others, made fit to be shown."""

from __future__ import annotations

import os
import shlex


def quoted(path: str | os.PathLike[str]) -> str:
    """A path as it stands in a command that is to be typed."""
    return shlex.quote(os.fspath(path))


def printable(text: str) -> str:
    """One line without anything that could drive a terminal or hide what it says: file names and
    error texts come from others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
