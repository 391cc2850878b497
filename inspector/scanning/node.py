"""The part of a scan on one node of a cluster: a whole pipeline that is fed with references and
answers with rows.

Its class is all that runs there; `inspector.scanning.cluster` is the other end.
"""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from inspector.errors import InspectorError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.photos.address import shown
from inspector.photos.reading import read
from inspector.scanning.executor import IN_FLIGHT, EngineThread, Judge, start_engine, start_loader
from inspector.scanning.identity import identity_of
from inspector.scanning.plan import make_plan
from inspector.scanning.stopwatch import Stopwatch
from inspector.types import Failure
from inspector.version import __version__
from inspector.workers.loader import PREFETCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from inspector.photos.opened import DecodeLimits
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.executor import Judged
    from inspector.scanning.plan import EngineChoice, Plan
    from inspector.types import ImageRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A scan, as it is told to every node: with one engine and precision for all of them."""

    config: ScanConfig
    choice: EngineChoice
    identity: Mapping[str, str]
    """What decides the rows, by the bundle of where the scan was started."""
    first: tuple[ImageRef, ...]
    """Photos by whose sizes a node plans."""
    probe: ImageRef | None
    """A photo that can be read where they were listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A node that can do its part of the scan, and how; `Engine` in what it says of that."""

    plan: Plan
    depth: int
    """Photos that are under way there at a time."""
    name: str
    device: str
    providers: tuple[str, ...]
    stages: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What was made of the photos that a node was fed with and had not answered for, in order."""

    judged: list[Judged]
    busy_seconds: float
    """Seconds in which the node's engine has worked so far."""


class Node:
    """A pipeline in a process of its own. What goes wrong with it comes as a text, not as an
    exception, which a cluster would wrap into its own."""

    def __init__(self) -> None:
        self._fed: SimpleQueue[list[ImageRef]] = SimpleQueue()
        self._made: SimpleQueue[Judged | str] = SimpleQueue()
        self._folder: TemporaryDirectory[str] | None = None

    def start(
        self,
        version: str,
        cores: int,
        device: str,
        fetch_task: Callable[[], Task],
        fetch_bundle: Callable[[], Mapping[str, bytes]],
    ) -> Ready | str:
        """Start, with so many cores, on `device`; return what speaks against it, if anything."""
        if version != __version__:
            return f"it has version {__version__} of crack-inspector, not {version}"
        try:
            task = fetch_task()
            self._config = config = replace(task.config, device=device)
            if task.probe is not None and not read_here(task.probe, config.limits):
                return (
                    f"{shown(task.probe.path)} cannot be read there, but where the scan was "
                    "started: see that the photos are there at the same path, and may be read"
                )
            choice = replace(task.choice, on_gpu=device.startswith("cuda"))
            self._bundle = bundle = self._find_bundle(config, task, fetch_bundle)
            self._plan = plan = make_plan(config, bundle, choice, task.first, cores=cores)
            engine = start_engine(config, bundle, plan.backend, plan.precision, plan.threads)
        except InspectorError as error:
            return str(error)
        self._engine, self._judge = EngineThread(engine), Judge(config, bundle, engine.stages)
        threading.Thread(target=self._serve, name="inspector-node", daemon=True).start()
        return Ready(
            plan=plan,
            depth=plan.batch_size * (plan.workers * PREFETCH + 1 + IN_FLIGHT),
            name=engine.name,
            device=engine.device,
            providers=engine.providers,
            stages=engine.stages,
            notes=engine.notes,
        )

    def _find_bundle(
        self, config: ScanConfig, task: Task, fetch_bundle: Callable[[], Mapping[str, bytes]]
    ) -> ModelBundle:
        """The same bundle where it lies here as well, else what was shipped."""
        with suppress(InspectorError):
            bundle = ModelBundle.load(config.model or DEFAULT_PATH, trust=config.trust)
            if identity_of(config, bundle, task.choice.precision) == task.identity:
                return bundle
        self._folder = TemporaryDirectory(prefix="inspector-")
        for name, content in fetch_bundle().items():
            Path(self._folder.name, name).write_bytes(content)
        return ModelBundle.load(self._folder.name, trust=config.trust)

    def close(self) -> None:
        """Leave nothing behind; the process is ended by others."""
        if self._folder is not None:
            self._folder.cleanup()

    def feed(self, refs: list[ImageRef]) -> None:
        """Take photos to be judged."""
        self._fed.put(refs)

    def take(self) -> Answer | str:
        """Wait for rows; all that are there. Returns what has gone wrong after those before it."""
        judged: list[Judged] = []
        made: Judged | str = self._made.get()
        while not isinstance(made, str):
            judged.append(made)
            if self._made.empty():
                return Answer(judged, self._engine.busy_seconds)
            made = self._made.get()
        if judged:
            self._made.put(made)
            return Answer(judged, self._engine.busy_seconds)
        return made

    def _serve(self) -> None:
        try:
            while True:
                self._judge_stream(self._fed.get())
        except Exception as error:
            self._made.put(str(error) if isinstance(error, InspectorError) else repr(error))

    def _judge_stream(self, refs: list[ImageRef]) -> None:
        """Judge these and all that come before the pipeline has taken the last of them."""
        batches = start_loader(self._config, self._bundle, self._plan, self._waiting(refs))
        predictions = self._engine.predictions(batches, Stopwatch())
        with closing(batches), closing(predictions):
            for batch, scores in predictions:
                self._made.put(self._judge.judge(batch, scores)[0])

    def _waiting(self, refs: list[ImageRef]) -> Iterator[ImageRef]:
        while True:
            yield from refs
            try:
                refs = self._fed.get_nowait()
            except Empty:
                return


def read_here(ref: ImageRef, limits: DecodeLimits) -> bool:
    """Whether a photo can be read on this machine."""
    found = read(ref, limits)
    if isinstance(found, Failure):
        return False
    with found:
        return True
