"""The scan itself: one loop from photos to rows, and all that is decided before it."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from inspector.core.durable import reporting
from inspector.core.layout import Layout
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.results.bucket_table import open_in_bucket
from inspector.results.parts import FINGERPRINT
from inspector.results.schema import to_table
from inspector.results.store import open_results
from inspector.scanning.cluster import ClusterExecutor
from inspector.scanning.config import RAY
from inspector.scanning.executor import LocalExecutor
from inspector.scanning.following import Following, follow_photos
from inspector.scanning.identity import identity_of
from inspector.scanning.overlays import Overlays
from inspector.scanning.ray_connection import connected
from inspector.scanning.stopwatch import Stopwatch
from inspector.scanning.summary import Counts, Tally, summarise
from inspector.scanning.vanished import move_photos, settle_vanished
from inspector.scanning.worklist import StopSignals, Worklist
from inspector.version import __version__
from inspector.workers.process import refuse_reimport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from inspector.results.store import Results
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.executor import Engine, Judged, Warm
    from inspector.scanning.plan import Plan
    from inspector.scanning.summary import ScanSummary, Watcher
    from inspector.types import ImageRef

    Told = Callable[[Sequence[Mapping[str, Any]]], object]
    """Gets the rows of each batch as they are made."""

ROWS_PER_PART = 10_000
"""About 2 MB on disk; what a crash can cost at most."""
SECONDS_PER_PART = 30.0
"""Work that a crash may cost on a slow machine, where a full part takes hours."""
FILLED = 1_000
"""Rows up to which a part is filled up where few photos come at a time."""


def scan(
    config: ScanConfig, *, watch: Watcher | None = None, rows: Told | None = None
) -> ScanSummary:
    """Give every photo of `config.sources` one row in the table at `config.out`.

    What is in the table already is skipped, so a scan that was stopped goes on when it is called
    again. SIGINT, SIGTERM and SIGHUP stop it between two batches. `watch` is told of the start and
    of every batch; `rows` gets the rows of each batch as they are made, before any of them is
    committed, so that no row of the table was kept from it, and a scan that was killed may make
    some again.
    Raises InspectorError where the scan cannot start or go on; the rows that are done are kept.

    Example:
        >>> import inspector
        >>> summary = inspector.scan("photos", out="o")
        >>> summary.table.rows, summary.table.verdicts
        (3, {'crack': 1, 'clear': 1, 'review': 0})
    """
    refuse_reimport("scan")
    with open_scan(config) as run:
        return work_through(run, watch, rows)


def work_through(run: OpenScan, watch: Watcher | None, rows: Told | None) -> ScanSummary:
    """Judge what an opened scan has to judge; `watch` and `rows` as in `scan`."""
    if watch is not None:
        table = Counts.of(run.table.outcomes)
        watch.start(run.plan, run.executor.engine, table, run.table.notes)
    with closing(run.executor.judged(run.overlays)) as answers:
        for judged in answers:
            run.keep(judged, rows)
            if watch is not None:
                watch.update(run.tally)
            if run.tally.over_budget():
                break
    run.finish()
    return summarise(run)


@contextmanager
def open_scan(
    config: ScanConfig,
    warm: Warm | None = None,
    settled: Callable[[ImageRef], bool] = lambda ref: True,
) -> Iterator[OpenScan]:
    """Decide everything about a scan, and open what it needs; whatever cannot work fails here.
    `warm`: this is one of many scans of a table, whose last part is filled up; photos that are not
    `settled` wait for a later one. Raises InspectorError."""
    with ExitStack() as stack:
        yield OpenScan(config, stack, warm, settled)


class OpenScan:
    """A scan with everything decided and opened."""

    def __init__(
        self,
        config: ScanConfig,
        stack: ExitStack,
        warm: Warm | None,
        settled: Callable[[ImageRef], bool],
    ) -> None:
        """Each step needs those before it: what the table was begun with, the engine and how the
        machine is shared, hence the identity of the rows, hence the table and the photos that need
        a row. `stack` closes what is opened."""
        self.config = config
        self.started = time.perf_counter()
        self.began = datetime.now(UTC).replace(tzinfo=None)
        self.followed = Following()
        self.tally = Tally(config.max_failures)
        self.clock = Stopwatch()
        with self.clock.stage("start"):
            loaded = None if warm is None else warm.bundle
            bundle = loaded or ModelBundle.load(config.model or DEFAULT_PATH, trust=config.trust)
            if warm is not None:
                warm.bundle = bundle
            # Before signals are caught: Ray catches them as well.
            ray = stack.enter_context(connected(config.address)) if config.engine == RAY else None
            signals = stack.enter_context(StopSignals())
            self.work = Worklist(config, self.tally, signals, settled)
            self.executor: LocalExecutor | ClusterExecutor
            if ray is None:
                self.executor = LocalExecutor(config, bundle, self.work, self.clock, warm)
            else:
                self.executor = ClusterExecutor(ray, config, bundle, self.work, self.clock)
            stack.enter_context(closing(self.executor))
            identity = identity_of(config, bundle, self.executor.choose_engine())
            self.table = table = stack.enter_context(_open_table(config, identity))
            others = self.work.leave_out_done(table.ledger)
            below = self.work.discovery.below
            if others and (note := table.ledger.other_photos(table.name, below)):
                table.notes.append(note)
            self.plan = self.executor.start()
            table.begin_with(self.plan.backend)
            with reporting(table.out, lambda: "nothing was scanned"):
                overlays = Overlays(config.heatmaps, Layout(table.out), bundle)
            self.overlays = stack.enter_context(overlays)
            facts = {**identity, **_facts(self.plan, self.executor.engine)}
            fill = 0 if warm is None else FILLED
            self.sink = stack.enter_context(ParquetSink(table, facts, fill=fill))

    def keep(self, judged: Judged, told: Told | None = None) -> None:
        """Write rows, and count them; `told` gets them first."""
        with self.clock.stage("write"):
            if told is not None:
                told(judged.rows.to_pylist())
            self.sink.add(judged.rows)
        self.tally.add(judged.tally)
        self.tally.nodes = self.executor.nodes

    def finish(self) -> None:
        """Commit the rows that wait; after a whole listing, settle those whose photos are gone."""
        with self.clock.stage("write"):
            self.sink.commit()
            if self.complete and self.config.limit is None:
                prune = self.config.prune and not self.tally.over_budget(finished=True)
                gone = self.config.source_gone
                settle_vanished(self.table, self.work, self.tally, prune=prune, gone=gone)
                if not self.config.appends and not self.work.stopped:
                    self.followed = follow_photos(self.table, self.began)
            self.sink.finish()
            listed = self.config.limit is None and not self.work.discovery.unreadable_dirs
            if self.complete and listed and not self.tally.left_out:
                self.table.end()
        if self.config.heatmaps:
            with self.clock.stage("draw"):
                self.overlays.finish()

    @property
    def complete(self) -> bool:
        """Whether the listing was worked through, as far as it was to be."""
        return not self.work.stopped and not self.tally.over_budget()


@contextmanager
def _open_table(config: ScanConfig, identity: dict[str, str]) -> Iterator[Results]:
    """The table, once its rows have followed photos that moved. Raises OutputError."""
    if isinstance(config.out, str):
        with open_in_bucket(config.out, identity) as table:
            yield table
        return
    with open_results(
        config.out, identity, overwrite=config.overwrite, by_content=config.verify_content
    ) as table:
        if moved := config.moves():
            move_photos(table, moved)
        yield table


def _facts(plan: Plan, engine: Engine) -> dict[str, str]:
    """Facts about this run, for the metadata of its parts."""
    return {
        "tool_version": __version__,
        "backend": engine.name,
        "device": engine.device,
        "providers": ", ".join(engine.providers),
        "batch_size": str(plan.batch_size),
        "stages": ", ".join(engine.stages),
    }


class ParquetSink:
    """Collects rows and commits them as parts of `results`, in the order they came.

    As a context manager it commits what is left at the end, also after an error elsewhere: those
    rows are complete. After an error of its own, or at a KeyboardInterrupt, it does not.
    Raises OutputError when a part cannot be written.
    """

    def __init__(
        self,
        results: Results,
        facts: Mapping[str, str],
        *,
        rows_per_part: int = ROWS_PER_PART,
        seconds_per_part: float = SECONDS_PER_PART,
        fill: int = 0,
    ) -> None:
        """`fill`: rows up to which the last part takes more, in place of a new one."""
        self.results = results
        self.facts = {**facts, FINGERPRINT: results.fingerprint}
        self.rows_per_part = rows_per_part
        self.seconds_per_part = seconds_per_part
        self.fill = fill
        self.committed = 0
        """Rows that this sink has made safe."""
        self._failed = False
        self._waiting: list[pa.Table] = []
        self._last_commit = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        elif issubclass(kind, Exception) and not self._failed:
            self.commit()

    def add(self, rows: pa.Table) -> None:
        """Take a table of rows; commit when enough or long enough have waited."""
        self._waiting.append(rows)
        while self._rows >= self.rows_per_part:
            self._commit_first(self.rows_per_part)
        if time.monotonic() - self._last_commit > self.seconds_per_part:
            self.commit()

    def commit(self) -> None:
        """Publish all rows that wait."""
        if self._rows:
            self._commit_first(self._rows)

    def finish(self) -> None:
        """Publish what waits. A scan without rows gets an empty part, so that readers find a table
        with the right columns and no special case."""
        self.commit()
        if not self.results.parts:
            self._commit_first(0)

    @property
    def _rows(self) -> int:
        return sum(map(len, self._waiting))

    def _commit_first(self, count: int) -> None:
        rows = pa.concat_tables([to_table([], self.facts), *self._waiting]).combine_chunks()
        self._failed = True  # unless it comes back from there
        self.results.commit(rows.slice(0, count), fill=self.fill)
        self._failed = False
        self._waiting = [rows.slice(count)]
        self.committed += count
        self._last_commit = time.monotonic()
