"""Paths as users of the library give them: a `Path` or text, one or several."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def take_paths(config: DataclassInstance) -> None:
    """Convert the path fields of a frozen dataclass: text to `Path`, and one path to a tuple where
    several are expected. `sources` stay text.

    Raises:
        UsageError: A field holds something that is not a path; the message names it.
    """
    for field in fields(config):
        given = getattr(config, field.name)
        taken: object = given
        try:
            if field.type == "Path" or (field.type == "Path | None" and given is not None):
                taken = Path(_text(given))
            elif field.type == "tuple[Path, ...]":
                taken = tuple(Path(_text(one)) for one in _several(given))
            elif field.name == "sources":
                taken = tuple(_text(one) for one in _several(given))
        except TypeError as error:
            raise UsageError(f"{field.name} must be a path, not {given!r}") from error
        if taken is not given:
            object.__setattr__(config, field.name, taken)


def check_model_name(path: Path | None) -> None:
    """Raise UsageError if the path of a new bundle is not UTF-8: inference engines cannot open such
    files."""
    try:
        os.fspath(path or "").encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"--out {path}: a model's name must be UTF-8, or nothing can open it; choose another"
        ) from error


def _text(given: Any) -> str:
    text = os.fspath(given)
    if not text or not isinstance(text, str):
        raise TypeError("empty, or bytes")
    return text


def _several(given: Any) -> tuple[Any, ...]:
    return (given,) if isinstance(given, str | os.PathLike) else tuple(given)
