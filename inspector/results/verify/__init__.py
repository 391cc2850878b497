"""Prove what a table promises: read its whole result directory, change nothing.

It takes no lock: a scan may be writing meanwhile. What looks like damage while files are being
replaced is looked at again.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from inspector.core.layout import MANIFEST, RESULTS_DIR, Layout, is_being_written, refuse_other
from inspector.core.progress import no_progress
from inspector.core.text import quantity
from inspector.core.untrusted import opened, take_paths
from inspector.errors import OutputError, UsageError
from inspector.photos.address import text_of
from inspector.photos.opened import Refused
from inspector.photos.reading import sha256_of
from inspector.photos.source import source_of
from inspector.results.manifest import (
    RESTORE,
    SHARD,
    Manifest,
    ManifestError,
    OtherVersionError,
    fingerprint_of,
)
from inspector.results.opening import at_hand
from inspector.results.reader import state_of
from inspector.results.verify.findings import Finding, Findings, Flaw, Remark, VerifyResult
from inspector.results.verify.table import TableCheck

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.core.progress import Progress
    from inspector.photos.source import Source
    from inspector.results.reader import State


__all__ = ["Finding", "Flaw", "Remark", "VerifyConfig", "VerifyResult", "verify"]

ATTEMPTS = 4
"""Reads of a directory that a scan keeps changing in a way that looks like damage."""
_PHOTOS_AT_ONCE = 100
"""Photos from one sign of progress to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyConfig:
    """Options of a verification."""

    out: Path | str
    """The result directory, or its address in a bucket."""
    photos: bool = False
    """Also compare with the photos, all of which are read for that."""

    def __post_init__(self) -> None:
        take_paths(self)


def verify(config: VerifyConfig, *, progress: Progress = no_progress) -> VerifyResult:
    """Read the result directory `config.out` to the last byte and say what is wrong with it.

    Nothing that its files may hold raises. Raises OutputError where there is no result directory,
    where a scan changed it all the time, or where another version wrote it, which says nothing
    against it.
    """
    try:
        return _verify(config, progress)
    except OtherVersionError as error:
        raise OutputError(f"{config.out} was not verified: {error.what}; {error.remedy}") from error


def _verify(config: VerifyConfig, progress: Progress) -> VerifyResult:
    with at_hand(config.out, anew=True) as out:
        refuse_other(out)
        for _ in range(ATTEMPTS):
            before = _state(out)
            findings = Findings()
            table = _check(out, findings, progress)
            moved = _state(out) != before
            if not (moved and findings.damaged()):
                break
        else:
            raise OutputError(f"a scan keeps changing {out}; verify again when it has ended")
        if moved or is_being_written(out):
            what = "a scan is writing; what it commits from now on was not looked at"
            findings.add(Remark.RUNNING, RESULTS_DIR, what)
        else:
            for leftover in Layout(out).drafts():
                what = "was never completed; the next run of this scan removes it"
                findings.add(Remark.LEFTOVER, str(leftover.relative_to(out)), what)
        photos = _check_photos(table, findings, progress) if table and config.photos else None
        return VerifyResult(
            out=config.out,
            rows=sum(table.parts.values()) if table else 0,
            parts=len(table.parts) if table else 0,
            shard=table.manifest.identity.get(SHARD) if table else None,
            photos=photos,
            skipped=findings.counts[Remark.PHOTO_SKIPPED],
            damage=findings.of(Flaw),
            notes=findings.of(Remark),
        )


def _check(out: Path, findings: Findings, progress: Progress) -> TableCheck | None:
    """Check the table; None where the manifest cannot say what to check."""
    try:
        manifest = Manifest.read(out)
        if manifest is None:
            raise ManifestError("", "it is missing")
    except OtherVersionError:
        raise
    except (ManifestError, OSError) as error:
        what, remedy = f"it cannot be read: {error}", RESTORE
        if isinstance(error, ManifestError):
            what, remedy = error.what, error.remedy
        findings.add(Flaw.MANIFEST, f"{RESULTS_DIR}/{MANIFEST}", what, remedy)
        return None
    folder, to_be = Layout(out).table, manifest.next
    if to_be is not None:
        what = "its verdicts are being changed; if nothing does, inspector rejudge completes that"
        findings.add(Remark.UNFINISHED, f"{RESULTS_DIR}/{MANIFEST}", what)
        if not folder.is_dir():
            manifest, folder = to_be, Layout(out).next_table
        elif not Layout(out).next_table.is_dir():
            manifest = to_be
    _check_manifest(manifest, findings)
    table = TableCheck(out, manifest, findings, folder, switching=to_be is not None)
    try:
        table.run(progress)
    except OSError as error:
        raise OutputError(f"cannot read {out}: {error.strerror or error}") from error
    return table


def _check_manifest(manifest: Manifest, findings: Findings) -> None:
    where = f"{RESULTS_DIR}/{MANIFEST}"
    if manifest.recorded_fingerprint != fingerprint_of(manifest.identity):
        what = "its identity is not the one that its fingerprint was made of"
        findings.add(Flaw.IDENTITY, where, what, RESTORE)
    elif manifest.thresholds() is None:
        findings.add(Flaw.IDENTITY, where, "its identity has no usable thresholds", RESTORE)
    try:
        manifest.shard()
    except UsageError as error:
        findings.add(Flaw.IDENTITY, where, str(error), RESTORE)
    if not manifest.rewriting.keys() <= {part.file for part in manifest.parts}:
        findings.add(Flaw.MANIFEST, where, "it is rewriting what is not a part", RESTORE)
    total = sum(part.rows for part in manifest.parts)
    if manifest.recorded_rows != total:
        what = f"it says {quantity(manifest.recorded_rows, 'row')}, its parts add up to {total:,}"
        findings.add(Flaw.MANIFEST, where, what, RESTORE)


def _check_photos(table: TableCheck, findings: Findings, progress: Progress) -> int:
    """Compare rows with their files; return how many."""
    import pyarrow.parquet as pq

    seen = 0
    total = sum(table.parts.values())
    for name in table.parts:
        with opened(table.folder / name) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(_PHOTOS_AT_ONCE, columns=COLUMNS):
                progress("photos", seen, total)
                for remark in photo_remarks(batch):
                    findings.add(*remark)
                seen += batch.num_rows
    return seen


def _state(out: Path) -> list[State]:
    """Differs whenever a scan has committed something in between."""
    at = Layout(out)
    with contextlib.suppress(OSError):  # what cannot be listed is found out later
        return [state_of(file) for file in (at.manifest, at.journal, *at.parts())]
    return []


COLUMNS = ["uri", "size_bytes", "mtime", "content_hash"]


def photo_remarks(batch: pa.RecordBatch) -> Iterator[tuple[Remark, str, str]]:
    """Yield what is no longer as in these rows: kind, file, and in words what. The batch has
    `COLUMNS`; every file whose size and time still fit is read."""
    for uri, size, mtime_us, sha256 in zip(*map(_values, COLUMNS, batch.columns), strict=True):
        try:
            source = source_of(uri)
        except ValueError:
            yield Remark.PHOTO_SKIPPED, uri, "its address names no file on this machine"
            continue
        found = _compare(source, uri, size, mtime_us, sha256)
        if found is not None:
            yield found[0], text_of(uri), found[1]


def _values(name: str, column: Any) -> list[Any]:
    """Times as microseconds: a table may hold times that Python's calendar does not have."""
    values: list[Any] = (pc.cast(column, pa.int64()) if name == "mtime" else column).to_pylist()
    return values


def _compare(
    source: Source, uri: str, size: int | None, mtime_us: int | None, sha256: str | None
) -> tuple[Remark, str] | None:
    try:
        facts = source.facts(uri)
        if facts.size != size or mtime_us not in (None, facts.mtime_us):
            return Remark.PHOTO_CHANGED, "another size or time than in its row"
        if sha256 is None:
            return Remark.PHOTO_SKIPPED, "its row has no hash to compare with; size and time fit"
        with source.open(uri) as file:
            same = sha256_of(file).hex() == sha256
    except (OSError, ValueError, Refused) as error:
        if size is None:
            return Remark.PHOTO_SKIPPED, "it could not be found at the time of the scan either"
        return Remark.PHOTO_GONE, getattr(error, "strerror", None) or str(error)
    return None if same else (Remark.PHOTO_CONTENT, "other content at the same size and time")
