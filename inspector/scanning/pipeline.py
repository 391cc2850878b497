"""The scan itself: one loop from photos to rows."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from inspector.engines import open_backend
from inspector.errors import LoaderError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.model.verdict import judge
from inspector.results.schema import make_row
from inspector.results.store import open_results, recorded_facts
from inspector.scanning.engine_thread import EngineThread
from inspector.scanning.engines import as_begun, choose_engines, identity_of
from inspector.scanning.interrupt import StopSignals
from inspector.scanning.plan import PEEK, make_plan
from inspector.scanning.prune import move_photos, settle_vanished
from inspector.scanning.sink import ParquetSink
from inspector.scanning.summary import Counts, Stopwatch, Tally, summarise
from inspector.scanning.worklist import Worklist
from inspector.types import Photo
from inspector.version import __version__
from inspector.workers.loader import load_batches
from inspector.workers.start import refuse_reimport

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from typing import Any

    from inspector.engines import Backend
    from inspector.model.bundle import Thresholds
    from inspector.results.store import Results
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.engines import Engines
    from inspector.scanning.plan import Plan
    from inspector.scanning.summary import ScanSummary, Watcher
    from inspector.types import Batch, ImageRef, Judgement


def scan(config: ScanConfig, *, watch: Watcher | None = None) -> ScanSummary:
    """Give every photo of `config.sources` one row in the table at `config.out`.

    What is in the table already is skipped, so a scan that was stopped goes on when it is called
    again. SIGINT and SIGTERM stop it between two batches. Raises an InspectorError when the scan
    cannot start or go on; the rows that are done are kept.
    """
    refuse_reimport("scan")
    started = time.perf_counter()
    bundle = ModelBundle.load(config.model or DEFAULT_PATH, trust=config.trust)
    thresholds = config.thresholds(bundle.thresholds)
    tally, clock = Tally(config.max_failures), Stopwatch()
    with ExitStack() as stack:
        enter = stack.enter_context
        with clock.stage("start"):
            stop = enter(StopSignals())
            work = Worklist(config, tally, stop)
            config, engines, identity = _settled(config, bundle)
            results = enter(
                open_results(
                    config.out,
                    identity,
                    overwrite=config.overwrite,
                    by_content=config.verify_content,
                )
            )
            first = _first_photos(config, work, results)
            plan = make_plan(config, bundle.preprocess, engines, first)
            # Before the engine, so that worker processes come up while it loads.
            batches = enter(closing(_load(config, work, bundle, plan)))
            backend = enter(closing(_open(bundle, plan, thresholds)))
            results.begin_with(plan.backend)
            sink = enter(ParquetSink(results, {**identity, **_run_facts(plan, backend)}))
            engine = EngineThread(backend, clock)
            judged = enter(closing(engine.run(_until_stopped(batches, stop, clock))))
        if watch is not None:
            watch.start(plan, backend, Counts.of(results.outcomes), results.notes)
        for batch, scores in judged:
            with clock.stage("judge"):
                photos = [photo for photo, _ in batch.owned()]
                judgements = judge(scores, photos, thresholds, backend.stages)
                rows = _rows(batch, judgements, plan.view)
            with clock.stage("write"):
                sink.write(rows)
            tally.count(batch, judgements)
            if watch is not None:
                watch.update(tally)
            if tally.over_budget():
                break
        with clock.stage("write"):
            sink.commit()
            if tally.complete(work) and config.limit is None:
                prune = config.prune and not tally.over_budget(finished=True)
                settle_vanished(results, work, tally, prune=prune, gone=config.source_gone)
            sink.finish()
        seconds = time.perf_counter() - started
        return summarise(
            work, tally, clock, plan, backend, results, sink.committed, seconds, engine.busy_seconds
        )


def _settled(config: ScanConfig, bundle: ModelBundle) -> tuple[ScanConfig, Engines, dict[str, str]]:
    """The scan with the engine of its table, what judges it, and its identity."""
    recorded = recorded_facts(config.out, overwrite=config.overwrite)
    config = as_begun(config, recorded)
    engines = choose_engines(config, bundle, recorded)
    return config, engines, identity_of(config, bundle, engines)


def _first_photos(config: ScanConfig, work: Worklist, results: Results) -> list[ImageRef]:
    """The first of those that need a row, once rows have followed photos that moved."""
    if moved := config.moves():
        move_photos(results, moved)
    first = work.peek(results.ledger, PEEK)
    if first and (strangers := results.ledger.strangers()):
        results.notes.append(strangers)
    return first


def _load(config: ScanConfig, work: Worklist, bundle: ModelBundle, plan: Plan) -> Generator[Batch]:
    return load_batches(
        work,
        bundle.preprocess,
        batch_size=plan.batch_size,
        workers=plan.workers,
        dataloader=plan.dataloader,
        limits=config.limits,
    )


def _open(bundle: ModelBundle, plan: Plan, thresholds: Thresholds) -> Backend:
    return open_backend(
        bundle,
        plan.backend,
        device=plan.device,
        precision=plan.precision,
        threads=plan.threads,
        thresholds=thresholds,
    )


def _until_stopped(
    batches: Iterator[Batch], stop: StopSignals, clock: Stopwatch
) -> Iterator[Batch]:
    """The same batches until a signal comes; those that are with the engine then still get their
    rows. A signal that also ended the workers, because it went to the whole process group, ends
    them quietly."""
    try:
        for batch in clock.timed("load", batches):
            yield batch
            if stop.received is not None:
                return
    except LoaderError:
        if stop.received is None:
            raise


def _rows(batch: Batch, judgements: Sequence[Judgement], view: str) -> list[dict[str, Any]]:
    """One row per item, in the batch's order; the k-th photo has the k-th judgement."""
    own = iter(judgements)
    return [
        make_row(item, next(own) if isinstance(item, Photo) else None, view=view)
        for item in batch.items
    ]


def _run_facts(plan: Plan, backend: Backend) -> Mapping[str, str]:
    """How the rows of this run came about, for the metadata of its parts."""
    return {
        "tool_version": __version__,
        "backend": backend.name,
        "device": backend.device,
        "providers": ", ".join(backend.providers),
        "batch_size": str(plan.batch_size),
        "stages": ", ".join(backend.stages),
    }
