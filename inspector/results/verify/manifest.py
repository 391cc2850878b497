"""The manifest as a witness: what it promises about the parts.

Read apart from the code that writes it, so that a mistake there cannot hide itself here.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.core.plain import read_plain
from inspector.core.untrusted import parse_json
from inspector.errors import UsageError
from inspector.model.bundle import Thresholds
from inspector.results.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PART = re.compile(r"part-\d{6,}\.parquet")
RESTORE = "restore it, or scan again with --overwrite or into another --out"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ManifestError(ValueError):
    """The manifest cannot be used; the text says why, and `remedy` what to do."""

    def __init__(self, what: str, remedy: str = RESTORE) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Promise:
    """What a part must be."""

    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`rewriting` names what an existing part is about to become; until then, and after a crash,
    either is right."""

    fingerprint: str
    identity: Mapping[str, str]
    rows: int
    parts: Mapping[str, Promise]
    lost: Mapping[str, Promise]
    """Parts that were gone when a scan began, until all their rows are there again."""
    rewriting: Mapping[str, Promise]
    next: Manifest | None
    """Of the table that is about to take the place of this one, or has."""

    @property
    def true_fingerprint(self) -> str:
        """sha256 of the identity, which is what the fingerprint must be."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    def thresholds(self) -> Thresholds | None:
        """Those of the scan; None when the identity has none that can be."""
        try:
            low, high = (float(self.identity[name]) for name in ("clear_below", "crack_from"))
            foreign = self.identity["out_of_distribution"]
            found = Thresholds(
                clear_below=low,
                crack_from=high,
                out_of_distribution=None if foreign == repr(None) else float(foreign),
            )
        except (KeyError, ValueError, UsageError):
            return None
        return found if low > 0 and high < 1 else None


def read_manifest(path: Path) -> Manifest:
    """Raises ManifestError for whatever is wrong with it."""
    try:
        values = parse_json(read_plain(path))
    except FileNotFoundError as error:
        raise ManifestError("it is missing") from error
    except OSError as error:
        raise ManifestError(f"it cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ManifestError(f"it is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise ManifestError("it holds no JSON object")
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ManifestError(
            f"it is of schema version {version!r}, this program reads {SCHEMA_VERSION}",
            f"verify with the version that wrote it ({values.get('tool_version')})",
        )
    return _manifest(values)


def _manifest(values: dict[str, Any]) -> Manifest:
    identity = values.get("identity")
    if not isinstance(identity, dict) or not all(isinstance(v, str) for v in identity.values()):
        raise ManifestError("its identity is not an object of texts")
    listed = values.get("parts")
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ManifestError("its parts are not a list of objects")
    parts = {_part_name(entry.get("file")): _promise(entry) for entry in listed}
    gone = values.get("lost")
    if not isinstance(gone, list) or not all(isinstance(entry, dict) for entry in gone):
        raise ManifestError("its lost parts are not a list of objects")
    lost = {_part_name(entry.get("file")): _promise(entry) for entry in gone}
    if len(parts | lost) < len(listed) + len(gone):
        raise ManifestError("it lists a part twice")
    rewriting = values.get("rewriting", {})
    if not isinstance(rewriting, dict) or not rewriting.keys() <= parts.keys():
        raise ManifestError("it is rewriting what is not a part")
    to_be = values.get("next")
    if to_be is not None and (not isinstance(to_be, dict) or to_be.get("next") is not None):
        raise ManifestError("what is to follow it is no manifest")
    return Manifest(
        fingerprint=_matching(values.get("fingerprint"), "fingerprint"),
        identity=identity,
        rows=_count(values.get("rows")),
        parts=parts,
        lost=lost,
        rewriting={name: _promise(entry) for name, entry in rewriting.items()},
        next=None if to_be is None else _manifest(to_be),
    )


def _promise(entry: object) -> Promise:
    if not isinstance(entry, dict):
        raise ManifestError("an entry is no object")
    return Promise(_count(entry.get("rows")), _matching(entry.get("sha256"), "sha256"))


def _part_name(name: object) -> str:
    if not isinstance(name, str) or not PART.fullmatch(name):
        raise ManifestError(f"{name!r} is not the name of a part")
    return name


def _matching(value: object, name: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ManifestError(f"a {name} is not 64 hexadecimal digits")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ManifestError(f"{value!r} is not a number of rows")
    return value
