"""A table in a bucket: a log of parts that several scans add to, and its copy on this machine.

    ADDRESS/_inspector/manifest.json          whose table it is; without parts, written once
    ADDRESS/table/part-000000.parquet ...     the log
    ADDRESS/_inspector/ended-000012           a scan came to its end when there were 12 parts

An object is put only where none of its name is, so the next number goes to one writer; the others
read its part, leave out the photos that it has, and try the number after it. A part names the
sha256 of the one before. All else is done with a copy, a result directory like any other. The
steps stand in docs/explanation/durability.md.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from inspector.core.durable import locked, make_directory, patiently, publish, replacing
from inspector.core.layout import (
    MANIFEST,
    RESULTS_DIR,
    TABLE,
    Layout,
    is_part_name,
    number_of,
    part_name,
)
from inspector.core.machine import private_folder
from inspector.core.untrusted import read_plain, sha256_of
from inspector.errors import BusyError, OutputError
from inspector.results.bucket import Bucket
from inspector.results.lost import write_list
from inspector.results.manifest import AGAIN, WHOLE, Manifest, Part, check_identity
from inspector.results.parts import encode, examine, opened_part, read_columns, uris_in
from inspector.results.schema import METADATA_PREFIX
from inspector.results.store import Results, open_results

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa


FOLLOWS = f"{METADATA_PREFIX}follows"
"""Key of a part's metadata: the sha256 of the part before; empty for the first one."""
_WRITER = f"{METADATA_PREFIX}writer"
"""Key of a part's metadata: a random word for the process that made it."""
_MANIFEST = f"{RESULTS_DIR}/{MANIFEST}"
_MARK = re.compile(r"ended-(\d{6,})")
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_ORIGIN = "bucket.json"
"""File of a copy: the manifest in the bucket, as it was read there."""
_AT_ONCE = 8
"""Parts that are fetched together."""
_MOST_GONE = 100_000
"""Parts that may be gone, each of which is told; more are a number that is none."""
_COPIES = "tables"
"""Folder in the cache folder."""


class BucketResults(Results):
    """The table in `bucket`, opened for one scan; `out` is its copy. Rows are only added."""

    def __init__(self, bucket: Bucket, out: Path, identity: Mapping[str, str] | None) -> None:
        super().__init__(out, identity)
        self.name = bucket.address
        self._bucket = bucket
        self._writer = secrets.token_hex(8)
        self._origin: bytes | None = None

    def load(self, *, by_content: bool) -> None:
        with _reading(self._bucket):
            self._origin = _bring(self._bucket, self._at)
        super().load(by_content=by_content)

    def begin_with(self, backend: str) -> None:
        super().begin_with(backend)
        with self._saying_what_is_safe():
            own = Manifest(identity=self.identity, backend=self.backend)
            content = self._origin or own.content(secrets.token_hex(16))
            there = self._bucket.create(_MANIFEST, content)
            begun = Manifest.parse(there, self.name)
            check_identity(self.name, self.identity, begun)  # another scan may have been quicker
            if self._bucket.put(_MANIFEST, there):
                raise OutputError(
                    f"the store of {self.name} overwrites what was to be put only where nothing is "
                    "(no conditional writes), so scans could lose rows there; choose another --out"
                )
            publish(there, self._at.work / _ORIGIN)

    def commit(self, table: pa.Table, *, fill: int = 0) -> None:
        with self._saying_what_is_safe():
            table = self._without_known(table)
            while table.num_rows or not self._parts:
                self.ended = ""
                name = self._next_name()
                content = encode(self._signed(table)).to_pybytes()
                there = self._bucket.create(f"{TABLE}/{name}", content)
                if there == content:
                    self._add(name, content, table)
                    break
                self._take_over(name, there)
                table = self._without_known(table)
            self._write_manifest()

    def end(self) -> None:
        if not self.ended:
            with self._saying_what_is_safe():
                mark = f"{RESULTS_DIR}/{_mark(len(self._parts))}"
                self._bucket.create(mark, self._last_sha256().encode())
        super().end()

    def _signed(self, table: pa.Table) -> pa.Table:
        about = table.schema.metadata or {}
        own = {FOLLOWS: self._last_sha256(), _WRITER: self._writer}
        return table.replace_schema_metadata({**about, **own})

    def _last_sha256(self) -> str:
        last = next(reversed(self._parts.values()), None)
        return last.sha256 if last else ""

    def _take_over(self, name: str, content: bytes) -> None:
        """Take in a part that another writer has made."""
        path = self._at.table / name
        publish(content, path, self._at.draft(name))
        rows = examine(path, self.fingerprint)
        self._add(name, content, read_columns(path, ["uri", "verdict", "failure_code"]))
        self.ledger.add(name, rows)

    def _without_known(self, table: pa.Table) -> pa.Table:
        """Leave out rows of photos that other parts have."""
        for file in self.ledger.files_with(table["uri"].to_pylist()):
            known = read_columns(self._at.table / file, ["uri"])["uri"].combine_chunks()
            has = pc.is_in(table["uri"], value_set=known)
            self.ledger.see(table["uri"].filter(has).to_pylist())
            left = table.filter(pc.invert(has))
            self.yielded += table.num_rows - left.num_rows
            table = left
        return table


@contextmanager
def open_in_bucket(address: str, identity: Mapping[str, str]) -> Iterator[Results]:
    """Begin or continue the table at the address of a bucket. Raises OutputError as `open_results`,
    UsageError for what is no such address."""
    bucket = Bucket(address)
    with ExitStack() as stack:
        for copy in _copies(bucket, stack):
            with suppress(BusyError):
                kind = partial(BucketResults, bucket)
                opened = open_results(copy, identity, overwrite=False, kind=kind)
                results = stack.enter_context(opened)
                break
        yield results


@contextmanager
def copied(address: str, *, anew: bool = False) -> Iterator[Path]:
    """Yield a copy of the table at the address of a bucket, to be read only; made `anew` with
    damage and all, or else of parts that were brought before. Raises OutputError where there is no
    table, UsageError for what is no such address."""
    bucket = Bucket(address)
    with ExitStack() as stack:
        for copy in _copies(bucket, stack, anew=anew):
            at = Layout(copy)
            make_directory(at.work)
            with suppress(BusyError), locked(at.lock), _reading(bucket):
                if _bring(bucket, at, whole=not anew) is None:
                    raise OutputError(
                        f"{bucket.address} holds no results of a scan; name the --out of one"
                    )
                break
        yield copy


def begun_at(address: str) -> Manifest | None:
    """The manifest that the table at the address of a bucket was begun with; None where nothing
    was begun. Raises OutputError for one that cannot be read, UsageError as `copied`."""
    bucket = Bucket(address)
    with _reading(bucket):
        content = bucket.read(_MANIFEST)
    return None if content is None else Manifest.parse(content, bucket.address)


def _copies(bucket: Bucket, stack: ExitStack, *, anew: bool = False) -> Iterator[Path]:
    """Yield where a copy may lie: in the cache folder; where that is in use, in a folder of its own
    for as long as `stack` is open."""
    if not anew and (folder := private_folder()):
        yield folder / _COPIES / hashlib.sha256(bucket.uri.encode()).hexdigest()[:16]
    yield Path(stack.enter_context(TemporaryDirectory(prefix="inspector-")))


def _bring(bucket: Bucket, at: Layout, *, whole: bool = True) -> bytes | None:
    """Bring a copy up to date; return the manifest in the bucket, None where nothing was begun.
    Raises OSError, and OutputError where a part is gone if it is to be `whole`."""
    # In this order: what comes meanwhile is no reason to miss a part.
    origin, ended = bucket.read(_MANIFEST), _last_mark(bucket)
    sizes = bucket.sizes(TABLE)
    names = sorted(filter(is_part_name, sizes), key=number_of)
    due = _due(bucket, ended, names)
    if names and origin is None and (origin := bucket.read(_MANIFEST)) is None:
        raise OutputError(
            f"{bucket.address} holds {TABLE}/{names[0]} but no {_MANIFEST}, so it is not known "
            "whose it is; choose another --out"
        )
    with suppress(FileNotFoundError):
        if read_plain(at.work / _ORIGIN) != origin:
            at.remove_own()
            patiently((at.work / _ORIGIN).unlink)
    make_directory(at.table)
    if origin is None:
        at.remove_own()
        return None
    manifest = Manifest.parse(origin, bucket.address)
    if not at.manifest.exists():
        manifest.write(at.out)
    publish(origin, at.work / _ORIGIN)
    for name in set(at.part_names()) - set(names):
        patiently((at.table / name).unlink)
    with ThreadPoolExecutor(_AT_ONCE, "inspector-fetch") as threads:
        wanted = [name for name in names if _size(at.table / name) != sizes[name]]
        for _ in threads.map(partial(_fetch, bucket, at), wanted):
            pass
    gone = next((name for name in map(part_name, range(due)) if name not in sizes), None)
    if whole and gone:
        raise OutputError(
            f"{bucket.address}/{TABLE}/{gone} is gone: put it back, or scan into another --out"
        )
    ending = bucket.read(f"{RESULTS_DIR}/{_mark(ended)}") if 0 < ended == due else None
    parts = _parts(at, due, ending or b"")
    replace(manifest, parts=parts, ended="" if ending is None else WHOLE).write(at.out)
    return origin


def _due(bucket: Bucket, ended: int, names: Sequence[str]) -> int:
    """Return how many parts there must be, by the mark of the last end and the last part. Raises
    OutputError where so many cannot have got lost."""
    last = number_of(names[-1]) + 1 if names else 0
    due = max(ended, last)
    if due > len(names) + _MOST_GONE:
        wrong = f"{TABLE}/{names[-1]}" if last == due else f"{RESULTS_DIR}/{_mark(ended)}"
        raise OutputError(
            f"the table at {bucket.address} is damaged: by its {wrong} there were {due:,} parts, "
            f"and it has {len(names):,}; remove that object, or scan into another --out"
        )
    return due


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


def _fetch(bucket: Bucket, at: Layout, name: str) -> None:
    path = at.table / name
    with replacing(path, at.draft(name)) as draft:
        bucket.fetch(f"{TABLE}/{name}", draft)
    with suppress(OutputError):  # who reads the rows will say that they cannot be read
        write_list(at, name, uris_in(path))


def _mark(parts: int) -> str:
    return f"ended-{parts:06d}"


def _last_mark(bucket: Bucket) -> int:
    """Return how many parts there were when a scan came to its end last; 0 if none has."""
    marks = map(_MARK.fullmatch, bucket.sizes(RESULTS_DIR))
    return max((int(mark[1]) for mark in marks if mark), default=0)


def _parts(at: Layout, count: int, last_sha256: bytes) -> tuple[Part, ...]:
    """Return the parts of a log as it names them itself, also those that are gone: each by what the
    next one says of it, or the mark of an end of the last one; else by what is there."""
    parts: list[Part] = []
    said = last_sha256
    for name in map(part_name, reversed(range(count))):
        path, rows, before = at.table / name, 0, b""
        with suppress(OutputError), opened_part(path) as file:
            rows = file.metadata.num_rows
            before = (file.schema_arrow.metadata or {}).get(FOLLOWS.encode(), b"")
        known = _SHA256.fullmatch(said)
        if known is None and path.exists():
            known = _SHA256.fullmatch(sha256_of(path).encode())
        parts.append(Part(name, rows, known[0].decode() if known else AGAIN))
        said = before
    return tuple(reversed(parts))


@contextmanager
def _reading(bucket: Bucket) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot read the table at {bucket.address}: {error.strerror or error}"
        ) from error
