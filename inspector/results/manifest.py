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

from inspector.core.durable import patiently, publish
from inspector.core.layout import MANIFEST, RESULTS_DIR, Layout, is_part_name
from inspector.core.untrusted import NotAFileError, checked, parse_json, read_plain
from inspector.errors import OutputError, UsageError
from inspector.model.bundle import Thresholds
from inspector.model.scale import Scale
from inspector.photos.selection import Shard
from inspector.results.schema import SCHEMA_VERSION
from inspector.types import JsonObject
from inspector.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

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

    def __post_init__(self) -> None:
        if not is_part_name(self.file):
            raise ValueError(f"{self.file!r:.40} is not the name of a part")
        if self.rows < 0 or not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.file} has no number of rows or no sha256")


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

    def __post_init__(self) -> None:
        names = {part.file for part in (*self.parts, *self.lost)}
        if len(names) < len(self.parts) + len(self.lost):
            raise ValueError("it lists a part twice")
        if self.ended not in ("", WHOLE, MERGED):
            raise ValueError(f"{self.ended!r:.40} is no way in which a table ends")

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
            values = parse_json(content)
            _check_version(out, values)
            return cls._of(checked(_Written, values))._continued(steps)
        except ValueError as error:
            raise ManifestError(
                f"{out}/{RESULTS_DIR}/{MANIFEST} is damaged ({error}); {CHOICES}", str(error)
            ) from error

    @classmethod
    def _of(cls, written: _Written, *, follows: bool = False) -> Self:
        """Raises ValueError for what no scan writes."""
        if follows and written.next is not None:
            raise ValueError("what is to follow it is no manifest")
        to_be = None if written.next is None else checked(_Written, written.next, "next")
        return cls(
            identity=written.identity,
            backend=written.backend,
            parts=written.parts,
            lost=written.lost,
            rewriting={part.file: part for part in written.rewriting},
            ended=written.ended,
            journal=written.journal,
            next=None if to_be is None else cls._of(to_be, follows=True),
            recorded_fingerprint=written.fingerprint,
            recorded_rows=written.rows,
        )

    def _continued(self, steps: bytes) -> Self:
        """This one after the steps of a journal, if that is its own. Raises ValueError."""
        first, *lines = map(parse_json, steps.split(b"\n")[:-1] or [b"null"])  # the last is torn
        if not self.journal or not lines or first != {"follows": self.journal}:
            return self
        parts, lost = {part.file: part for part in self.parts}, self.lost
        for number, line in enumerate(lines):
            step = checked(_Step, line, f"step {number} of its journal")
            parts |= {part.file: part for part in step.parts}
            lost = lost if step.lost is None else step.lost
        return replace(
            self,
            parts=tuple(parts.values()),
            lost=lost,
            rewriting={part.file: part for part in step.rewriting},
            ended=step.ended,
            recorded_rows=step.rows,
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
        patiently(Layout(out).journal.unlink, True)  # the new manifest disowns it already
        return token

    def content(self, token: str) -> bytes:
        """Return it as the content of a file; `token` names its journal."""
        return json.dumps(self._to_json(token)).encode()

    def _to_json(self, token: str = "") -> JsonObject:
        written = _Written(
            schema_version=SCHEMA_VERSION,
            tool_version=__version__,
            fingerprint=fingerprint_of(self.identity),
            identity=dict(self.identity),
            backend=self.backend,
            rows=sum(part.rows for part in self.parts),
            ended=self.ended,
            journal=token,
            parts=self.parts,
            lost=self.lost,
            rewriting=tuple(self.rewriting.values()),
            next=None if self.next is None else self.next._to_json(),
        )
        return asdict(written)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A manifest as its file has it: who wrote it, and what can be held against the rest."""

    schema_version: int
    tool_version: str
    fingerprint: str
    identity: Mapping[str, str]
    backend: str
    rows: int
    """In all parts."""
    ended: str
    journal: str
    parts: tuple[Part, ...]
    lost: tuple[Part, ...]
    rewriting: tuple[Part, ...]
    next: JsonObject | None

    def __post_init__(self) -> None:
        if self.rows < 0 or not _SHA256.fullmatch(self.fingerprint):
            raise ValueError("it has no number of rows or no fingerprint")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A line of a journal but the first: new and replaced parts, and the table as it is now."""

    parts: tuple[Part, ...]
    rows: int
    lost: tuple[Part, ...] | None = None
    """None: as before."""
    rewriting: tuple[Part, ...] = ()
    ended: str = ""


def fingerprint_of(identity: Mapping[str, str]) -> str:
    """Return the sha256 of the identity; every part carries it. It is one for all shards of a
    scan: what decides a row is the same in each of them."""
    decides = {name: value for name, value in identity.items() if name != SHARD}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _check_version(out: Path | str, values: Any) -> None:
    """Raise OtherVersionError for another table schema, ValueError for what is none."""
    if not isinstance(values, dict):
        raise ValueError(f"it is {values!r:.40}, not an object")
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
