"""The executor of a scan on the nodes of a Ray cluster.

One actor for each node runs a whole pipeline (`inspector.scanning.node`); this process lists, hands
out references, and takes the rows that come back. What a node was fed with and has not answered for
is known here, in order, so photos whose node dies go to another one, and no answer counts twice.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.engines import Device
from inspector.errors import BackendError
from inspector.model.bundle import BUNDLE_JSON
from inspector.photos.address import shown
from inspector.results.opening import recorded_facts
from inspector.results.schema import judged_now, make_row, to_table
from inspector.scanning.executor import Judged
from inspector.scanning.identity import identity_of
from inspector.scanning.node import Answer, Node, Ready, Task, read_here
from inspector.scanning.plan import PEEK, choose_engine
from inspector.scanning.summary import Tally
from inspector.types import Batch, Failure, FailureCode
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from inspector.model.bundle import ModelBundle
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.overlays import Overlays
    from inspector.scanning.plan import EngineChoice, Plan
    from inspector.scanning.stopwatch import Stopwatch
    from inspector.scanning.worklist import Worklist
    from inspector.types import ImageRef

AHEAD_S = 4.0
"""Seconds of its own work that a node is fed with beyond what is under way in its pipeline: what
the end of a scan waits for the slowest node, and what the death of one costs."""
MOST_FED = 512
"""Photos in one message."""
MOST_TRIES = 2
"""Workers that a photo may end when they have no other, as with decoders on one machine."""
MOST_DEATHS = 20
"""Deaths of workers on one node with no answer between them: enough to find one photo of many."""
MOST_STARTS = 3
POLL_S = 0.5
LOOK_S = 2.0
"""Between two looks at which nodes there are."""
START_S = 120.0
"""For a worker to come up, and for a node to come back where none is left."""
_ELSEWHERE = (FailureCode.VANISHED, FailureCode.PERMISSION)
"""What a node says of all photos where it has no mount of them, or no right to."""


@dataclass(slots=True)
class Suspects:
    """Photos one of which may end the worker that has them; one gets them without any others."""

    refs: list[ImageRef]
    tries: int = 0


@dataclass(slots=True, eq=False)
class Worker:
    """A node's worker, seen from here."""

    node: str
    name: str
    actor: Any
    since: float
    """When it was started; once it is ready, when it was that."""
    ready: Ready | None = None
    fed: deque[ImageRef] = field(default_factory=deque)
    """What it has not answered for, in order."""
    suspects: Suspects | None = None
    """What it has, if nobody knows what that does to it."""
    answered: int = 0
    busy_seconds: float = 0.0

    @property
    def wants(self) -> int:
        """Photos to feed it with now, a batch or more."""
        if self.ready is None or self.suspects is not None:
            return 0
        rate = self.answered / max(time.monotonic() - self.since, 1.0)
        count = self.ready.depth + int(rate * AHEAD_S) - len(self.fed)
        return min(count, MOST_FED) if count >= self.ready.plan.batch_size else 0


class ClusterExecutor:
    """Rows that the nodes of a cluster make, in the order in which they come back. Members mean
    what they do in `LocalExecutor`."""

    def __init__(
        self, ray: Any, config: ScanConfig, bundle: ModelBundle, work: Worklist, clock: Stopwatch
    ) -> None:
        """`ray` is the library, connected."""
        self.engine: Ready
        self.notes: list[str] = []
        self.nodes = 0
        self._choice: EngineChoice
        self._ray = ray
        self._config = config
        self._bundle = bundle
        self._work = work
        self._clock = clock
        self._more = True
        self._workers: dict[Any, Worker] = {}
        """By the answer that each will give next."""
        self._out: set[str] = set()
        """Nodes that are given no photos."""
        self._deaths: dict[str, int] = {}
        """Deaths of workers by node, since its last answer."""
        self._returned: deque[ImageRef] = deque()
        self._suspects: deque[Suspects] = deque()
        self._fetches: list[Any] = []
        """How nodes get the scan and its model."""
        self._gone_seconds = 0.0
        self._looked = -LOOK_S
        self._worked = time.monotonic()

    @property
    def busy_seconds(self) -> float:
        return self._gone_seconds + sum(each.busy_seconds for each in self._workers.values())

    def choose_engine(self) -> str:
        """Choose it for all nodes."""
        config = self._config
        recorded = recorded_facts(config.out, overwrite=config.overwrite)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus = any(has.get("GPU") for has in nodes)
        self._choice = choose_engine(config, self._bundle, recorded, gpus_elsewhere=gpus)
        return self._choice.precision

    def start(self) -> Plan:
        """Wait for the first node, and return how it works; the others join as they come up. Raises
        BackendError where none does, KeyboardInterrupt at a signal."""
        config, bundle, choice = self._config, self._bundle, self._choice
        first = tuple(map(_addressed, self._work.first(PEEK)))
        task = Task(
            config=config,
            choice=choice,
            identity=identity_of(config, bundle, choice.precision),
            first=first,
            probe=next((ref for ref in first[:1] if read_here(ref, config.limits)), None),
        )
        names = (BUNDLE_JSON, *bundle.files)
        files = {name: bundle.file(name).read_bytes() for name in names}
        self._fetches = [partial(self._ray.get, self._ray.put(each)) for each in (task, files)]
        while not self.nodes:
            if self._work.stopped:
                raise KeyboardInterrupt
            self._look_for_nodes()
            self._hear()
        self.engine = next(each.ready for each in self._workers.values() if each.ready)
        return self.engine.plan

    def judged(self, overlays: Overlays) -> Generator[Judged]:
        """Draws none. Raises BackendError when no node is left."""
        while not self._work.stopped:
            with self._clock.stage("engine"):
                self._look_for_nodes()
                for worker in self._workers.values():
                    self._feed(worker)
                fed = any(worker.fed for worker in self._workers.values())
                if not (self._more or fed or self._returned or self._suspects):
                    return
                heard = self._hear()
            for judged in heard:  # what is compared with when the scan began has its clock
                yield replace(judged, rows=judged_now(judged.rows))

    def close(self) -> None:
        """End the workers of all nodes."""
        workers = list(self._workers.values())
        ending = [each.actor.close.remote() for each in workers if each.ready]
        if ending:
            self._ray.wait(ending, num_returns=len(ending), timeout=POLL_S)
        for worker in workers:
            self._ray.kill(worker.actor)
        self._workers.clear()

    def _look_for_nodes(self) -> None:
        """Start a worker on each node that has none. Raises BackendError where none can work."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        has = self._out.union(worker.node for worker in self._workers.values())
        for node in self._ray.nodes():
            if node["Alive"] and node["NodeID"] not in has and node["Resources"].get("CPU", 0) >= 1:
                self._start_worker(node)
        for asked, worker in list(self._workers.items()):
            if worker.ready is None and now - worker.since > START_S:
                del self._workers[asked]
                self._leave_out(worker, f"not up after {START_S:.0f} s; do others use it?")
        if self._workers:
            self._worked = now
        elif self._out or now - self._worked > START_S:
            why = "; ".join(self.notes) or "there is none"
            raise BackendError(
                f"no node of the cluster can go on: {why}; when that is put right, the same "
                "command continues"
            )

    def _start_worker(self, node: Mapping[str, Any]) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        number, has = node["NodeID"], node["Resources"]
        cores, gpus = int(has["CPU"]), int(has.get("GPU", 0))
        device = _device_on(gpus, self._config, self._choice)
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        where = NodeAffinitySchedulingStrategy(number, soft=False)
        actor = self._ray.remote(Node).options(
            num_cpus=cores,
            num_gpus=gpus if device.startswith("cuda") else 0,
            max_restarts=0,
            max_concurrency=3,
            scheduling_strategy=where,
        )
        if not device:
            self._out.add(number)
            self.notes.append(
                f"node {name} was left out: it has no GPU; --precision fp32 lets CPUs and GPUs work"
            )
            return
        worker = Worker(number, name, actor.remote(), time.monotonic())
        asked = worker.actor.start.remote(__version__, cores, device, *self._fetches)
        self._workers[asked] = worker

    def _feed(self, worker: Worker) -> None:
        if refs := self._next(worker.wants):
            self._send(worker, refs)
        elif worker.ready and not worker.fed and self._suspects:
            worker.suspects = self._suspects.popleft()
            self._send(worker, worker.suspects.refs)

    def _next(self, count: int) -> list[ImageRef]:
        refs = [self._returned.popleft() for _ in range(min(count, len(self._returned)))]
        refs += islice(self._work, count - len(refs)) if self._more else ()
        self._more = self._more and len(refs) == count
        return refs

    def _send(self, worker: Worker, refs: Iterable[ImageRef]) -> None:
        worker.fed.extend(refs)
        worker.actor.feed.remote(list(map(_addressed, refs)))

    def _hear(self) -> list[Judged]:
        """Wait a little for what workers say, and act on it."""
        hungry = self._more and any(worker.wants for worker in self._workers.values())
        if not self._workers:
            time.sleep(POLL_S)
            return []
        asked = list(self._workers)
        said, _ = self._ray.wait(asked, num_returns=1, timeout=0 if hungry else POLL_S)
        return [judged for each in said for judged in self._act(each)]

    def _act(self, asked: Any) -> list[Judged]:
        from ray.exceptions import RayError, RayTaskError

        judged: list[Judged] = []
        worker = self._workers.pop(asked)
        try:
            said: Ready | Answer | str = self._ray.get(asked)
        except RayTaskError as error:
            said = _last_line(error)
        except RayError as error:
            return self._bury(worker, error)
        if isinstance(said, Answer):
            judged, said = self._taken(worker, said)
        if isinstance(said, Ready):
            worker.ready, worker.since = said, time.monotonic()
        if isinstance(said, str) and said:
            self._leave_out(worker, said)
        else:
            self._workers[worker.actor.take.remote()] = worker
        self.nodes = sum(each.ready is not None for each in self._workers.values())
        return judged

    def _taken(self, worker: Worker, answer: Answer) -> tuple[list[Judged], str]:
        """The rows of an answer, and what speaks against those that follow them."""
        for place, judged in enumerate(answer.judged):
            refs = list(islice(worker.fed, len(judged.rows)))
            uris, codes = (judged.rows[name].to_pylist() for name in ("uri", "failure_code"))
            assert uris == [ref.uri for ref in refs], f"{worker.name} answered for other photos"
            for ref, code in zip(refs, codes, strict=True):
                if code in _ELSEWHERE and read_here(ref, self._config.limits):
                    why = f"{shown(ref.path)} is out of reach there ({code}), but not from here"
                    return answer.judged[:place], f"{why}; see that it is mounted, with the rights"
            for _ in refs:
                worker.fed.popleft()
            worker.answered += len(refs)
        worker.busy_seconds = answer.busy_seconds
        self._deaths.pop(worker.node, None)
        if not worker.fed:
            worker.suspects = None
        return answer.judged, ""

    def _leave_out(self, worker: Worker, why: str) -> None:
        self._out.add(worker.node)
        self.notes.append(f"node {worker.name} was left out: {why}")
        self._end(worker)
        self._give_back(worker)

    def _end(self, worker: Worker) -> None:
        self._gone_seconds += worker.busy_seconds
        self._ray.kill(worker.actor)

    def _give_back(self, worker: Worker) -> None:
        """Let others have what it has not answered for."""
        if worker.suspects is not None:
            self._suspects.append(Suspects(list(worker.fed), worker.suspects.tries))
        else:
            self._returned.extendleft(reversed(worker.fed))

    def _bury(self, worker: Worker, error: Exception) -> list[Judged]:
        """Give what a dead worker has not answered for to others: if its node is there, as suspects
        that get a worker for themselves, halved each time it dies, until one photo is found."""
        from ray.exceptions import ActorUnavailableError

        self._end(worker)
        self.nodes = sum(each.ready is not None for each in self._workers.values())
        deaths = self._deaths[worker.node] = self._deaths.get(worker.node, 0) + 1
        if deaths >= (MOST_STARTS if worker.ready is None else MOST_DEATHS):
            self._out.add(worker.node)
            why = _last_line(error)
            self.notes.append(f"node {worker.name} was left out: its worker dies ({why})")
        refs, middle = list(worker.fed), len(worker.fed) // 2
        tries = worker.suspects.tries + 1 if worker.suspects else 1
        if isinstance(error, ActorUnavailableError) or "node has died" in str(error) or not refs:
            self._give_back(worker)
        elif middle:
            self._suspects.extend((Suspects(refs[:middle]), Suspects(refs[middle:])))
        elif tries < MOST_TRIES:
            self._suspects.append(Suspects(refs, tries))
        else:
            return [_quarantined(refs[0])]
        return []


def _addressed(ref: ImageRef) -> ImageRef:
    """By an address that holds on other machines, whatever the current directory."""
    return replace(ref, path=ref.uri)


def _device_on(gpus: int, config: ScanConfig, choice: EngineChoice) -> str:
    """The device of a node with so many GPUs; empty where it cannot take part."""
    wanted = Device.parse(config.device).kind
    cuda = "cuda:all" if gpus > 1 else "cuda" if gpus else ""
    if wanted == "cuda" or (wanted == "auto" and choice.on_gpu and choice.precision != "fp32"):
        return cuda
    return cuda or "cpu" if wanted == "auto" and choice.on_gpu else "cpu"


def _quarantined(ref: ImageRef) -> Judged:
    detail = "the worker of a cluster's node that had it ended, twice"
    failure, tally = Failure(ref, FailureCode.DECODER_CRASH, detail), Tally()
    tally.count(Batch((failure,), np.empty((0, 1, 1, 3), np.uint8), 0.0), ())
    return Judged(to_table([make_row(failure, None)], {}), tally)


def _last_line(error: Exception) -> str:
    said = str(error).strip().splitlines() or [type(error).__name__]
    if any("No module named 'inspector'" in line for line in said):
        return "crack-inspector is not installed there"
    return said[-1].strip()
