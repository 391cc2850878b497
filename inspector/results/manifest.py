"""The manifest of a result directory: whose it is, its parts, and what is being done to them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Self

from inspector.core.durable import publish
from inspector.core.layout import MANIFEST, Layout
from inspector.core.plain import NotAFileError, read_plain
from inspector.core.untrusted import parse_json
from inspector.errors import OutputError
from inspector.results.schema import SCHEMA_VERSION
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from inspector.types import JsonObject

CHOICES = "choose another --out, or --overwrite to remove these results first"


AGAIN = "0" * 64
"""The sha256 of a part that never was: its photos lost their rows because they must be judged
again."""


@dataclass(frozen=True, slots=True)
class Part:
    """One committed file of the table."""

    file: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`identity` names what decides the rows (the bundle's digest, options)."""

    identity: Mapping[str, str]
    backend: str = ""
    """The engine that the table was begun with; empty before the first photo."""
    parts: tuple[Part, ...] = ()
    lost: tuple[Part, ...] = ()
    """Parts that are gone and had rows of photos that have none yet."""
    rewriting: Mapping[str, Part] = field(default_factory=dict)
    """What parts, by file name, are about to be replaced by. Written before it happens, so that
    after a crash a part is known in either state."""
    next: Manifest | None = None
    """Of the table that is about to take the place of this one. It is complete by then, so that
    after a crash whoever writes next completes the change."""

    @classmethod
    def read(cls, out: Path) -> Self | None:
        """The manifest of `out`, if it has one. Raises OutputError for one that is damaged or of
        another table schema, OSError."""
        try:
            content = read_plain(Layout(out).manifest)
        except FileNotFoundError:
            return None
        except NotAFileError as error:
            raise OutputError(f"{error.filename} is not a regular file; {CHOICES}") from error
        try:
            values = parse_json(content)
            _refuse_other_schema(out, values)
            return cls._of(values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            file = Layout(out).manifest
            raise OutputError(f"{file} is damaged ({error!r}); {CHOICES}") from error

    @classmethod
    def _of(cls, values: JsonObject) -> Self:
        to_be = values.get("next")
        return cls(
            identity={str(k): str(v) for k, v in values["identity"].items()},
            backend=str(values["backend"]),
            parts=tuple(_part(**part) for part in values["parts"]),
            lost=tuple(_part(**part) for part in values["lost"]),
            rewriting={
                file: _part(file, **state) for file, state in values.get("rewriting", {}).items()
            },
            next=None if to_be is None else cls._of(to_be),
        )

    def gone(self, present: Container[str]) -> list[Part]:
        """The parts that should be there, or be lost no longer, by the names of those that are."""
        return [part for part in (*self.parts, *self.lost) if part.file not in present]

    def write(self, out: Path) -> None:
        """Replace the manifest of `out` in one step. Raises OSError."""
        content = json.dumps(self._to_json(), indent=1).encode()
        publish(content, Layout(out).manifest, Layout(out).draft(MANIFEST))

    def _to_json(self) -> JsonObject:
        return {
            "schema_version": SCHEMA_VERSION,
            "tool_version": __version__,
            "fingerprint": fingerprint_of(self.identity),
            "identity": dict(self.identity),
            "backend": self.backend,
            "rows": sum(part.rows for part in self.parts),
            "parts": [asdict(part) for part in self.parts],
            "lost": [asdict(part) for part in self.lost],
            "rewriting": {
                file: {"rows": part.rows, "sha256": part.sha256}
                for file, part in self.rewriting.items()
            },
            "next": self.next and self.next._to_json(),
        }


def fingerprint_of(identity: Mapping[str, str]) -> str:
    """sha256 of the identity; every part carries it."""
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()


def _part(file: object, rows: object, sha256: object) -> Part:
    if not (isinstance(file, str) and isinstance(rows, int) and isinstance(sha256, str)):
        raise TypeError(f"part {file!r} has {rows!r} rows and sha256 {sha256!r}")
    return Part(file, rows, sha256)


def _refuse_other_schema(out: Path, values: JsonObject) -> None:
    found = values["schema_version"]
    if found != SCHEMA_VERSION:
        raise OutputError(
            f"{out} holds a table of schema {found}, written by version "
            f"{values.get('tool_version')}; this is version {__version__}, which writes schema "
            f"{SCHEMA_VERSION}: continue with that version, {CHOICES}"
        )


def check_identity(out: Path, identity: Mapping[str, str], manifest: Manifest | None) -> None:
    """Raises OutputError when the table of `out` was made by another model or other options."""
    if manifest is None or manifest.identity == identity:
        return
    old = manifest.identity
    differing = [
        f"{name} {_short(old.get(name))} there, {_short(value)} now"
        for name, value in identity.items()
        if old.get(name) != value
    ]
    raise OutputError(
        f"{out} holds the results of another scan ({'; '.join(differing)}): give the same model "
        "and options to continue it, choose another --out to keep it, or --overwrite to remove it "
        "first"
    )


def _short(value: object) -> str:
    return str(value)[:12]
