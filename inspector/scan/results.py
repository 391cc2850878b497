"""A result directory: whose it is, what is in it, and what may be done to it.

    OUT/part-000000.parquet ...     the table; the rows in these files are what is done
    OUT/_inspector/manifest.json    which scan it belongs to, and its parts
    OUT/_inspector/*.partial        parts in the making; worthless after a crash

A part appears by a rename of a file that is complete on disk, so there are no half parts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from inspector.bundle import sha256_of
from inspector.data.source import RESULTS_DIR
from inspector.durable import PARTIAL, locked, publish, reporting
from inspector.errors import OutputError
from inspector.scan.schema import METADATA_PREFIX, SCHEMA_VERSION
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from inspector.types import JsonObject

MANIFEST = "manifest.json"
_LOCK = "lock"
_PART = re.compile(r"part-(\d{6,})\.parquet")
_FINGERPRINT = "fingerprint"


@dataclass(frozen=True, slots=True)
class Part:
    """One committed file of the table."""

    file: str
    rows: int
    sha256: str


class Results:
    """An opened result directory of one scan. `identity` names what decides its rows (the bundle's
    digest, options); `done` holds a key for every file that has a row, about 100 bytes
    of memory each."""

    def __init__(self, out: Path, identity: Mapping[str, str]) -> None:
        self.out = out
        self.identity = {**identity, "schema": str(SCHEMA_VERSION)}
        self.parts: list[Part] = []
        self.done: set[bytes] = set()

    @property
    def fingerprint(self) -> str:
        """sha256 of the identity; every part carries it."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def commit(self, content: bytes, rows: int) -> None:
        """Make `content` the next part: on disk before it gets its name, named before the manifest
        mentions it. Raises OutputError saying how many rows are safe."""
        number = max((_number(part.file) for part in self.parts), default=-1) + 1
        name = f"part-{number:06d}.parquet"
        draft = self.out / RESULTS_DIR / f"{name}{PARTIAL}"
        with reporting(self.out, lambda: f"{self.rows:,} rows are committed"):
            publish(content, self.out / name, draft)
            self.parts.append(Part(name, rows, hashlib.sha256(content).hexdigest()))
            self.write_manifest()

    def write_manifest(self) -> None:
        values = {
            "schema_version": SCHEMA_VERSION,
            "tool_version": __version__,
            _FINGERPRINT: self.fingerprint,
            "identity": self.identity,
            "rows": self.rows,
            "parts": [asdict(part) for part in self.parts],
        }
        folder = self.out / RESULTS_DIR
        content = json.dumps(values, indent=1).encode()
        publish(content, folder / MANIFEST, folder / f"{MANIFEST}{PARTIAL}")


@contextlib.contextmanager
def open_results(out: Path, identity: Mapping[str, str], *, overwrite: bool) -> Iterator[Results]:
    """Make or continue the result directory `out`, for this process alone.

    Raises OutputError: `out` belongs to another scan or to somebody else, another process is
    writing to it, it is damaged, or it cannot be written.
    """
    results = Results(out, identity)
    folder = out / RESULTS_DIR
    with reporting(out, _nothing_done), contextlib.ExitStack() as stack:
        _refuse_foreign(out)
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(folder / _LOCK))
        for partial in folder.glob(f"*{PARTIAL}"):
            partial.unlink()
        if overwrite:
            _remove_own(out)
        _load(results)
        held = stack.pop_all()
    with held:
        yield results


def recorded_identity(out: Path, *, overwrite: bool) -> Mapping[str, str]:
    """What decided the rows that are in `out`; empty where there are none that will stay. Raises
    OutputError for a manifest that cannot be read."""
    if overwrite:
        return {}
    with reporting(out, _nothing_done):
        manifest = _read_manifest(out)
    found = manifest.get("identity") if manifest else None
    return found if isinstance(found, dict) else {}


def row_key(uri: str) -> bytes:
    """16 bytes that stand for a uri in `Results.done`."""
    return hashlib.blake2b(uri.encode(), digest_size=16).digest()


def done_in(out: Path, identity: Mapping[str, str]) -> set[bytes]:
    """The keys of what a scan would skip in `out`; changes nothing. Raises OutputError."""
    results = Results(out, identity)
    with reporting(out, _nothing_done):
        _refuse_foreign(out)
        if (out / RESULTS_DIR / MANIFEST).exists():
            _check_identity(results, _read_manifest(out))
            for name in _part_names(out):
                _read_part(results, name)
    return results.done


def _load(results: Results) -> None:
    """Take over the parts that are there, and bring the manifest up to date with them."""
    manifest = _read_manifest(results.out)
    _check_identity(results, manifest)
    known = _known_parts(results.out, manifest)
    for name in _part_names(results.out):
        rows = _read_part(results, name)
        part = known.get(name)
        if part is None or part.rows != rows:
            # A crash came between the part's rename and the manifest.
            part = Part(name, rows, sha256_of(results.out / name))
        results.parts.append(part)
    if manifest is None or list(known.values()) != results.parts:
        results.write_manifest()


def _read_part(results: Results, name: str) -> int:
    """Add a part's rows to `results.done`; their number. Raises OutputError for one that is
    unreadable or from another scan."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = results.out / name
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.schema_arrow.metadata or {}
            column = file.read(columns=["uri"]).column("uri")
    except (pa.ArrowException, KeyError, OSError) as error:
        raise OutputError(
            f"{path} cannot be read ({error}); remove it to have its photos scanned again"
        ) from error
    if metadata.get(f"{METADATA_PREFIX}{_FINGERPRINT}".encode()) != results.fingerprint.encode():
        raise OutputError(f"{path} is from another scan; move it away or use another --out")
    results.done.update(row_key(uri) for uri in column.to_pylist())
    return len(column)


def _check_identity(results: Results, manifest: JsonObject | None) -> None:
    if manifest is None or manifest.get(_FINGERPRINT) == results.fingerprint:
        return
    old = manifest.get("identity", {})
    differing = [
        f"{name} {_short(old.get(name))} there, {_short(value)} now"
        for name, value in results.identity.items()
        if old.get(name) != value
    ]
    raise OutputError(
        f"{results.out} holds the results of another scan ({'; '.join(differing)}): choose another "
        "--out, or --overwrite to remove them first"
    )


def _known_parts(out: Path, manifest: JsonObject | None) -> dict[str, Part]:
    try:
        parts = [Part(**values) for values in manifest["parts"]] if manifest else []
    except (KeyError, TypeError) as error:
        raise _damaged(out, error) from error
    return {part.file: part for part in parts}


def _damaged(out: Path, error: object) -> OutputError:
    return OutputError(
        f"{out / RESULTS_DIR / MANIFEST} is damaged ({error}); choose another --out, or "
        "--overwrite to remove these results first"
    )


def _short(value: object) -> str:
    return str(value)[:12]


def _refuse_foreign(out: Path) -> None:
    """Raises OutputError when `out` is no directory or holds part files that are not ours."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; --out must name a directory")
    parts = _part_names(out)
    if parts and not (out / RESULTS_DIR / MANIFEST).is_file():
        raise OutputError(
            f"{out} holds {parts[0]} but no {RESULTS_DIR}/{MANIFEST}, so it is not known whose it "
            "is; choose another --out"
        )


def _remove_own(out: Path) -> None:
    """Remove a scan's files and nothing else; the manifest last, which says whose they are."""
    for name in _part_names(out):
        (out / name).unlink()
    for entry in sorted((out / RESULTS_DIR).iterdir(), key=lambda entry: entry.name == MANIFEST):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _LOCK:
            entry.unlink()


def _part_names(out: Path) -> list[str]:
    if not out.is_dir():
        return []
    return sorted((name for name in os.listdir(out) if _PART.fullmatch(name)), key=_number)


def _number(name: str) -> int:
    match = _PART.fullmatch(name)
    assert match is not None
    return int(match[1])


def _read_manifest(out: Path) -> JsonObject | None:
    file = out / RESULTS_DIR / MANIFEST
    try:
        values = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(out, error) from error
    if not isinstance(values, dict):
        raise _damaged(out, "no JSON object")
    return values


def _nothing_done() -> str:
    return "nothing was scanned"
