"""Check the parts of a table against the manifest, and their rows against the rules."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inspector.core.layout import RESULTS_DIR, TABLE, Layout, is_part_name
from inspector.core.text import quantity
from inspector.core.untrusted import NotAFileError, opened
from inspector.errors import UsageError
from inspector.results.lost import read_list
from inspector.results.manifest import AGAIN, DENSE, Manifest, Part
from inspector.results.parts import REJUDGED, UNREADABLE
from inspector.results.schema import METADATA_PREFIX, SCHEMA
from inspector.results.verify.findings import Findings, Flaw, Remark
from inspector.results.verify.rows import flaws_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import BufferedReader
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.core.progress import Progress
    from inspector.photos.selection import Shard

_NEXT, _BEFORE = f"{RESULTS_DIR}/next", f"{RESULTS_DIR}/before"
ROWS_AT_ONCE = 65_536
"""Some 30 MB in memory."""

RESCAN = "move it away and run the same scan again: it judges those photos anew"
LOST = "put it back, or scan all sources of this table again; --prune gives up photos that are gone"


class TableCheck:
    """Reads every part once. `parts` has the number of rows of those that could be read."""

    def __init__(
        self, out: Path, manifest: Manifest, findings: Findings, folder: Path, *, switching: bool
    ) -> None:
        self.out = out
        self.folder = folder
        self.switching = switching
        """Another table takes the place of this one: files of both are there."""
        self.manifest = manifest
        self._promised = {part.file: part for part in manifest.parts}
        self.findings = findings
        self.parts: dict[str, int] = {}
        self._decides = manifest.thresholds(), manifest.thresholds(DENSE), manifest.scale()
        self._shard: Shard | None = None
        with contextlib.suppress(UsageError):  # the manifest is damaged then, and said to be
            self._shard = manifest.shard()
        self._census = UriCensus()

    def run(self, progress: Progress) -> None:
        unlisted = list(self._unlisted())
        total = len(self._promised) + len(unlisted)
        for name in self._promised:
            progress("parts", len(self.parts), total)
            self._check_listed(name)
        for name in unlisted:
            progress("parts", len(self.parts), total)
            self._check_unlisted(name)
        self._check_uniqueness()
        for part in self.manifest.lost:
            self._check_lost(part)

    def _check_lost(self, part: Part) -> None:
        name, rows = part.file, part.rows
        uris = read_list(Layout(self.out).photos(name), rows)
        if uris is None:
            missing, which = rows, "which photos they were of is not known"
        else:
            left = self._census.without_row(uris)
            missing, which = len(left), f"the first of {left[0]}" if left else ""
        if missing:
            was = "has" if part.sha256 == AGAIN else "was lost with"
            again = " to be judged again" if part.sha256 == AGAIN else ""
            of_them = quantity(missing, "is", "are")
            what = (
                f"{was} {quantity(rows, 'row')}{again}, of which {of_them} not there yet ({which})"
            )
            self._add(Flaw.LOST_ROWS, name, what, LOST)

    def _unlisted(self) -> Iterator[str]:
        """Parts that the manifest does not know yet; any other file is reported."""
        for path, entry in files_below(self.out):
            folder, _, name = path.rpartition("/")
            if self.switching and folder in (_NEXT, _BEFORE):
                continue
            if folder == TABLE and name in self._promised:
                continue
            if folder == TABLE and is_part_name(name) and entry.is_file(follow_symlinks=False):
                yield name
            else:
                self.findings.add(
                    Flaw.STRAY_FILE,
                    path,
                    "is no part of this table, but readers of the directory would take it for one",
                    f"move it out of {self.out}",
                )

    def _check_listed(self, name: str) -> None:
        promise = self._promised[name]
        successor = self.manifest.rewriting.get(name, promise)
        add = self._add
        try:
            with opened(self.folder / name) as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                fulfilled = [p for p in (promise, successor) if p.sha256 == digest]
                if not fulfilled:
                    add(Flaw.CHANGED_PART, name, "its bytes are not those committed", RESCAN)
                    return
                if name in self.manifest.rewriting:
                    add(Remark.UNFINISHED, name, _UNFINISHED)
                self._read(name, stream, fulfilled[0].rows)
            if name not in self.manifest.rewriting and not self.findings.damaged():
                self._check_list(name)
        except FileNotFoundError:
            what = f"is gone, with {quantity(promise.rows, 'row')}" if promise.rows else "is gone"
            add(Flaw.MISSING_PART, name, what, "put it back, or run the same scan again")
        except NotAFileError:
            what = "is a directory, link, pipe or device, no file"
            add(Flaw.NOT_A_FILE, name, what, RESCAN)
        except OSError as error:
            self._unreadable(name, error)

    def _check_list(self, name: str) -> None:
        if read_list(Layout(self.out).photos(name), self.parts[name]) != self._uris(name):
            what = "the list of its photos, kept in case it gets lost, is missing or is another"
            file = f"{RESULTS_DIR}/{Layout(self.out).photos(name).name}"
            self._add(Flaw.PHOTO_LIST, name, what, f"remove {file}: the next scan makes it anew")

    def _check_unlisted(self, name: str) -> None:
        damage = self.findings.damaged()
        try:
            with opened(self.folder / name) as stream:
                self._read(name, stream, None)
        except OSError as error:
            self._unreadable(name, error)
        if self.findings.damaged() == damage:
            what = "is complete, but not in the manifest yet; the next run of this scan adds it"
            self._add(Remark.UNFINISHED, name, what)

    def _read(self, name: str, stream: BufferedReader, promised: int | None) -> None:
        stream.seek(0)
        try:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            if not self._is_ours(name, file.schema_arrow):
                return
            rows = self._check_rows(name, file)
            if rows != file.metadata.num_rows:  # the reader does not always mind
                raise ValueError(
                    f"{quantity(rows, 'row')} where its footer says {file.metadata.num_rows:,}"
                )
        except UNREADABLE as error:
            self._unreadable(name, error)
            return
        self.parts[name] = rows
        if promised is not None and rows != promised:
            what = f"holds {quantity(rows, 'row')}, but the manifest says {promised:,}"
            self._add(Flaw.ROW_COUNT, name, what, RESCAN)

    def _is_ours(self, name: str, schema: pa.Schema) -> bool:
        metadata = schema.metadata or {}
        fingerprint = metadata.get(f"{METADATA_PREFIX}fingerprint".encode())
        if fingerprint != self.manifest.recorded_fingerprint.encode():
            what = "comes from another scan"
            self._add(Flaw.OTHER_SCAN, name, what, f"move it out of {self.out}")
            return False
        if not schema.equals(SCHEMA):
            self._add(Flaw.SCHEMA, name, _difference(schema), RESCAN)
            return False
        return True

    def _check_rows(self, name: str, file: pq.ParquetFile) -> int:
        rejudged = f"{METADATA_PREFIX}{REJUDGED}".encode() in (file.schema_arrow.metadata or {})
        rows = 0
        counts: Counter[tuple[Flaw, str]] = Counter()
        examples: dict[tuple[Flaw, str], str] = {}
        for batch in file.iter_batches(ROWS_AT_ONCE):
            batch.validate(full=True)
            rows += batch.num_rows
            uris = batch.column("uri").to_pylist()
            self._census.add(name, uris)
            flaws = flaws_in(batch, *self._decides, peaks=not rejudged, shard=self._shard)
            for flaw, what, mask in flaws:
                counts[flaw, what] += int(mask.sum())
                examples.setdefault((flaw, what), uris[int(mask.argmax())])
        for (flaw, what), count in counts.items():
            where = f"{quantity(count, 'row')}, the first of {examples[flaw, what]}"
            self._add(flaw, name, f"{what} ({where})", RESCAN)
        return rows

    def _check_uniqueness(self) -> None:
        pairs: Counter[tuple[str, str]] = Counter()
        examples: dict[tuple[str, str], str] = {}
        for uri, first, again in self._census.doubled(self._uris):
            pairs[first, again] += 1
            examples.setdefault((first, again), uri)
        for (first, again), count in pairs.items():
            other = "" if first == again else f" that {first} also has"
            files = quantity(count, "file")
            what = f"has a second row for {files}{other}, as for {examples[first, again]}"
            self._add(Flaw.DOUBLED_URI, again, what, RESCAN)

    def _uris(self, name: str) -> list[str]:
        with opened(self.folder / name) as stream:
            uris: list[str] = pq.ParquetFile(stream).read(["uri"]).column("uri").to_pylist()
        return uris

    def _add(self, code: Flaw | Remark, name: str, what: str, remedy: str = "") -> None:
        self.findings.add(code, f"{TABLE}/{name}", what, remedy)

    def _unreadable(self, name: str, error: BaseException) -> None:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        self._add(Flaw.UNREADABLE, name, f"cannot be read: {reason}", RESCAN)


_UNFINISHED = "was to be replaced when the scan ended; the next run of this scan completes that"


def _difference(schema: pa.Schema) -> str:
    found, due = ({f.name: f for f in each} for each in (schema, SCHEMA))
    missing, extra = due.keys() - found.keys(), found.keys() - due.keys()
    other = {name for name in due.keys() & found.keys() if not found[name].equals(due[name])}
    parts = {"lacks": missing, "has besides": extra, "has of another type": other}
    named = "; ".join(
        f"{verb} {', '.join(sorted(names))}" for verb, names in parts.items() if names
    )
    return f"other columns: {named or 'in another order, or named twice'}"


def files_below(out: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what readers take for files of the table, with the path relative to `out`.

    Readers of `OUT/table` want nothing but Parquet files in it; `OUT/**/*.parquet` takes every file
    below `out` that is called like one. Raises OSError for `out`; a directory below it that cannot
    be listed is itself yielded.
    """
    waiting: list[tuple[str, str, os.DirEntry[str] | None]] = [("", os.fspath(out), None)]
    while waiting:
        prefix, folder, itself = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            if itself is None:
                raise
            yield prefix, itself
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{prefix}{entry.name}/", entry.path, entry))
            elif prefix.startswith(f"{TABLE}/") or entry.name.endswith(".parquet"):
                yield prefix + entry.name, entry


MOST_CANDIDATES = 100_000
"""Doubled hashes whose uris are compared; a table with more has been found out by then."""


class UriCensus:
    """Collects the uris of each part as 64-bit hashes, 8 bytes a row."""

    def __init__(self) -> None:
        self._hashes: dict[str, NDArray[np.int64]] = {}

    def add(self, part: str, uris: Sequence[str]) -> None:
        """Add uris of `part`, in the order of its rows."""
        more = np.fromiter(map(hash, uris), np.int64, len(uris))
        known = self._hashes.get(part)
        self._hashes[part] = more if known is None else np.concatenate((known, more))

    def without_row(self, uris: Sequence[str]) -> list[str]:
        """Return those of `uris` that no part has. By hashes: a missing one is overlooked in one of
        2^64 / rows cases."""
        found = np.isin(np.fromiter(map(hash, uris), np.int64, len(uris)), self._all())
        return [uri for uri, there in zip(uris, found.tolist(), strict=True) if not there]

    def doubled(self, read: Callable[[str], Sequence[str]]) -> Iterator[tuple[str, str, str]]:
        """Every repetition of a uri with the part it stands in first and the part that repeats it.
        `read` gives a part's uris again: equal hashes only raise the suspicion."""
        ordered = self._all()
        ordered.sort()
        suspects = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])[:MOST_CANDIDATES]
        first: dict[str, str] = {}
        for part, hashes in self._hashes.items():
            rows = np.flatnonzero(np.isin(hashes, suspects))
            uris = read(part) if len(rows) else ()
            for row in rows.tolist():
                uri = uris[row]
                if uri in first:
                    yield uri, first[uri], part
                else:
                    first[uri] = part

    def _all(self) -> NDArray[np.int64]:
        return np.concatenate([np.empty(0, np.int64), *self._hashes.values()])
