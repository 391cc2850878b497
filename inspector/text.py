"""Text from others, made fit to be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line without anything that could drive a terminal or hide what it says: file names and
    error texts come from others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
