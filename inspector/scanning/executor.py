"""The place where the photos of a scan are judged: this machine, unless it is a cluster."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines import has_nvidia_driver
from inspector.engines.combined import DEFERRED, chain
from inspector.engines.contract import ON_THE_CPU
from inspector.engines.photo import choose_views, open_photo_engine, screening_variant
from inspector.engines.tuned import fastest_precision
from inspector.errors import LoaderError
from inspector.model.bundle import NARROW
from inspector.model.verdict import judge
from inspector.photos.object_file import is_far
from inspector.results.opening import recorded_facts
from inspector.results.schema import make_row, to_table
from inspector.scanning.plan import AUTO, PEEK, TORCH, choose_engine, is_native, make_plan
from inspector.scanning.summary import Tally
from inspector.types import Photo, Scores
from inspector.workers.loader import load_batches
from inspector.workers.ordered import make_ahead

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from typing import TypeAlias

    import pyarrow as pa

    from inspector.engines import Backend
    from inspector.engines.photo import PhotoEngine
    from inspector.model.bundle import ModelBundle
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.node import Ready
    from inspector.scanning.overlays import Overlays
    from inspector.scanning.plan import Plan
    from inspector.scanning.stopwatch import Stopwatch
    from inspector.scanning.worklist import Worklist
    from inspector.types import Batch, ImageRef, Judgement
    from inspector.workers.ordered import Turn

    Engine: TypeAlias = PhotoEngine | Ready
    """What a scan can say of what judges: the engine here, or those elsewhere."""

IN_FLIGHT = 2
"""Batches with the engine: one that it works on, one that waits; their pixels are in memory."""
SAMPLE = 24
"""Photos that are looked at before an engine is chosen."""
WORTH_IT = 10
"""Photos for each of them from which the look costs little."""

_NO_SCORES = Scores(
    np.empty(0, np.float32), np.empty((0, 1, 1), np.float32), np.empty(0, np.float32)
)
"""Scores of a batch in which every file failed."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows of consecutive files, in their order and counted, wherever they were made."""

    rows: pa.Table
    tally: Tally


@dataclass(slots=True)
class Warm:
    """A bundle and an engine that stay open for all scans of one table."""

    bundle: ModelBundle | None = None
    engine: PhotoEngine | None = None
    made_of: tuple[str, str] = ("", "")
    """Its backend and precision, as the plan had them."""

    def close(self) -> None:
        """Close the engine."""
        if self.engine is not None:
            self.engine.close()
            self.engine = None


class LocalExecutor:
    """Judges on this machine: loader processes decode, the engine runs in a thread of its own."""

    nodes = 0
    """Nodes of a cluster that work now."""

    def __init__(
        self,
        config: ScanConfig,
        bundle: ModelBundle,
        work: Worklist,
        clock: Stopwatch,
        warm: Warm | None = None,
    ) -> None:
        """`clock` counts what the scan's own thread waits for and does. An engine that is open in
        `warm` is used where it is the one that is planned; else that is left open there."""
        self.notes: list[str] = []
        """What there is to know about where it was done."""
        self.engine: PhotoEngine
        self._config = config
        self._bundle = bundle
        self._work = work
        self._clock = clock
        self._warm = warm
        self._plan: Plan
        self._batches: Generator[Batch]
        self._thread: EngineThread
        self._timed: dict[str, Backend] = {}
        """Engines that had to be opened to be timed; of these the scan uses what it needs."""
        self._opened = ExitStack()
        self._opened.callback(close_all, self._timed)

    @property
    def busy_seconds(self) -> float:
        """Seconds in which the engine worked; they overlap with everything else."""
        return self._thread.busy_seconds

    def choose_engine(self) -> str:
        """Choose it, and how the machine is shared; return the precision. Where that is free,
        engines are timed, unless they were before."""
        config, bundle = self._config, self._bundle
        recorded = recorded_facts(config.out, overwrite=config.overwrite)
        choice = choose_engine(config, bundle, recorded)
        waiting = self._work.first(PEEK)
        plan = make_plan(config, bundle, choice, waiting)
        precision, why = choice.precision, choice.why
        if precision == AUTO:
            precision, why = fastest_precision(
                bundle,
                plan.backend,
                threads=plan.threads,
                opened=self._timed,
                deferred=partial(share_deferred, config, bundle, waiting),
            )
        self._plan = replace(plan, precision=precision, why=f"{plan.why}; {why}")
        return precision

    def start(self) -> Plan:
        """Open it, and start what decodes, once it is known which photos need a row. Raises
        BackendError, BundleError, LoaderError."""
        config, bundle, plan, warm = self._config, self._bundle, self._plan, self._warm
        # Before the engine, so that worker processes come up while it loads.
        self._batches = start_loader(config, bundle, plan, self._work)
        self._opened.enter_context(closing(self._batches))
        made_of = plan.backend, plan.precision
        if warm is not None and warm.made_of != made_of:  # the table was begun with another
            warm.close()
        open_already = None if warm is None else warm.engine
        self.engine = open_already or start_engine(
            config, bundle, *made_of, plan.threads, opened=self._timed
        )
        self._note_idle_gpu()
        self._thread = EngineThread(self.engine)
        close_all(self._timed)
        if warm is not None:
            warm.engine, warm.made_of = self.engine, made_of
        else:
            self._opened.enter_context(closing(self.engine))
        return plan

    def _note_idle_gpu(self) -> None:
        """Say why a GPU is not used, where the engine was only timed on the CPU, and cannot."""
        if self._config.device != AUTO or self.engine.device != "cpu" or not has_nvidia_driver():
            return
        from inspector.engines.onnxruntime import why_no_gpu

        said = any(note.startswith(ON_THE_CPU) for note in self.engine.notes)
        if not said and (why := why_no_gpu()):
            self.notes.append(f"{ON_THE_CPU}: {why}")

    def judged(self, overlays: Overlays) -> Generator[Judged]:
        """Yield the rows of all photos that need one, in the order of the listing. Once the scan is
        stopped, no more batches are started; those with the engine come out. Close the generator to
        end early. Raises BackendError, LoaderError."""
        judging = Judge(self._config, self._bundle, self.engine.stages)
        with closing(self._thread.predictions(self._until_stopped(), self._clock)) as predictions:
            for batch, scores in predictions:
                with self._clock.stage("judge"):
                    judged, judgements = judging.judge(batch, scores)
                if self._config.heatmaps:
                    with self._clock.stage("draw"):
                        overlays.take(batch.photos, judgements, scores)
                yield judged

    def _until_stopped(self) -> Iterator[Batch]:
        try:
            for batch in self._clock.timed("load", self._batches):
                yield batch
                if self._work.stopped:
                    return
        except LoaderError:
            # A signal to the whole process group ends the workers as well.
            if not self._work.stopped:
                raise

    def close(self) -> None:
        self._opened.close()


class EngineThread:
    """Runs an engine in a thread of its own: it never waits for rows to be made or written."""

    def __init__(self, engine: PhotoEngine) -> None:
        self._engine = engine
        self.busy_seconds = 0.0

    def predictions(
        self, batches: Iterator[Batch], clock: Stopwatch
    ) -> Generator[tuple[Batch, Scores]]:
        """Every batch with the scores of its photos, in order, without the pixels of those at their
        own scale. The thread starts with the first that is asked for; close the generator to end
        early. `clock` counts the waiting as `engine`."""
        yield from make_ahead(
            [self],
            batches,
            depth=IN_FLIGHT,
            name="inspector-engine",
            waiting=partial(clock.stage, "engine"),
        )

    def make(self, batch: Batch, turn: Turn) -> Iterator[tuple[Batch, Scores]]:
        """In the thread: judge a batch."""
        scores = _NO_SCORES
        if len(batch.pixels_NHWC) or batch.native:
            started = time.perf_counter()
            scores = self._engine.run(batch)
            self.busy_seconds += time.perf_counter() - started
        if batch.native:
            batch = replace(batch, native=())
        yield batch, scores

    def close(self) -> None:
        """Nothing: who has opened the engine closes it."""


class Judge:
    """Makes verdicts and rows of the scores of an engine with these `stages`."""

    def __init__(self, config: ScanConfig, bundle: ModelBundle, stages: Sequence[str]) -> None:
        self._thresholds = config.thresholds(bundle.thresholds)
        self._dense = config.dense_thresholds(bundle)
        self._scale = config.scale
        self._stages = stages

    def judge(self, batch: Batch, scores: Scores) -> tuple[Judged, tuple[Judgement, ...]]:
        """Make one row for each item of a batch, and one judgement for each of its photos."""
        batch = batch.at_scale(self._scale.mm_per_px)
        judgements = judge(
            scores, batch.photos, self._thresholds, self._stages, self._dense, self._scale
        )
        own = iter(judgements)  # the k-th photo has the k-th judgement
        rows = [
            make_row(item, next(own) if isinstance(item, Photo) else None) for item in batch.items
        ]
        tally = Tally()
        tally.count(batch, judgements, self._scale)
        return Judged(to_table(rows, {}), tally), judgements


def start_loader(
    config: ScanConfig, bundle: ModelBundle, plan: Plan, refs: Iterable[ImageRef]
) -> Generator[Batch]:
    """Start what decodes. Raises LoaderError."""
    return load_batches(
        refs,
        bundle.preprocess,
        batch_size=plan.batch_size,
        workers=plan.workers,
        views=choose_views(config.view, bundle),
        dataloader=plan.loader == TORCH,
        limits=config.limits,
    )


def start_engine(
    config: ScanConfig,
    bundle: ModelBundle,
    backend: str,
    precision: str,
    threads: int | None = None,
    *,
    opened: dict[str, Backend] | None = None,
) -> PhotoEngine:
    """Open an engine for the photos of a scan. Raises BackendError, BundleError."""
    return open_photo_engine(
        bundle,
        backend,
        views=choose_views(config.view, bundle),
        overlap=config.overlap,
        device=config.device,
        precision=precision,
        threads=threads,
        thresholds=config.thresholds(bundle.thresholds),
        dense_thresholds=config.dense_thresholds(bundle),
        opened=opened,
    )


def close_all(engines: dict[str, Backend]) -> None:
    """Close engines, and forget them."""
    while engines:
        engines.popitem()[1].close()


def share_deferred(
    config: ScanConfig, bundle: ModelBundle, waiting: Sequence[ImageRef], engine: Backend
) -> float | None:
    """The share of the photos which a narrow network, `engine`, would leave to the model: of those
    that are judged whole, by a sample of those that wait; where most are judged at their own scale,
    as its gate saw it. None where few wait, or far away. Raises LoaderError, BackendError."""
    views = choose_views(config.view, bundle)
    screening = screening_variant(bundle, NARROW, config.dense_thresholds(bundle))
    if screening and 2 * sum(is_native(ref, views) for ref in waiting) > len(waiting):
        return float(screening.parity.get(DEFERRED, 1.0))
    near = [ref for ref in waiting if not (is_far(ref.path) or is_native(ref, views))]
    if len(near) < WORTH_IT * SAMPLE:
        return None
    some = [near[k * len(near) // SAMPLE] for k in range(SAMPLE)]
    band = chain(bundle, NARROW, config.thresholds(bundle.thresholds))[NARROW]
    with closing(
        load_batches(
            some, bundle.preprocess, batch_size=SAMPLE, workers=1, views=views, limits=config.limits
        )
    ) as batches:
        whole = [batch.pixels_NHWC for batch in batches if len(batch.pixels_NHWC)]
    deferred = [band.contains(engine.run(pixels_NHWC)) for pixels_NHWC in whole]
    return float(np.concatenate(deferred).mean()) if deferred else None
