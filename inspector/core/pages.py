"""Self-contained HTML pages, from templates that escape everything they are given."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.core.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from PIL import Image

ASSETS = Path(__file__).parent / "assets"
"""Folder of what pages of several commands are made of: `page.html.jinja`, which each extends, its
parts and its style, and `viewer.js`, the photo on its stage."""


def page_environment(templates: Path) -> Environment:
    """Load the templates of a folder and of `ASSETS`. Values are escaped, a missing one is an
    error. Filters: `printable` for text from outside, `svg` for a chart with `svg` and `alt`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([templates, ASSETS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = _chart
    environment.filters["printable"] = printable
    return environment


def inline_script(*files: Path) -> tuple[str, str]:
    """Return modules as one script to stand in a page, with the source by which the page's
    Content-Security-Policy lets it and no other run."""
    from markupsafe import Markup

    script = "\n".join(file.read_text(encoding="utf-8") for file in files)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Markup(script), f"sha256-{digest}"


def data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """Encode an image as a `data:` address; `kind` and `options` as for `Image.save`."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _chart(drawn: Any) -> str:
    """The chart's SVG, in which Matplotlib has escaped the names, with what it shows in words."""
    from markupsafe import Markup, escape

    return Markup(drawn.svg.replace("<svg ", f'<svg aria-label="{escape(drawn.alt)}" ', 1))
