"""Pages that need nothing but themselves, from templates that escape what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.core.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

_SHARED = Path(__file__).parents[1] / "evaluation" / "template"
"""Holds `report.css`, the look of every page."""


def page_environment(templates: Path) -> Environment:
    """The templates of a folder, with `report.css` among them. Everything they are given is
    escaped, what they are not given is an error. Filters: `printable` for text from outside, `svg`
    for a chart that has one."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([templates, _SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = _chart
    environment.filters["printable"] = printable
    return environment


def _chart(drawn: Any) -> str:
    """Charts are made here, by Matplotlib, which escapes the names it writes into them."""
    from markupsafe import Markup

    return Markup(drawn.svg)
