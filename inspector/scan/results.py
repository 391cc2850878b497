"""A result directory: opened for one scan, continued, and changed so that no crash can harm it.

    OUT/part-000000.parquet ...     the table; the rows in these files are what is done
    OUT/_inspector/manifest.json    which scan it belongs to, and its parts
    OUT/_inspector/*.partial        files in the making; worthless after a crash

Every step of a change, and what is true between any two, stands in docs/durability.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from inspector.bundle import sha256_of
from inspector.data.labels import LABEL_FILES
from inspector.data.source import RESULTS_DIR
from inspector.durable import (
    PARTIAL,
    locked,
    make_directory,
    publish,
    reporting,
    sync_directory,
    write_synced,
)
from inspector.errors import OutputError
from inspector.scan.ledger import Ledger
from inspector.scan.manifest import MANIFEST, Manifest, Part, fingerprint_of
from inspector.scan.parts import (
    examine,
    number_of,
    part_name,
    part_names,
    read_columns,
    without,
)
from inspector.scan.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_LOCK = "lock"


class Results:
    """An opened result directory of one scan. `identity` names what decides its rows (the bundle's
    digest, options); `ledger` knows the rows that were there when it was opened."""

    def __init__(self, out: Path, identity: Mapping[str, str]) -> None:
        self.out = out
        self.identity = {**identity, "schema": str(SCHEMA_VERSION)}
        self.ledger = Ledger(out, [])
        self.superseded = 0
        """Rows that gave way to new ones of the same files."""
        self.pruned = 0
        """Rows that were dropped."""
        self.notes: list[str] = []
        self._parts: dict[str, Part] = {}

    @property
    def fingerprint(self) -> str:
        """sha256 of the identity; every part carries it."""
        return fingerprint_of(self.identity)

    @property
    def parts(self) -> list[Part]:
        return list(self._parts.values())

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self._parts.values())

    def commit(self, content: bytes, uris: Sequence[str]) -> None:
        """Make `content` the next part: on disk before it gets its name, named before the manifest
        mentions it. It has a row for each of `uris`; older rows of theirs are taken out before.
        Raises OutputError saying how many rows are safe."""
        # Before rows are taken out: a name that a removed part had means two things to a reader
        # of the manifest.
        name = part_name(max(map(number_of, self._parts), default=-1) + 1)
        with self._saying_what_is_safe():
            files = self.ledger.files_with(uris)
            self.superseded += self._take_out(dict.fromkeys(files, uris))
            publish(content, self.out / name, self._draft(name))
            self._parts[name] = Part(name, len(uris), hashlib.sha256(content).hexdigest())
            self._write_manifest()

    def drop(self, uris_by_file: Mapping[str, Sequence[str]]) -> None:
        """Take rows out of the parts that hold them. Raises OutputError like `commit`."""
        with self._saying_what_is_safe():
            self.pruned += self._take_out(uris_by_file)
            self._write_manifest()

    def unseen(self, below: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
        """The uris that begin like one of `below`, of rows that were there at the start and whose
        files were not looked up since; with the part they are in. Raises OutputError."""
        for file in self.ledger.files_with_unseen():
            column = read_columns(self.out / file, ["uri"])["uri"]
            uris = [uri for uri in column.to_pylist() if uri.startswith(below)]
            marks = self.ledger.are_unseen(uris)
            yield file, [uri for uri, unseen in zip(uris, marks, strict=True) if unseen]

    def _take_out(self, uris_by_file: Mapping[str, Sequence[str]]) -> int:
        """Rewrite parts without the rows of these uris; how many rows that were. The manifest then
        still speaks of both states of each part."""
        removed = 0
        states: dict[str, Part | None] = {}
        with contextlib.ExitStack() as drafts:
            for file, uris in uris_by_file.items():
                content, left, gone = without(self.out / file, uris)
                if not gone:
                    continue
                removed += gone
                states[file] = None
                if left:
                    drafts.callback(_discard, self._draft(file))
                    write_synced(content, self._draft(file))
                    states[file] = Part(file, left, hashlib.sha256(content).hexdigest())
            if states:
                self._write_manifest(states)
                self._replace(states)
        return removed

    def _replace(self, states: Mapping[str, Part | None]) -> None:
        for file, part in states.items():
            if part is None:
                (self.out / file).unlink()
                del self._parts[file]
            else:
                os.replace(self._draft(file), self.out / file)
                self._parts[file] = part
        # The old rows are gone for good before the new ones appear.
        sync_directory(self.out)

    def _write_manifest(self, rewriting: Mapping[str, Part | None] | None = None) -> None:
        Manifest(identity=self.identity, parts=tuple(self.parts), rewriting=rewriting or {}).write(
            self.out
        )

    def _draft(self, file: str) -> Path:
        return self.out / RESULTS_DIR / f"{file}{PARTIAL}"

    def _saying_what_is_safe(self) -> contextlib.AbstractContextManager[None]:
        return reporting(self.out, lambda: f"{self.rows:,} rows are committed")

    def load(self, *, by_content: bool) -> None:
        """Take over the parts that are there, and bring the manifest up to date with them. Raises
        OutputError for parts that do not belong here."""
        manifest = Manifest.read(self.out)
        check_identity(self.out, self.identity, manifest)
        for name in part_names(self.out):
            self._parts[name] = _recognise(self.out / name, self.fingerprint, manifest)
        if manifest is None or list(manifest.parts) != self.parts or manifest.rewriting:
            self._write_manifest()
        sizes = [(part.file, part.rows) for part in self.parts]
        self.ledger = Ledger(self.out, sizes, by_content=by_content)


@contextlib.contextmanager
def open_results(
    out: Path, identity: Mapping[str, str], *, overwrite: bool, by_content: bool = False
) -> Iterator[Results]:
    """Make or continue the result directory `out`, for this process alone; `by_content` as for
    `Ledger`.

    Raises OutputError: `out` belongs to another scan or to somebody else, another process is
    writing to it, it is damaged, or it cannot be written.
    """
    results = Results(out, identity)
    folder = out / RESULTS_DIR
    with reporting(out, _as_before), contextlib.ExitStack() as stack:
        _refuse_foreign(out)
        make_directory(folder)
        if not stack.enter_context(locked(folder / _LOCK)):
            results.notes.append(
                f"the file system of {out} has no locks: that no other scan writes there is yours "
                "to see to"
            )
        for partial in folder.glob(f"*{PARTIAL}"):
            partial.unlink()
        if overwrite:
            _remove_own(out)
        results.load(by_content=by_content)
        held = stack.pop_all()
    with held:
        yield results


def recorded_identity(out: Path, *, overwrite: bool) -> Mapping[str, str]:
    """What decided the rows that are in `out`; empty where there are none that will stay. Raises
    OutputError for a manifest that cannot be read."""
    if overwrite:
        return {}
    with reporting(out, _as_before):
        manifest = Manifest.read(out)
    return manifest.identity if manifest else {}


def look_into(out: Path, identity: Mapping[str, str], *, by_content: bool = False) -> Ledger:
    """What is known in `out`, for a scan of this identity; changes nothing. Raises OutputError."""
    results = Results(out, identity)
    with reporting(out, _as_before):
        _refuse_foreign(out)
        check_identity(out, results.identity, Manifest.read(out))
        names = part_names(out)
        sizes = [(name, examine(out / name, results.fingerprint)) for name in names]
        return Ledger(out, sizes, by_content=by_content)


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


def _recognise(path: Path, fingerprint: str, manifest: Manifest | None) -> Part:
    """A part that is there, as the manifest has it or is about to. Raises OutputError for one that
    has become something else."""
    rows = examine(path, fingerprint)
    listed = {part.file: part for part in manifest.parts} if manifest else {}
    states = [listed.get(path.name)]
    if manifest and path.name in manifest.rewriting:
        states.append(manifest.rewriting[path.name])
    elif states[0] is not None and states[0].rows == rows:
        return states[0]
    part = Part(path.name, rows, sha256_of(path))
    # A part without an entry came between its rename and the manifest.
    if states != [None] and part not in states:
        raise OutputError(
            f"{path} is not the file that was committed; put that back, or remove this one to have "
            "its photos scanned again"
        )
    return part


def _short(value: object) -> str:
    return str(value)[:12]


def _refuse_foreign(out: Path) -> None:
    """Raises OutputError when `out` is no directory or holds part files that are not ours."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; --out must name a directory")
    parts = part_names(out)
    if parts and not (out / RESULTS_DIR / MANIFEST).is_file():
        raise OutputError(
            f"{out} holds {parts[0]} but no {RESULTS_DIR}/{MANIFEST}, so it is not known whose it "
            "is; choose another --out"
        )


def _remove_own(out: Path) -> None:
    """Remove a scan's files and nothing else, least of all people's labels; the manifest last,
    which says whose they are."""
    for name in part_names(out):
        (out / name).unlink()
    sync_directory(out)
    for entry in sorted((out / RESULTS_DIR).iterdir(), key=lambda entry: entry.name == MANIFEST):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name not in {_LOCK, *LABEL_FILES}:
            entry.unlink()


def _discard(draft: Path) -> None:
    with contextlib.suppress(OSError):
        draft.unlink(missing_ok=True)


def _as_before() -> str:
    return "what it holds is as it was"
