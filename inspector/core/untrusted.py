"""Checked input: regular files only, JSON of finite numbers and declared types, paths of users."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from inspector.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from _typeshed import DataclassInstance

    Made = TypeVar("Made", bound=DataclassInstance)


BUCKETS = ("s3://", "gs://", "az://")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
LARGEST_JSON = 8 << 20
"""Bytes of a JSON file at most; this project's own hold some kilobytes."""
_WORDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number",
          list: "a list", tuple: "a list"}  # fmt: skip
"""JSON types in words; all others are objects."""
_CAREFUL = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class NotAFileError(OSError):
    """The path is a directory, link, pipe, socket or device."""

    def __init__(self, path: str) -> None:
        what = f"{os.path.basename(path)} is not a regular file"
        super().__init__(errno.EINVAL, what, path)


def plain(path: str, flags: int) -> int:
    """Opener for `open(opener=...)` that opens or creates a regular file. Raises NotAFileError,
    OSError."""
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise NotAFileError(path)  # opening a device may do something
    descriptor = os.open(path, flags | _CAREFUL, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(path)
    return descriptor


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading. Raises NotAFileError, OSError."""
    with open(path, "rb", opener=plain) as stream:
        yield stream


def read_plain(path: Path) -> bytes:
    """Read a whole regular file. Raises NotAFileError, OSError."""
    with opened(path) as stream:
        return stream.read()


def read_json(file: Path, largest: int = LARGEST_JSON) -> Any:
    """Read the JSON value of a file. Raises OSError, and ValueError for one that is too large, not
    a regular file or not JSON (see `parse_json`)."""
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


def checked(kind: type[Made], values: Any, at: str = "", *, others: bool = False) -> Made:
    """Make a dataclass from a JSON object of its fields, and those inside it alike. Raises
    ValueError that names, from `at` on, what is missing, unknown (unless `others` may be there) or
    of another type, or a number that is not finite."""
    if not isinstance(values, dict):
        raise ValueError(f"{at or 'it'} is {values!r:.40}, not an object")
    hints, due = _fields_of(kind)
    if missing := [name for name in due if name not in values]:
        raise ValueError(f"{at or 'it'} has no {missing[0]!r}")
    if not others and (unknown := values.keys() - hints.keys()):
        raise ValueError(f"{at or 'it'} has an unknown {min(unknown)!r:.40}")
    inside = f"{at}." if at else ""
    return kind(
        **{
            name: _value(hint, values[name], inside + name, others)
            for name, hint in hints.items()
            if name in values
        }
    )


@cache
def _fields_of(kind: type[DataclassInstance]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The types of a dataclass's fields by name, and which have no default."""
    hints = get_type_hints(kind)
    due = (f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)
    return {field.name: hints[field.name] for field in fields(kind)}, tuple(due)


def _value(kind: Any, value: Any, at: str, others: bool) -> Any:
    """The value of a field, or one inside it, of a JSON type that may stand for `kind`."""
    if kind is Any or (is_number(value) if kind is float else type(value) is kind):
        return value
    origin, inside = get_origin(kind) or kind, get_args(kind)
    if origin is UnionType:  # of None and one other
        (origin,) = set(inside) - {NoneType}
        return None if value is None else _value(origin, value, at, others)
    if is_dataclass(kind):
        return checked(cast("Any", kind), value, at, others=others)
    if issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: _value(inside[1], one, f"{at}[{key!r:.60}]", others)
                for key, one in value.items()}  # fmt: skip
    if issubclass(origin, list | tuple) and isinstance(value, list | tuple):
        kinds = inside if origin is tuple and inside[-1] is not ... else inside[:1] * len(value)
        if len(kinds) != len(value):
            raise ValueError(f"{at} has {len(value)} entries, not {len(kinds)}")
        each = zip(kinds, value, strict=True)
        return origin(_value(of, one, f"{at}[{k}]", others) for k, (of, one) in enumerate(each))
    if issubclass(origin, Enum):
        with suppress(ValueError):
            return origin(value)
        raise ValueError(f"{at} is {value!r:.40}, not one of: {', '.join(map(str, origin))}")
    raise ValueError(f"{at} is {value!r:.40}, not {_WORDS.get(origin, 'an object')}")


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


def take_paths(config: DataclassInstance) -> None:
    """Convert the path fields of a frozen dataclass: text to `Path`, and one path to a tuple where
    several are expected; fields of text take a path as text, and addresses of buckets stay text
    where a field admits it. Raises UsageError that names the field."""
    for field in fields(config):
        given = getattr(config, field.name)
        taken: object = given
        try:
            if field.type == "Path" or (field.type == "Path | None" and given is not None):
                taken = here(field.name, given)
            elif field.type == "tuple[Path, ...]":
                taken = tuple(here(field.name, one) for one in _several(given))
            elif field.type == "Path | str":
                taken = _place(field.name, given)
            elif field.type == "tuple[Path | str, ...]":
                taken = tuple(_place(field.name, one) for one in _several(given))
            elif field.name in ("sources", "source_gone"):
                taken = tuple(_text(one) for one in _several(given))
            elif isinstance(given, os.PathLike):
                taken = _text(given)
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


def in_bucket(place: Any) -> bool:
    """Whether a place is the address of a bucket, or of a part of one."""
    return isinstance(place, str) and place[:5].lower().startswith(BUCKETS)


def here(name: str, given: Any) -> Path:
    """Take a path. Raises UsageError that calls it `name` for the address of a bucket, TypeError
    for what is no text."""
    if in_bucket(given):
        raise UsageError(
            f"{name} must be on this machine, not {given}; a table in a bucket is brought here by: "
            "inspector merge ADDRESS --out DIR"
        )
    return Path(_text(given))


def _place(name: str, given: Any) -> Path | str:
    if in_bucket(given):
        return str(given)
    text = _text(given)
    if _SCHEME.match(text):
        raise UsageError(
            f"{name} {text} is neither a directory nor a bucket (s3://, gs://, az://), and nothing "
            "else holds results"
        )
    return Path(text)


def _text(given: Any) -> str:
    text = os.fspath(given)
    if not text or not isinstance(text, str):
        raise TypeError("empty, or bytes")
    return text


def _several(given: Any) -> tuple[Any, ...]:
    return (given,) if isinstance(given, str | os.PathLike) else tuple(given)


def sha256_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_plain_name(name: str) -> bool:
    """Whether it names an entry of a directory, on every system."""
    return bool(name.strip(". ")) and not set(name) & set("/\\:\0") and len(name) <= 255


def texts(values: list[str]) -> list[str]:
    """Take a list of texts. Raises TypeError for anything else."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values!r:.80} is no list of texts")
    return values
