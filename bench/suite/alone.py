"""Engines alone: their cases, and how one turn of each is measured."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.stats import percentile
from bench.suite.answers import Furthest, check, figures
from bench.suite.engines import KINDS, EngineSpec, missing
from bench.suite.programs import run_program
from bench.suite.worker import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.checks import Outcome
    from bench.suite.config import BenchConfig
    from bench.suite.programs import Ended
    from bench.suite.setup import Bench
    from inspector.types import JsonObject

PIXELS = "pixels"
PERCENTS = (50, 90, 95, 99)
_STARTS = ("import_s", "open_s", "first_run_s")


@dataclass(slots=True)
class EngineCase:
    """One engine at all batch sizes; lists have one entry per round."""

    spec: EngineSpec
    batch_sizes: tuple[int, ...]
    furthest: Furthest
    status: str = "ok"
    reason: str = ""
    runs_ms: dict[int, list[list[float]]] = field(default_factory=dict)
    """By batch size, milliseconds of each round's counted runs."""
    starts: list[JsonObject] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    outcome: Outcome | None = None

    @property
    def open(self) -> bool:
        return self.status == "ok"

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
        """At the fastest batch size; empty where nothing was measured."""
        return max(self.measured, key=median, default=[])


def engine_cases(config: BenchConfig, bench: Bench, specs: list[EngineSpec]) -> list[EngineCase]:
    """Every engine asked for; what this machine cannot run says why."""
    sizes = config.batch_sizes or config.effort.batch_sizes
    cases = []
    for spec in specs:
        case = EngineCase(spec, tuple(sorted(set(sizes))), Furthest(bench.pool.expected))
        if reason := missing(spec, slow=config.slow):
            case.status, case.reason = "unavailable", reason
        cases.append(case)
    return cases


def measure_engine(case: EngineCase, bench: Bench, number: int, turn_s: float) -> None:
    """One turn in a process of its own, and the check of everything it has answered so far."""
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
    ended = run_program(["bench.suite.worker", json.dumps(asdict(task))], bench)
    if ended.trouble:
        # Before its first answer it is an engine that this machine does not have.
        case.status = "failed" if case.starts or not ended.refused else "unavailable"
        case.reason = ended.trouble
        return
    said = ended.said
    case.ended.append(ended)
    case.starts.append({key: said[key] for key in (*_STARTS, "device", "stages", "notes")})
    for size, times in said["runs_ms"].items():
        case.runs_ms.setdefault(int(size), []).append(times)
    case.furthest.merge(said["answers"])
    case.outcome = check(case.furthest, bench.pool, bench.bundle.thresholds, case.spec.rule)
    if case.outcome.trouble:
        case.status, case.reason = "failed", case.outcome.trouble


def engine_results(case: EngineCase, bench: Bench) -> Iterator[JsonObject]:
    """The case as it stands in results.json: one entry per batch size, or one with the reason why
    there is none."""
    sizes: list[int | None] = [*sorted(case.runs_ms)] or [None]
    for size in sizes:
        runs_ms = case.runs_ms[size] if size else []
        rates = case.rates(size) if size else []
        times = [ms for of_round in runs_ms for ms in of_round]
        yield {
            "id": "/".join(["engine", case.spec.name, *([str(size)] if size else [])]),
            "level": "engine",
            "name": case.spec.name,
            "input": PIXELS,
            "batch_size": size,
            "workers": None,
            "device": case.starts[0]["device"] if case.starts else case.spec.device,
            "engine": case.spec.engine,
            "precision": case.spec.precision,
            "stages": case.starts[0]["stages"] if case.starts else [],
            "status": case.status,
            "reason": case.reason,
            "about": KINDS[case.spec.engine].about,
            "rates": rates,
            "runs_ms": runs_ms,
            "latency_ms": _latency(times) if times else None,
            "start_up": {key: median(s[key] for s in case.starts) for key in _STARTS}
            if case.starts
            else {},
            "stage_seconds": {},
            "usage": _usage(case.ended),
            "answers": _answers(case, bench),
        }


def _latency(times_ms: list[float]) -> JsonObject:
    return {f"p{p}": percentile(times_ms, p) for p in PERCENTS} | {"runs": len(times_ms)}


def _usage(ended: list[Ended]) -> JsonObject:
    """Memory of the whole process; its processor time includes the start and says little."""
    return {
        "cpu_percent": None,
        "peak_mib": max((e.peak_mib for e in ended if e.peak_mib), default=None),
        "gpu_percent": None,
        "gpu_mib": max((e.gpu_mib for e in ended if e.gpu_mib), default=None),
    }


def _answers(case: EngineCase, bench: Bench) -> JsonObject | None:
    right_N = bench.pool.expected.p_crack_N
    found = {str(k): p for k, p in case.furthest.p_crack.items()}
    return figures(
        case.outcome, bench.truth, found, {str(k): float(p) for k, p in enumerate(right_N)}
    )
