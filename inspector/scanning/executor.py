"""The place where the predictions of a scan are computed."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from inspector.engines.photo import open_photo_engine
from inspector.errors import LoaderError
from inspector.scanning.plan import TORCH
from inspector.types import Scores
from inspector.workers.loader import load_batches
from inspector.workers.ordered import make_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from inspector.engines import Backend
    from inspector.engines.photo import PhotoEngine
    from inspector.model.bundle import ModelBundle
    from inspector.model.preprocess import Views
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.plan import Plan
    from inspector.scanning.summary import Stopwatch
    from inspector.scanning.worklist import Worklist
    from inspector.types import Batch, ImageRef
    from inspector.workers.ordered import Turn

IN_FLIGHT = 2
"""Batches with the engine: one that it works on, one that waits; their pixels are in memory."""

_NO_SCORES = Scores(
    np.empty(0, np.float32), np.empty((0, 1, 1), np.float32), np.empty(0, np.float32)
)
"""Scores of a batch in which every file failed."""


class Executor(Protocol):
    """Computes the predictions of a scan, here or elsewhere."""

    notes: list[str]
    """What there is to know about where it was done."""

    @property
    def engine(self) -> Engine: ...

    @property
    def busy_seconds(self) -> float:
        """Seconds in which engines worked; they overlap with everything else."""
        ...

    def close(self) -> None:
        """End what computes them."""
        ...


class Warm:
    """A bundle and an engine that stay open from one scan to the next, for scans of one table. Use
    it as a context manager."""

    def __init__(self) -> None:
        self.bundle: ModelBundle | None = None
        self.engine: PhotoEngine | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.engine is not None:
            self.engine.close()


class Engine(Protocol):
    """What a scan says about the engine that judges, or about those elsewhere."""

    @property
    def name(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def providers(self) -> tuple[str, ...]: ...
    @property
    def stages(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


class LocalExecutor:
    """Predictions on this machine: batches come from loader processes, and the engine runs in a
    thread of its own, so that it never waits for rows to be made or written."""

    def __init__(
        self,
        batches: Generator[Batch],
        engine: PhotoEngine,
        clock: Stopwatch,
        stopped: Callable[[], bool] = lambda: False,
        *,
        stays_open: bool = False,
    ) -> None:
        """Takes over `batches` and, unless it `stays_open`, `engine`, and closes them.

        `clock` counts what the scan's own thread waits for photos (`load`) and for the engine
        (`engine`). Once `stopped`, no more batches are started; those with the engine come out.
        """
        self.engine = engine
        self.busy_seconds = 0.0
        self.notes: list[str] = []
        self._batches = batches
        self._clock = clock
        self._stopped = stopped
        self._stays_open = stays_open
        self._predictions: Generator[tuple[Batch, Scores]] | None = None

    def predictions(self) -> Generator[tuple[Batch, Scores]]:
        """Every batch with the scores of its photos, in the order of the listing, without the
        pixels of those at their own scale. Close the generator to end early; raises BackendError
        and LoaderError."""
        self._predictions = self._run()
        return self._predictions

    def _run(self) -> Generator[tuple[Batch, Scores]]:
        """Starts the engine's thread with the first batch that is asked for."""
        waiting = partial(self._clock.stage, "engine")
        yield from make_ahead(
            [_Judge(self)],
            self._until_stopped(),
            depth=IN_FLIGHT,
            name="inspector-engine",
            waiting=waiting,
        )

    def close(self) -> None:
        with nullcontext() if self._stays_open else closing(self.engine), closing(self._batches):
            if self._predictions is not None:
                self._predictions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _until_stopped(self) -> Iterator[Batch]:
        try:
            for batch in self._clock.timed("load", self._batches):
                yield batch
                if self._stopped():
                    return
        except LoaderError:
            # A signal to the whole process group ends the workers as well.
            if not self._stopped():
                raise


class _Judge:
    """The work of the engine's thread."""

    def __init__(self, local: LocalExecutor) -> None:
        self._local = local

    def make(self, batch: Batch, turn: Turn) -> Iterator[tuple[Batch, Scores]]:
        scores = _NO_SCORES
        if len(batch.pixels_NHWC) or batch.native:
            started = time.perf_counter()
            scores = self._local.engine.run(batch)
            self._local.busy_seconds += time.perf_counter() - started
        if batch.native:
            batch = replace(batch, native=())
        yield batch, scores

    def close(self) -> None:
        """Nothing: the executor closes the engine."""


def open_local(
    config: ScanConfig,
    bundle: ModelBundle,
    views: Views,
    plan: Plan,
    work: Worklist,
    clock: Stopwatch,
    opened: dict[str, Backend],
    warm: Warm | None = None,
) -> LocalExecutor:
    """Start the loader and open the engine, which those in `opened` are used for; the others are
    closed. An engine that is open in `warm` is used, or left open there. Raises BackendError,
    BundleError, LoaderError."""
    # Before the engine, so that worker processes come up while it loads.
    batches = start_loader(config, bundle, views, plan, work)
    with ExitStack() as on_error:
        on_error.callback(batches.close)
        open_already = None if warm is None else warm.engine
        engine = open_already or start_engine(config, bundle, views, plan, opened)
        on_error.pop_all()
    close_all(opened)
    if warm is not None:
        warm.engine = engine
    return LocalExecutor(batches, engine, clock, lambda: work.stopped, stays_open=warm is not None)


def start_loader(
    config: ScanConfig, bundle: ModelBundle, views: Views, plan: Plan, refs: Iterable[ImageRef]
) -> Generator[Batch]:
    """Start what decodes. Raises LoaderError."""
    return load_batches(
        refs,
        bundle.preprocess,
        batch_size=plan.batch_size,
        workers=plan.workers,
        views=views,
        dataloader=plan.loader == TORCH,
        limits=config.limits,
    )


def start_engine(
    config: ScanConfig,
    bundle: ModelBundle,
    views: Views,
    plan: Plan,
    opened: dict[str, Backend] | None = None,
) -> PhotoEngine:
    """Open the engine of a plan. Raises BackendError, BundleError."""
    return open_photo_engine(
        bundle,
        plan.backend,
        views=views,
        overlap=config.overlap,
        device=config.device,
        precision=plan.precision,
        threads=plan.threads,
        thresholds=config.thresholds(bundle.thresholds),
        dense_thresholds=config.dense_thresholds(bundle),
        opened=opened,
    )


def close_all(engines: dict[str, Backend]) -> None:
    """Close engines, and forget them."""
    while engines:
        engines.popitem()[1].close()
