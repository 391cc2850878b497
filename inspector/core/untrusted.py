"""Values from files that others wrote: finite numbers, of the types declared, and nothing run."""

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
"""Bytes; this project's own files of one JSON value hold some kilobytes."""
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "JsonObject": (dict,),
    "tuple[float, float, float]": (float, int),
}
"""What JSON may hold for a field, or for each element of one, by its annotation."""


def read_json(file: Path, largest: int = LARGEST_JSON) -> Any:
    """A file's one JSON value. Raises OSError, ValueError as `parse_json` and for a file that is
    too large or no plain file."""
    if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
        raise ValueError("not a plain file")
    with file.open("rb") as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"larger than {largest:,} bytes")
    return parse_json(content)


def parse_json(content: bytes | str) -> Any:
    """The value. Raises ValueError for what is no JSON, for numbers that are not finite, which JSON
    does not have and Python reads, and for values nested too deeply."""
    try:
        return json.loads(content, parse_constant=_finite_float, parse_float=_finite_float)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def checked(kind: type[Made], values: Any) -> Made:
    """A dataclass from a JSON object of its fields. Raises TypeError naming the field that is
    missing, unknown or of another type, and ValueError for numbers out of any range."""
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
    """Whether it is a number that computes: finite, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def finite(value: Any) -> Any:
    """The same without NaN and infinity, which JSON does not have: null stands for them."""
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
