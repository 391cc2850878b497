"""Tables and text for Markdown."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from inspector.core.text import printable


def markdown_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[str] = ()
) -> list[str]:
    """The first column and those of `words`, by their heads, to the left, figures to the right;
    what could be taken for Markdown or a tag is made harmless."""
    cells = [[escaped(text) for text in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|".join(
        "-" * (w + 1) + (":" if k and head not in words else "-")
        for k, (w, head) in enumerate(zip(widths, heads, strict=True))
    )
    return [lines[0], f"|{rule}|", *lines[1:]]


def escaped(text: str) -> str:
    """Text from outside for Markdown: no tags, links, pictures, emphasis or columns of its own."""
    safe = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", safe)
