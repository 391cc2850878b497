"""The scan itself: one loop from photos to rows, and all that is decided before it."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from inspector.core.durable import reporting
from inspector.core.layout import Layout
from inspector.engines.photo import choose_views
from inspector.engines.tuned import fastest_precision
from inspector.errors import OutputError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.model.verdict import judge
from inspector.results.log import open_log
from inspector.results.lookup import recorded_facts
from inspector.results.parts import FINGERPRINT
from inspector.results.schema import make_row, to_table
from inspector.results.store import open_results
from inspector.scanning.executor import close_all, open_local
from inspector.scanning.overlays import Overlays
from inspector.scanning.plan import AUTO, PEEK, choose_engine, identity_of, make_plan
from inspector.scanning.prune import move_photos, settle_vanished
from inspector.scanning.sample import share_deferred
from inspector.scanning.summary import Counts, Stopwatch, Tally, summarise
from inspector.scanning.worklist import StopSignals, Worklist
from inspector.types import Photo
from inspector.version import __version__
from inspector.workers.process import refuse_reimport

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from inspector.engines import Backend
    from inspector.engines.photo import PhotoEngine
    from inspector.results.store import Results
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.executor import Executor, Warm
    from inspector.scanning.plan import Plan
    from inspector.scanning.summary import ScanSummary, Watcher
    from inspector.types import Batch, ImageRef, Scores

    Told = Callable[[Sequence[Mapping[str, Any]]], object]
    """Gets the rows of each batch as they are made."""

ROWS_PER_PART = 10_000
"""About 2 MB on disk; what a crash can cost at most."""
SECONDS_PER_PART = 30.0
"""Work that a crash may cost on a slow machine, where a full part takes hours."""
FILLED = 1_000
"""Rows up to which a part is filled up where few photos come at a time: one a part would be slow to
read."""


def scan(
    config: ScanConfig,
    *,
    watch: Watcher | None = None,
    rows: Told | None = None,
) -> ScanSummary:
    """Give every photo of `config.sources` one row in the table at `config.out`.

    What is in the table already is skipped, so a scan that was stopped goes on when it is called
    again. SIGINT and SIGTERM stop it between two batches. `watch` is told of the start and of every
    batch; `rows` gets the rows of each batch as they are made, before any of them is committed, so
    that no row of the table was kept from it, and a scan that was killed may make some again.
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
    for batch, scores in run.predictions():
        run.keep(batch, scores, rows)
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
        self.scale = config.scale
        self.tally = Tally(config.max_failures)
        self.clock = Stopwatch()
        with self.clock.stage("start"):
            loaded = None if warm is None else warm.bundle
            bundle = loaded or ModelBundle.load(config.model or DEFAULT_PATH, trust=config.trust)
            if warm is not None:
                warm.bundle = bundle
            views = choose_views(config.view, bundle)
            self.thresholds = config.thresholds(bundle.thresholds)
            self.dense = config.dense_thresholds(bundle)
            signals = stack.enter_context(StopSignals())
            self.work = Worklist(config, self.tally, signals, settled)
            opened: dict[str, Backend] = {}
            stack.callback(close_all, opened)
            self.plan = _decide(config, bundle, self.work, opened)
            identity = identity_of(config, bundle, self.plan.precision)
            self.table = table = stack.enter_context(_open_table(config, identity))
            others = self.work.leave_out_done(table.ledger)
            if others and (note := table.ledger.other_photos(table.name)):
                table.notes.append(note)
            self.executor: Executor = stack.enter_context(
                open_local(config, bundle, views, self.plan, self.work, self.clock, opened, warm)
            )
            table.begin_with(self.plan.backend)
            with reporting(table.out, lambda: "nothing was scanned"):
                overlays = Overlays(config.heatmaps, Layout(table.out), bundle)
            self.overlays = stack.enter_context(overlays)
            facts = {**identity, **_facts(self.plan, self.executor.engine)}
            fill = 0 if warm is None else FILLED
            self.sink = stack.enter_context(ParquetSink(table, facts, fill=fill))

    def predictions(self) -> Generator[tuple[Batch, Scores]]:
        """Every batch of the photos that need a row, with its scores, in the order of the
        listing; where they are computed is the executor's business."""
        return self.executor.predictions()

    def keep(
        self,
        batch: Batch,
        scores: Scores,
        told: Told | None = None,
    ) -> None:
        """Write one row for each item of `batch`, and count it; `told` gets the rows first."""
        with self.clock.stage("judge"):
            batch = batch.at_scale(self.scale.mm_per_px)
            stages = self.executor.engine.stages
            judgements = judge(
                scores, batch.photos, self.thresholds, stages, self.dense, self.scale
            )
            own = iter(judgements)  # the k-th photo has the k-th judgement
            rows = [
                make_row(item, next(own) if isinstance(item, Photo) else None)
                for item in batch.items
            ]
        with self.clock.stage("write"):
            if told is not None:
                told(rows)
            self.sink.write(rows)
        if self.config.heatmaps:
            with self.clock.stage("draw"):
                self.overlays.take(batch.photos, judgements, scores)
        self.tally.count(batch, judgements)
        self.tally.count_hidden(batch.photos, self.scale)

    def finish(self) -> None:
        """Commit the rows that wait; after a whole listing, settle those whose photos are gone."""
        with self.clock.stage("write"):
            self.sink.commit()
            if self.complete and self.config.limit is None:
                prune = self.config.prune and not self.tally.over_budget(finished=True)
                gone = self.config.source_gone
                settle_vanished(self.table, self.work, self.tally, prune=prune, gone=gone)
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


def _decide(
    config: ScanConfig, bundle: ModelBundle, work: Worklist, opened: dict[str, Backend]
) -> Plan:
    """The engine and the settings. Where its precision is free, engines are timed, unless they were
    before; those that had to be opened for it are in `opened`, and are the ones that are used."""
    recorded = recorded_facts(config.out, overwrite=config.overwrite)
    choice = choose_engine(config, bundle, recorded)
    plan = make_plan(config, bundle, choice, work.first(PEEK))
    precision, why = choice.precision, choice.why
    if precision == AUTO:
        waiting = work.first(PEEK)
        precision, why = fastest_precision(
            bundle,
            plan.backend,
            threads=plan.threads,
            opened=opened,
            deferred=partial(share_deferred, config, bundle, waiting),
        )
    return replace(plan, precision=precision, why=f"{plan.why}; {why}")


@contextmanager
def _open_table(config: ScanConfig, identity: dict[str, str]) -> Iterator[Results]:
    """The table, once its rows have followed photos that moved. Raises OutputError."""
    if isinstance(config.out, str):
        with open_log(config.out, identity) as table:
            yield table
        return
    with open_results(
        config.out, identity, overwrite=config.overwrite, by_content=config.verify_content
    ) as table:
        if moved := config.moves():
            move_photos(table, moved)
        yield table


def _facts(plan: Plan, engine: PhotoEngine) -> dict[str, str]:
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
        self._waiting: list[Mapping[str, Any]] = []
        self._last_commit = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        elif issubclass(kind, Exception) and not issubclass(kind, OutputError):
            self.commit()

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take rows; commit when enough or long enough have waited."""
        self._waiting.extend(rows)
        while len(self._waiting) >= self.rows_per_part:
            self._commit_first(self.rows_per_part)
        if time.monotonic() - self._last_commit > self.seconds_per_part:
            self.commit()

    def commit(self) -> None:
        """Publish all rows that wait."""
        if self._waiting:
            self._commit_first(len(self._waiting))

    def finish(self) -> None:
        """Publish what waits. A scan without rows gets an empty part, so that readers find a table
        with the right columns and no special case."""
        self.commit()
        if not self.results.parts:
            self._commit_first(0)

    def _commit_first(self, count: int) -> None:
        rows = self._waiting[:count]
        self.results.commit(to_table(rows, self.facts), fill=self.fill)
        del self._waiting[:count]
        self.committed += len(rows)
        self._last_commit = time.monotonic()
