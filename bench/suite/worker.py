"""`python -m bench.suite.worker TASK`: one engine alone, on decoded images in memory, in a process
of its own. Prints its times and what it answered as JSON."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.suite.answers import Furthest
from bench.suite.engines import EngineSpec, load, open_spec
from bench.suite.pixels import read_pool
from bench.suite.programs import REFUSED
from inspector.errors import InspectorError
from inspector.model.bundle import ModelBundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.types import JsonObject

LEAST_RUNS = 2
LONGEST_RUN_S = 2.0
"""A batch size at which one run would take longer, or 4 times as long as its whole turn should, is
left out: it would eat the others' time."""
_WARM_UP = 1


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


def main() -> None:
    """Exit code 2: the engine cannot run on this machine."""
    task = Task(**json.loads(sys.argv[1]))
    spec = EngineSpec(**task.spec)
    load(spec)
    imported = time.time()
    pool = read_pool(Path(task.pool))
    bundle = ModelBundle.load(Path(task.bundle), verify=False, trust=task.trusted)
    with ExitStack() as stack:
        opening = time.perf_counter()
        try:
            engine = open_spec(bundle, spec)
            stack.callback(engine.close)
            opened = time.perf_counter()
            engine.run(pool.pixels_NHWC[:_WARM_UP])
        except InspectorError as error:
            print(error, file=sys.stderr)
            sys.exit(REFUSED)
        answered = time.perf_counter()
        furthest = Furthest(pool.expected)
        runs_ms = _measure(engine, pool.pixels_NHWC, task, furthest)
        said = {
            "import_s": imported - task.started_at,
            "open_s": opened - opening,
            "first_run_s": answered - opened,
            "runs_ms": runs_ms,
            "device": engine.device,
            "providers": engine.providers,
            "stages": engine.stages,
            "notes": engine.notes,
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
        counted = False
        while not counted or len(times) < LEAST_RUNS or sum(times) < 1e3 * task.turn_s:
            places = [(place + k) % len(pixels_NHWC) for k in range(size)]
            place += size
            batch_NHWC = pixels_NHWC[places]
            started = time.perf_counter()
            scores = engine.run(batch_NHWC)
            spent = time.perf_counter() - started
            furthest.add(places, scores)
            if counted:
                times.append(1e3 * spent)
            counted, image_s = True, spent / size
        runs_ms[str(size)] = times
    return runs_ms


if __name__ == "__main__":
    main()
