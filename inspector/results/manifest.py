"""The manifest of a result directory: whose it is, its parts, and what is being done to them.

`Manifest.read` is the one parser of it, for scans, reports and `verify`: it takes nothing for
granted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from inspector.core.durable import publish
from inspector.core.layout import MANIFEST, RESULTS_DIR, Layout, is_part_name
from inspector.core.untrusted import NotAFileError, parse_json, read_plain
from inspector.errors import OutputError, UsageError
from inspector.model.bundle import Thresholds
from inspector.model.scale import Scale
from inspector.photos.selection import Shard
from inspector.results.schema import SCHEMA_VERSION
from inspector.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.types import JsonObject

CHOICES = "choose another --out, or --overwrite to remove these results first"
RESTORE = "restore it, or scan again with --overwrite or into another --out"
AGAIN = "0" * 64
"""The sha256 of a part that never was: its photos lost their rows, to be judged again."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ManifestError(OutputError):
    """The manifest cannot be used: `what` is wrong with it, and `remedy` what `verify` advises."""

    def __init__(self, message: str, what: str, remedy: str = RESTORE) -> None:
        super().__init__(message)
        self.what = what
        self.remedy = remedy


class OtherVersionError(ManifestError):
    """The manifest of a table of another schema, which may be sound."""


@dataclass(frozen=True, slots=True)
class Part:
    """One committed file of the table."""

    file: str
    rows: int
    sha256: str


THRESHOLDS = ("clear_below", "crack_from", "out_of_distribution")
"""Their names in an identity; of those for photos at their own scale, behind `DENSE`."""
DENSE = "dense_"
WHOLE, MERGED = "whole", "merged"
SHARD = "shard"
"""Name in an identity of the shard whose photos the table has."""


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
    """New states of parts that are about to be replaced, by file name. Written before it happens,
    so that after a crash a part is known in either state."""
    ended: str = ""
    """How the table came to its last rows: `WHOLE`, `MERGED`, or empty while a scan adds to it or
    where one stopped before the end of its listing."""
    next: Manifest | None = None
    """Manifest of the table that is about to take the place of this one. It is complete by then, so
    that after a crash whoever writes next completes the change."""
    journal: str = field(default="", compare=False)
    """As it was read: names the journal that continues it (`inspector.results.journal`)."""
    recorded_fingerprint: str = field(default="", compare=False)
    """Fingerprint as it was read: that of `identity`, unless somebody changed one of them."""
    recorded_rows: int = field(default=0, compare=False)
    """Number of rows in all parts, as it was read."""

    @classmethod
    def read(cls, out: Path) -> Self | None:
        """Return the manifest of `out` as its journal continues it, or None where it has none.
        Raises OSError, and ManifestError for one that is damaged or of another table schema."""
        file, steps = Layout(out).manifest, b""
        try:
            # The journal first: a manifest that was written in between holds all that it said.
            with contextlib.suppress(FileNotFoundError):
                steps = read_plain(Layout(out).journal)
            content = read_plain(file)
        except FileNotFoundError:
            return None
        except NotAFileError as error:
            what = "it is not a regular file"
            name = error.filename or file
            raise ManifestError(f"{name}: {what}; {CHOICES}", what) from error
        return cls.parse(content, out, steps)

    @classmethod
    def parse(cls, content: bytes, out: Path | str, steps: bytes = b"") -> Self:
        """Return the manifest with this content, as `steps` continue it. Raises ManifestError."""
        try:
            values = _object(parse_json(content))
            _check_version(out, values)
            return cls._of(values)._continued(steps)
        except (ValueError, TypeError) as error:
            raise ManifestError(
                f"{out}/{RESULTS_DIR}/{MANIFEST} is damaged ({error}); {CHOICES}", str(error)
            ) from error

    @classmethod
    def _of(cls, values: JsonObject) -> Self:
        """Check and convert. Raises ValueError, TypeError for what no scan writes."""
        identity = _object(values.get("identity"))
        if not all(isinstance(value, str) for value in (*identity.values(), values.get("backend"))):
            raise TypeError("its identity or backend is no text")
        parts, lost = (_parts(values.get(name)) for name in ("parts", "lost"))
        names = {part.file for part in (*parts, *lost)}
        if len(names) < len(parts) + len(lost):
            raise ValueError("it lists a part twice")
        to_be = values.get("next")
        if to_be is not None and _object(to_be).get("next") is not None:
            raise ValueError("what is to follow it is no manifest")
        return cls(
            identity=identity,
            backend=values["backend"],
            parts=parts,
            lost=lost,
            rewriting=_states(values.get("rewriting", {})),
            ended=_ending(values.get("ended", "")),
            journal=str(values.get("journal", "")),
            next=None if to_be is None else cls._of(to_be),
            recorded_fingerprint=_sha256(values.get("fingerprint")),
            recorded_rows=_count(values.get("rows")),
        )

    def _continued(self, steps: bytes) -> Self:
        """This one after the steps of a journal, if that is its own. Raises as `_of`."""
        lines = [_object(parse_json(line)) for line in steps.split(b"\n")[:-1]]  # the last is torn
        if not self.journal or not lines or lines[0].get("follows") != self.journal:
            return self
        parts = {part.file: part for part in self.parts}
        lost, last = self.lost, lines[-1]
        for line in lines[1:]:
            parts |= {part.file: part for part in _parts(line.get("parts"))}
            lost = _parts(line["lost"]) if "lost" in line else lost
        if len(lines) < 2:
            return self
        if not parts.keys().isdisjoint(part.file for part in lost):
            raise ValueError("its journal lists a part twice")
        return replace(
            self,
            parts=tuple(parts.values()),
            lost=lost,
            rewriting=_states(last.get("rewriting", {})),
            ended=_ending(last.get("ended", "")),
            recorded_rows=_count(last.get("rows")),
        )

    def thresholds(self, prefix: str = "") -> Thresholds | None:
        """Return the thresholds of the scan or, with `DENSE`, those of photos that are judged at
        their own scale; None where the identity has none that can be."""
        try:
            low, high, limit = (self.identity[prefix + name] for name in THRESHOLDS)
            found = Thresholds(
                clear_below=float(low),
                crack_from=float(high),
                out_of_distribution=None if limit == repr(None) else float(limit),
            )
        except (KeyError, ValueError, UsageError):
            return None
        return found if found.clear_below > 0 and found.crack_from < 1 else None

    def scale(self) -> Scale | None:
        """Return what was said about the scale of the photos; None where it cannot be that."""
        try:
            return Scale.of(self.identity)
        except (ValueError, UsageError):
            return None

    def shard(self) -> Shard | None:
        """Return the shard whose photos the table has; None for a table of all photos. Raises
        UsageError where the identity says what cannot be."""
        text = self.identity.get(SHARD)
        return None if text is None else Shard.parse(text)

    def write(self, out: Path) -> str:
        """Replace the manifest of `out` in one step, and begin a new journal; return the token by
        which that names it. Raises OSError."""
        token = secrets.token_hex(16)
        publish(self.content(token), Layout(out).manifest, Layout(out).draft(MANIFEST))
        Layout(out).journal.unlink(missing_ok=True)  # the new manifest disowns it already
        return token

    def content(self, token: str) -> bytes:
        """Return it as the content of a file; `token` names its journal."""
        return json.dumps(self._to_json(token)).encode()

    def _to_json(self, token: str = "") -> JsonObject:
        return {
            "schema_version": SCHEMA_VERSION,
            "tool_version": __version__,
            "fingerprint": fingerprint_of(self.identity),
            "identity": dict(self.identity),
            "backend": self.backend,
            "rows": sum(part.rows for part in self.parts),
            "ended": self.ended,
            "journal": token,
            "parts": [asdict(part) for part in self.parts],
            "lost": [asdict(part) for part in self.lost],
            "rewriting": states_to_json(self.rewriting),
            "next": self.next and self.next._to_json(),
        }


def states_to_json(states: Mapping[str, Part]) -> JsonObject:
    return {file: {"rows": part.rows, "sha256": part.sha256} for file, part in states.items()}


def fingerprint_of(identity: Mapping[str, str]) -> str:
    """Return the sha256 of the identity; every part carries it. It is one for all shards of a
    scan: what decides a row is the same in each of them."""
    decides = {name: value for name, value in identity.items() if name != SHARD}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _check_version(out: Path | str, values: JsonObject) -> None:
    """Raise OtherVersionError for another table schema, ValueError for what is none."""
    found, writer = values.get("schema_version"), values.get("tool_version")
    if type(found) is not int or not isinstance(writer, str):
        raise ValueError("it names no version that wrote it")
    if found == SCHEMA_VERSION:
        return
    raise OtherVersionError(
        f"{out} holds a table of schema {found}, written by version {writer}; this "
        f"is version {__version__}, which writes schema {SCHEMA_VERSION}: continue with that "
        f"version, {CHOICES}",
        f"version {writer} wrote it, with table schema {found}, and version {__version__} reads "
        f"schema {SCHEMA_VERSION}",
        "use the version that wrote it",
    )


def _object(value: Any) -> JsonObject:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.40} is no object")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.40} is no list")
    return value


def _parts(value: Any) -> tuple[Part, ...]:
    return tuple(_part(_object(entry)) for entry in _list(value))


def _states(value: Any) -> dict[str, Part]:
    return {file: _part({"file": file} | _object(state)) for file, state in _object(value).items()}


def _part(entry: JsonObject) -> Part:
    name = entry.get("file")
    if not isinstance(name, str) or not is_part_name(name):
        raise ValueError(f"{name!r:.40} is not the name of a part")
    return Part(name, _count(entry.get("rows")), _sha256(entry.get("sha256")))


def _ending(value: Any) -> str:
    if value not in ("", WHOLE, MERGED):
        raise ValueError(f"{value!r:.40} is no way in which a table ends")
    return str(value)


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{value!r:.40} is not 64 hexadecimal digits")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is not a number of rows")
    return value


def check_identity(out: Path | str, identity: Mapping[str, str], manifest: Manifest | None) -> None:
    """Raise OutputError when the table of `out` was made by another model or other options."""
    if manifest is None or manifest.identity == identity:
        return
    found = differences(manifest.identity, identity, "there", "now")
    raise OutputError(
        f"{out} holds the results of another scan ({found}): give the same model "
        "and options to continue it, choose another --out to keep it, or --overwrite to remove it "
        "first"
    )


def differences(one: Mapping[str, str], other: Mapping[str, str], here: str, there: str) -> str:
    """Say in what two identities differ; empty where they do not."""
    return "; ".join(
        f"{name} {_short(one.get(name))} {here}, {_short(other.get(name))} {there}"
        for name in {**other, **one}
        if one.get(name) != other.get(name)
    )


def _short(value: object) -> str:
    return "none" if value is None else str(value)[:12]
