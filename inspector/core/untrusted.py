"""JSON from untrusted files: finite numbers, declared types, bounded size."""

from __future__ import annotations

import json
import math
import stat
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import DataclassInstance

    Made = TypeVar("Made", bound=DataclassInstance)

LARGEST_JSON = 8 << 20
"""Bytes of a JSON file at most; this project's own hold some kilobytes."""
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "JsonObject": (dict,),
    "tuple[float, float, float]": (float, int),
}
"""JSON types allowed for a field, or for each element of a tuple, by its annotation."""


def read_json(file: Path, largest: int = LARGEST_JSON) -> Any:
    """Read the JSON value of a file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is too large, not a regular file, or not JSON (see `parse_json`).
    """
    if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
        raise ValueError("not a plain file")
    with file.open("rb") as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"larger than {largest:,} bytes")
    return parse_json(content)


def parse_json(content: bytes | str) -> Any:
    """Parse JSON. Raises ValueError if it is invalid, nested too deeply, or holds NaN or infinity
    (which JSON lacks but Python accepts)."""
    try:
        return json.loads(content, parse_constant=_finite_float, parse_float=_finite_float)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def checked(kind: type[Made], values: Any) -> Made:
    """Make a dataclass from a JSON object of its fields.

    Raises:
        TypeError: A field is missing, unknown or of another type; the message names it.
        ValueError: A number is not finite.
    """
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} is {values!r:.40}, not an object")
    for field in fields(kind):
        if field.name not in values or str(field.type) not in _TYPES:
            continue
        value, allowed = values[field.name], _TYPES[str(field.type)]
        several = str(field.type).startswith("tuple") and isinstance(value, list | tuple)
        for one in value if several else [value]:
            if not isinstance(one, allowed) or (isinstance(one, bool) and bool not in allowed):
                raise TypeError(f"{kind.__name__}.{field.name} is {value!r:.40}")
            if float in allowed and one is not None and not is_number(one):
                raise ValueError(f"{kind.__name__}.{field.name} is {value!r:.40}")
    return kind(**values)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number and not a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by None, also inside lists and dicts."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number
