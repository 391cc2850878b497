"""Engines alone, on decoded images in memory: their cases, and one turn of each in a process of its
own, `python -m bench.alone TASK`."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.answers import Furthest, Pool, check, with_truth
from bench.engines import KINDS, EngineSpec, missing, open_spec
from bench.processes import REFUSED, Ended, run_program, usage_of
from bench.results import ENGINE, FAILED, OK, UNAVAILABLE, Case, Compared
from inspector.errors import InspectorError
from inspector.model.bundle import ModelBundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from bench.config import BenchConfig
    from bench.prepare import Bench
    from inspector.engines import Backend
    from inspector.types import JsonObject

PIXELS = "pixels"
LEAST_RUNS = 2
LONGEST_RUN_S = 2.0
"""A batch size at which one run would take longer, or 4 times as long as its whole turn should, is
left out: it would eat the others' time."""
_STARTS = ("import_s", "open_s", "first_run_s")


@dataclass(slots=True)
class EngineCase:
    """One engine at all batch sizes; lists have one entry per round."""

    spec: EngineSpec
    batch_sizes: tuple[int, ...]
    furthest: Furthest
    status: str = OK
    reason: str = ""
    runs_ms: dict[int, list[list[float]]] = field(default_factory=dict)
    """Milliseconds of each round's counted runs, by batch size."""
    ended: list[Ended] = field(default_factory=list)
    outcome: Compared | None = None

    @property
    def id(self) -> str:
        return self.spec.name

    @property
    def open(self) -> bool:
        return self.status == OK

    @property
    def usual(self) -> bool:
        return self.spec.usual

    @property
    def measured(self) -> list[list[float]]:
        return [self.rates(size) for size in self.runs_ms]

    def rates(self, size: int) -> list[float]:
        """Images per second of each round."""
        return [1e3 * size * len(times) / sum(times) for times in self.runs_ms[size]]

    def best_rates(self) -> list[float]:
        """Rates at the fastest batch size; empty where nothing was measured."""
        return max(self.measured, key=median, default=[])


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One turn of an engine, handed over as JSON."""

    bundle: str
    trusted: bool
    """The bundle was made for this run, its TorchScript too."""
    pool: str
    spec: dict[str, Any]
    batch_sizes: tuple[int, ...]
    """In the order in which they are measured."""
    turn_s: float
    first: int
    """Number of the image that the turn begins with: turns see different ones."""
    started_at: float
    """time.time, when the process was asked for."""


def engine_cases(config: BenchConfig, bench: Bench, specs: list[EngineSpec]) -> list[EngineCase]:
    """Every engine asked for; what this machine cannot run says why."""
    sizes = config.batch_sizes or config.effort.batch_sizes
    cases = []
    for spec in specs:
        case = EngineCase(spec, tuple(sorted(set(sizes))), Furthest(bench.pool.expected))
        if reason := missing(spec, slow=config.slow):
            case.status, case.reason = UNAVAILABLE, reason
        cases.append(case)
    return cases


def measure_engine(case: EngineCase, bench: Bench, number: int, turn_s: float) -> None:
    """Take one turn in a process of its own, and check everything it has answered so far."""
    task = Task(
        bundle=str(bench.engines_bundle.path),
        trusted=bench.engines_bundle.trusted,
        pool=str(bench.pool_file),
        spec=asdict(case.spec),
        batch_sizes=case.batch_sizes,
        turn_s=turn_s,
        first=number * len(bench.pool.pixels_NHWC) // 3,
        started_at=time.time(),
    )
    words = ["bench.alone", json.dumps(asdict(task))]
    ended = run_program(words, bench.work, gpu=bench.on_gpu)
    if ended.trouble:
        # Before its first answer it is an engine that this machine does not have.
        case.status = FAILED if case.ended or not ended.refused else UNAVAILABLE
        case.reason = ended.trouble
        return
    said = ended.said
    case.ended.append(ended)
    for size, times in said["runs_ms"].items():
        case.runs_ms.setdefault(int(size), []).append(times)
    case.furthest.merge(said["answers"])
    mistakes, thresholds = bench.pool.mistakes, bench.bundle.thresholds
    case.outcome = check(case.furthest, mistakes, thresholds, case.spec.rule)
    if case.outcome.trouble:
        case.status, case.reason = FAILED, case.outcome.trouble


def engine_results(case: EngineCase, bench: Bench) -> Iterator[Case]:
    """One entry of the results per batch size, or one with the reason why there is none."""
    right_N = bench.pool.expected.p_crack_N
    found, right = case.furthest.p_crack, {str(k): float(p) for k, p in enumerate(right_N)}
    starts = [ended.said for ended in case.ended]
    sizes: list[int | None] = [*sorted(case.runs_ms)] or [None]
    for size in sizes:
        yield Case(
            id="/".join([ENGINE, case.spec.name, *([str(size)] if size else [])]),
            level=ENGINE,
            name=case.spec.name,
            input=PIXELS,
            engine=case.spec.engine,
            precision=case.spec.precision,
            device=starts[0]["device"] if starts else case.spec.device,
            batch_size=size,
            status=case.status,
            reason=case.reason,
            about=KINDS[case.spec.engine].about,
            rates=case.rates(size) if size else [],
            runs_ms=case.runs_ms[size] if size else [],
            start_up={k: median(start[k] for start in starts) for k in _STARTS if starts},
            # Load of the whole process includes the start and would say little.
            usage=replace(usage_of(case.ended), cpu_percent=None, gpu_percent=None),
            answers=with_truth(case.outcome, bench.truth, found, right) if case.outcome else None,
        )


def main() -> None:
    """Print an engine's times and what it answered as JSON. Exit code 2: it cannot run on this
    machine."""
    task = Task(**json.loads(sys.argv[1]))
    spec = EngineSpec(**task.spec)
    import_module(KINDS[spec.engine].module)  # its cost is seen apart from that of opening it
    imported = time.time()
    pool = Pool.read(Path(task.pool))
    bundle = ModelBundle.load(Path(task.bundle), verify=False, trust=task.trusted)
    with ExitStack() as stack:
        opening = time.perf_counter()
        try:
            engine = open_spec(bundle, spec)
            stack.callback(engine.close)
            opened = time.perf_counter()
            engine.run(pool.pixels_NHWC[:1])
        except InspectorError as error:
            print(error, file=sys.stderr)
            sys.exit(REFUSED)
        answered = time.perf_counter()
        furthest = Furthest(pool.expected)
        said = {
            "import_s": imported - task.started_at,
            "open_s": opened - opening,
            "first_run_s": answered - opened,
            "runs_ms": _measure(engine, pool.pixels_NHWC, task, furthest),
            "device": engine.device,
            "answers": furthest.to_json(),
        }
    print(json.dumps(said))


def _measure(
    engine: Backend, pixels_NHWC: NDArray[np.uint8], task: Task, furthest: Furthest
) -> JsonObject:
    """Milliseconds of each counted run by batch size. A batch size begins with a run that is not
    counted, because engines plan a new one anew."""
    runs_ms: JsonObject = {}
    place, image_s = task.first, 0.0
    for size in task.batch_sizes:
        if image_s * size > max(LONGEST_RUN_S, 4 * task.turn_s):
            continue
        times: list[float] = []
        warm = False
        while not warm or len(times) < LEAST_RUNS or sum(times) < 1e3 * task.turn_s:
            places = [(place + k) % len(pixels_NHWC) for k in range(size)]
            place += size
            batch_NHWC = pixels_NHWC[places]
            started = time.perf_counter()
            scores = engine.run(batch_NHWC)
            spent = time.perf_counter() - started
            furthest.add(places, scores)
            if warm:
                times.append(1e3 * spent)
            warm, image_s = True, spent / size
        runs_ms[str(size)] = times
    return runs_ms


if __name__ == "__main__":
    main()
