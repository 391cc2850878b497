"""The cover of a report: what no table knows, from the command line and a small TOML file."""

from __future__ import annotations

import base64
import io
import tomllib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from PIL import Image

from inspector.core.pages import data_uri
from inspector.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

_LOGO_SIDE = 600
_MOST_BYTES = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Texts of a cover, each empty where nobody says it; `logo` is a `data:` address."""

    title: str = ""
    structure: str = ""
    client: str = ""
    inspector: str = ""
    date: str = ""
    logo: str = ""

    @classmethod
    def read(cls, file: Path | None, title: str | None = None) -> Self:
        """Read a TOML file with any of these names; its `logo` is a picture's file, relative to it.
        `title` counts before the file's. Raises UsageError for anything else."""
        values = {} if file is None else _texts(file, [field.name for field in fields(cls)])
        if title is not None:
            values["title"] = title
        if file is not None and values.get("logo"):
            values["logo"] = _logo(file.parent / values["logo"])
        return cls(**values)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What stands below the title: names and texts."""
        names = ("structure", "client", "inspector", "date")
        return [(name, text) for name in names if (text := getattr(self, name))]


def _texts(file: Path, names: list[str]) -> dict[str, str]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read --cover {file}: {error}") from error
    for name, value in values.items():
        if name not in names:
            raise UsageError(f"--cover {file}: {name!r} is none of {', '.join(names)}")
        if isinstance(value, dict | list | bool):
            raise UsageError(f"--cover {file}: {name} must be a text")
    return {name: str(value) for name, value in values.items()}


def _logo(file: Path) -> str:
    """A small picture as a `data:` address; a page runs nothing that an SVG holds."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"the logo {file} has more than {_MOST_BYTES // 1_000_000} MB")
        if file.suffix.lower() == ".svg":
            return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
        with Image.open(io.BytesIO(content)) as image:
            image.thumbnail((_LOGO_SIDE, _LOGO_SIDE))
            return data_uri(image.convert("RGBA"), "PNG", optimize=True)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"cannot read the logo {file}: {error}") from error
