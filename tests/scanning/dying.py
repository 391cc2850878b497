"""A scan without a model, on real files, that dies at a chosen step on the disk."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.dataset as ds
import pytest

from inspector.core import durable
from inspector.core.durable import append_synced, write_new
from inspector.photos.address import path_of
from inspector.results import journal
from inspector.results.manifest import SHARD
from inspector.results.schema import make_row, to_table
from inspector.results.store import open_results
from inspector.scanning import ScanConfig, Tally
from inspector.scanning.following import Following, follow_photos
from inspector.scanning.pipeline import ParquetSink
from inspector.scanning.vanished import move_photos, settle_vanished
from inspector.scanning.worklist import StopSignals, Worklist
from inspector.types import Failure, FailureCode, PhotoFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTITY = {"model": "a" * 64, "precision": "fp32"}
JUDGED = b"ok"
"""Contents that begin so get a row that says `ok`."""


class Killed(BaseException):
    """As if the process had ended on the spot."""


@contextmanager
def dying_at(step: int | None) -> Iterator[list[str]]:
    """Let the step-th change to the disk from now on not happen (a write happens by half), nor any
    after it: what follows, clean-ups included, is the work of a process that is dead. Yields the
    names of the steps that came that far."""
    steps: list[str] = []

    def guarded(name, real, half=None):
        def run(*args, **options):
            if step is not None and len(steps) >= step:
                if len(steps) == step and half is not None:
                    half(*args, **options)
                steps.append("")
                raise Killed
            steps.append(name)
            return real(*args, **options)

        return run

    def write_half(content, file):
        write_new(content[: len(content) // 2], file)

    def append_half(content, file):
        append_synced(content[: len(content) // 2], file)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "unlink", "link"):
            patch.setattr(os, name, guarded(name, getattr(os, name)))
        patch.setattr(os, "fsync", lambda descriptor: None)  # a kill forgets nothing
        patch.setattr(durable, "write_new", guarded("write", write_new, write_half))
        patch.setattr(journal, "append_synced", guarded("append", append_synced, append_half))
        yield steps


class Work(Worklist):
    followed = Following()
    """What has become of what people said."""


def quick_scan(photos: Path | str, out: Path, *, rows_per_part: int = 2, fill: int = 0, **options):
    """What `inspector.scan` does, with a file's content in place of a verdict. Returns the
    tally and the opened results."""
    config = ScanConfig(sources=(str(photos),), out=out, **options)
    tally, began = Tally(), datetime.now(UTC).replace(tzinfo=None)
    work = Work(config, tally, StopSignals())
    own = {} if config.shard is None else {SHARD: config.shard}
    with (
        open_results(
            out, IDENTITY | own, overwrite=False, by_content=config.verify_content
        ) as results,
        ParquetSink(results, {}, rows_per_part=rows_per_part, fill=fill) as sink,
    ):
        if moved := config.moves():
            move_photos(results, moved)
        work.leave_out_done(results.ledger)
        for ref in work:
            sink.add(to_table([_row(ref)], {}))
        sink.commit()
        settle_vanished(results, work, tally, prune=config.prune, gone=config.source_gone)
        work.followed = follow_photos(results, began)
        sink.finish()
        if not config.retry_failed:
            results.end()
    return tally, results, work


def _row(ref):
    content = Path(ref.path).read_bytes()
    facts = PhotoFacts(content_hash=hashlib.sha256(content).hexdigest())
    row = make_row(Failure(ref, FailureCode.EMPTY, content.decode(), facts), None)
    judged = {"status": "ok", "verdict": "clear", "failure_code": None}
    return row | (judged if content.startswith(JUDGED) else {})


def table_of(out: Path) -> dict[str, str]:
    """File name to the content that its row was made from, as any reader would see it. Fails for a
    file with two rows."""
    rows = ds.dataset(out, exclude_invalid_files=False).to_table().to_pylist()
    table = {Path(path_of(row["uri"])).name: row["detail"] for row in rows}
    assert len(table) == len(rows), "a file has two rows"
    return table
