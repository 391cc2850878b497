"""The suite from beginning to end: prepare, measure in rounds, check, compare, recommend."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.report import make_folder
from bench.suite.advice import advice_of, mark_best, recommend
from bench.suite.alone import EngineCase, engine_cases, engine_results, measure_engine
from bench.suite.ceilings import ask_limits
from bench.suite.contract import BENCHMARK, FORMAT
from bench.suite.engines import KINDS, EngineSpec, candidates
from bench.suite.method import METHOD
from bench.suite.noise import add_rates, whole_rates_apart
from bench.suite.paths import (
    PathCase,
    measure_path,
    path_result,
    peer_case,
    scan_case,
    variants,
    warm_up,
)
from bench.suite.rounds import repeat
from bench.suite.setup import Bench, prepare
from bench.suite.shares import add_shares, operations
from bench.system import describe_system
from inspector.backends.advice import keep_advice
from inspector.bundle import DEFAULT_PATH, ModelBundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.suite.config import BenchConfig
    from inspector.types import JsonObject

ENGINES_SHARE, PATHS_SHARE = 0.4, 0.75
"""Of the time that is left when a phase begins: engines alone, then whole paths; the rest goes to
the settings of the fastest scans."""
REFERENCE = "onnxruntime fp32"
_PEERS_COMPARED = ("afternoon", "timm")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When phases end, by time.perf_counter."""

    end: float

    def phase(self, share: float = 1.0) -> float:
        """The end of a phase that gets `share` of the time left."""
        now = time.perf_counter()
        return now + share * max(0.0, self.end - now)


def bench_and_remember(config: BenchConfig, *, remember: bool = True) -> JsonObject:
    """As `run_suite`; if `remember`, scans on this machine follow the recommendation of a run that
    compared all engines and found none wrong."""
    make_folder(config.out)
    results = run_suite(config)
    failed = any(case["status"] == "failed" for case in results["cases"])
    advice = advice_of(results["recommendation"])
    everything = config.backends is None and config.precisions is None
    if remember and everything and advice is not None and not failed:
        keep_advice(ModelBundle.load(config.model or DEFAULT_PATH, verify=False), advice)
    return results


def run_suite(config: BenchConfig) -> JsonObject:
    """Measure what was asked for; returns results.json. Raises an InspectorError when there is
    nothing to measure. What cannot run on this machine is listed with the reason."""
    began, started = datetime.now().astimezone(), time.perf_counter()
    schedule = Schedule(started + (config.budget_s or config.effort.budget_s))
    system = describe_system()
    with TemporaryDirectory(prefix="inspector-bench-") as folder:
        _say("making images, and judging them with the reference")
        bench = prepare(config, Path(folder))
        _say("measuring what this machine can do at most")
        limits = ask_limits(bench, config.effort.limits_s)
        engines = _engines(config, bench, schedule.phase(ENGINES_SHARE))
        paths = _paths(config, bench, engines, schedule.phase(PATHS_SHARE))
        paths += _settings(config, bench, paths, schedule.phase())
        cases = [result for case in engines for result in engine_results(case, bench)]
        cases += [path_result(case) for case in paths]
        facts = {job.input.name: job.input.facts() for job in bench.jobs}
    add_rates(cases)
    add_shares(cases, limits, operations(bench.bundle))
    mark_best(cases)
    _compare(cases)
    return {
        "format": FORMAT,
        "benchmark": BENCHMARK,
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - started, 1),
        "mode": config.mode,
        "method": list(METHOD),
        "settings": _plain(config),
        "system": system,
        "model": {
            "name": config.model.name if config.model else "default",
            "digest": bench.bundle.digest,
            "size": bench.bundle.preprocess.size,
        },
        "inputs": facts,
        "limits": limits,
        "cases": cases,
        "recommendation": recommend(cases, system, own_photos=config.source is not None),
    }


def _engines(config: BenchConfig, bench: Bench, deadline: float) -> list[EngineCase]:
    """Engines alone, in rounds."""
    specs = list(candidates(config.backends, config.precisions, config.device))
    cases = engine_cases(config, bench, specs)

    def measure(case: EngineCase, number: int) -> None:
        _say(f"engine alone, round {number + 1}: {case.spec.name}")
        measure_engine(case, bench, number, config.effort.turn_s)

    repeat(cases, measure, rounds=config.effort.rounds, deadline=deadline, seed=config.seed)
    return cases


def _paths(
    config: BenchConfig, bench: Bench, engines: Sequence[EngineCase], deadline: float
) -> list[PathCase]:
    """Scans with the fastest engines and, in fp32, the plainest; and the peers."""
    able = [case for case in engines if case.open and case.best_rates() and can_scan(case.spec)]
    able.sort(key=lambda case: -median(case.best_rates()))
    chosen = able[: config.effort.scans]
    chosen += [case for case in able[config.effort.scans :] if case.spec.name == REFERENCE]
    peers = config.effort.peers if config.peers is None else config.peers
    cases = [scan_case(job, case.spec) for job in bench.jobs for case in chosen]
    cases += [peer_case(job, name) for job in bench.jobs for name in peers]
    for case in cases:
        warm_up(case, bench)
    _measure_paths(config, bench, cases, deadline)
    return cases


def can_scan(spec: EngineSpec) -> bool:
    """Whether a scan may be advised to use the engine."""
    return KINDS[spec.engine].scans and spec.precision != "bf16"


def _settings(
    config: BenchConfig, bench: Bench, paths: Sequence[PathCase], deadline: float
) -> list[PathCase]:
    """The fastest scan of each input with other batch sizes and numbers of workers."""
    cases: list[PathCase] = []
    for job in bench.jobs:
        scans = [case for case in paths if case.job is job and case.spec and case.open]
        if scans:
            fastest = max(scans, key=lambda case: median(case.rates))
            sizes = config.batch_sizes or config.effort.scan_batch_sizes
            cases += variants(fastest, sizes, config.workers)
    _measure_paths(config, bench, cases, deadline)
    return cases


def _measure_paths(
    config: BenchConfig, bench: Bench, cases: Sequence[PathCase], deadline: float
) -> None:
    def measure(case: PathCase, number: int) -> None:
        _say(f"whole path, round {number + 1}: {case.id}")
        measure_path(case, bench, number)

    repeat(cases, measure, rounds=config.effort.rounds, deadline=deadline, seed=config.seed)


def _compare(cases: Sequence[JsonObject]) -> None:
    """Fill in `against`: engines against the plain one at the same batch size, whole paths against
    what one would use instead, with the start: a scan decodes ahead while its engine comes up."""
    right = {case["id"]: case for case in cases if _right(case)}
    for case in cases:
        case["against"] = {
            base: {key: of for key, of in whole_rates_apart(case, right[base]).items()
                   if key != "p_value"}
            for base in _bases(case)
            if base in right and case["id"] in right and base != case["id"]
        }  # fmt: skip


def _right(case: JsonObject) -> bool:
    return case["status"] == "ok" and bool(case["rates"])


def _bases(case: JsonObject) -> Iterator[str]:
    if case["level"] == "engine":
        yield f"engine/{REFERENCE}/{case['batch_size']}"
    else:
        yield from (f"peer/{name}/{case['input']}" for name in _PEERS_COMPARED)


def _plain(config: BenchConfig) -> JsonObject:
    """Settings for the report, without folders of this machine."""
    return {
        "images": "generated" if config.source is None else "a folder that was given",
        "backends": list(config.backends) if config.backends else "all",
        "precisions": list(config.precisions) if config.precisions else "all",
        "batch sizes": list(config.batch_sizes or config.effort.batch_sizes),
        "device": config.device,
        "budget, seconds": config.budget_s or config.effort.budget_s,
        "rounds at most": config.effort.rounds,
        "seed": config.seed,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
