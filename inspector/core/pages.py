"""Self-contained HTML pages, from templates that escape everything they are given."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.core.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from PIL import Image

_SHARED = Path(__file__).parents[1] / "evaluation" / "template"
"""Folder of `report.css`, the style of every page."""


def page_environment(templates: Path) -> Environment:
    """Load the templates of a folder and `report.css`. Values are escaped, a missing one is an
    error. Filters: `printable` for text from outside, `svg` for an object that has a chart."""
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


def data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """Encode an image as a `data:` address; `kind` and `options` as for `Image.save`."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _chart(drawn: Any) -> str:
    """The chart's SVG; Matplotlib has escaped the names in it."""
    from markupsafe import Markup

    return Markup(drawn.svg)
