"""The suite from beginning to end: prepare, measure in rounds, check, compare, recommend."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.report import make_folder
from bench.suite.advice import advice_of, mark_best, recommend, unproven
from bench.suite.alone import EngineCase, engine_cases, engine_results, measure_engine
from bench.suite.ceilings import ask_limits
from bench.suite.contract import BENCHMARK, FORMAT
from bench.suite.engines import KINDS, EngineSpec, candidates
from bench.suite.method import METHOD
from bench.suite.noise import add_rates, whole_rates_apart
from bench.suite.others import disturbance, share_of_others
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
from inspector.core.terminal import print_lines
from inspector.engines.tuned import find_recommendation, keep_recommendation
from inspector.model.bundle import DEFAULT_PATH, ModelBundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.suite.config import BenchConfig
    from inspector.types import JsonObject

ENGINES_SHARE, PATHS_SHARE = 0.4, 0.75
"""Of the time that is left when a phase begins: engines alone, then whole paths; the rest goes to
the settings of the fastest scans."""
ENGINES_MOST = 0.6
"""The same, from which no engine has its first turn any more."""
NO_TIME = "there was no time left for it; give it more with --budget"
REFERENCE = "onnxruntime fp32"
"""What other engines alone are compared with."""
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
    """As `run_suite`; if `remember`, scans on this machine follow the recommendation of a run on a
    quiet machine that compared all engines, found none wrong, and showed that it is the fastest.
    `remembered` of the recommendation says so, or why not."""
    make_folder(config.out)
    results = run_suite(config)
    found = results["recommendation"]
    why_not = "as asked for" if not remember else _why_not(config, results)
    advice = advice_of(found)
    bundle = ModelBundle.load(config.model or DEFAULT_PATH, verify=False)
    if advice is None or why_not:
        found["remembered"] = f"Not remembered: {why_not or 'no scan was right'}."
        if advice is not None and (known := find_recommendation(bundle, advice.device)):
            found["remembered"] += (
                f" Scans go on with what an earlier benchmark recommended: {known.tiles.backend} "
                f"{known.precision}."
            )
    else:
        keep_recommendation(bundle, advice)
        found["remembered"] = (
            "Remembered: inspector scan follows this from now on, here and for this model "
            "(measure with --no-remember to leave scans alone)."
        )
    return results


def _why_not(config: BenchConfig, results: JsonObject) -> str:
    """Why scans should not follow these results; empty where they should."""
    if config.backends is not None or config.precisions is not None:
        return "only some engines were compared"
    if failed := sum(case["status"] == "failed" for case in results["cases"]):
        return f"{failed} of the cases failed"
    if busy := results["disturbance"]["busy"]:
        return f"{busy}; measure again while nothing else runs"
    return unproven(results["cases"], results["recommendation"])


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
        others: list[float] = []
        engines = _engines(config, bench, schedule, others)
        paths = _paths(config, bench, engines, schedule, others)
        paths += _settings(config, bench, paths, schedule, others)
        cases = [result for case in engines for result in engine_results(case, bench)]
        cases += [path_result(case) for case in paths]
        facts = {job.input.name: job.input.facts() for job in bench.jobs}
    add_rates(cases)
    add_shares(cases, limits, operations(bench.bundle))
    mark_best(cases)
    _compare(cases)
    disturbed = disturbance(others, cases)
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
        "disturbance": disturbed,
        "cases": cases,
        "recommendation": recommend(cases, system, busy=disturbed["busy"]),
    }


def _engines(
    config: BenchConfig, bench: Bench, schedule: Schedule, others: list[float]
) -> list[EngineCase]:
    """Engines alone, in rounds; `others` collects what other programs take."""
    specs = list(candidates(config.backends, config.precisions, config.device))
    cases = engine_cases(config, bench, specs)

    def measure(case: EngineCase, number: int) -> None:
        _say(f"engine alone, round {number + 1}: {case.spec.name}")
        others.append(share_of_others())
        measure_engine(case, bench, number, config.effort.turn_s)

    repeat(
        cases,
        measure,
        rounds=config.effort.rounds,
        deadline=schedule.phase(ENGINES_SHARE),
        end=schedule.phase(ENGINES_MOST),
        seed=config.seed,
    )
    _note_unmeasured(cases)
    return cases


def _note_unmeasured(cases: Sequence[EngineCase] | Sequence[PathCase]) -> None:
    for case in cases:
        if case.open and not case.measured:
            case.status, case.reason = "unavailable", NO_TIME


def _paths(
    config: BenchConfig,
    bench: Bench,
    engines: Sequence[EngineCase],
    schedule: Schedule,
    others: list[float],
) -> list[PathCase]:
    """Scans as they are without a recommendation, in each precision, and with the fastest other
    engines; and the peers."""
    able = [case for case in engines if case.open and case.best_rates() and can_scan(case.spec)]
    able.sort(key=lambda case: -median(case.best_rates()))
    chosen = [case for case in able if case.usual and case.spec.device == bench.device]
    most = max(config.effort.scans, len(chosen) + 1)
    chosen += [case for case in able if case not in chosen][: most - len(chosen)]
    peers = config.effort.peers if config.peers is None else config.peers
    cases = [scan_case(job, case.spec) for job in bench.jobs for case in chosen]
    cases += [peer_case(job, name) for job in bench.jobs for name in peers]
    for case in cases:
        if case.usual or time.perf_counter() < schedule.end:
            warm_up(case, bench)
    _measure_paths(config, bench, cases, schedule, others, share=PATHS_SHARE)
    return cases


def can_scan(spec: EngineSpec) -> bool:
    """Whether a scan may be advised to use the engine."""
    return KINDS[spec.engine].scans and spec.precision != "bf16"


def _settings(
    config: BenchConfig,
    bench: Bench,
    paths: Sequence[PathCase],
    schedule: Schedule,
    others: list[float],
) -> list[PathCase]:
    """The fastest scan of each input with other batch sizes and numbers of workers."""
    cases: list[PathCase] = []
    for job in bench.jobs:
        scans = [
            case for case in paths if case.job is job and case.spec and case.open and case.rates
        ]
        if scans:
            fastest = max(scans, key=lambda case: median(case.rates))
            sizes = config.batch_sizes or config.effort.scan_batch_sizes
            cases += variants(fastest, sizes, config.workers)
    _measure_paths(config, bench, cases, schedule, others)
    return cases


def _measure_paths(
    config: BenchConfig,
    bench: Bench,
    cases: Sequence[PathCase],
    schedule: Schedule,
    others: list[float],
    *,
    share: float = 1.0,
) -> None:
    def measure(case: PathCase, number: int) -> None:
        _say(f"whole path, round {number + 1}: {case.id}")
        others.append(share_of_others())
        measure_path(case, bench, number)

    repeat(
        cases,
        measure,
        rounds=config.effort.rounds,
        deadline=schedule.phase(share),
        end=schedule.end,
        seed=config.seed,
    )
    _note_unmeasured(cases)


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
    print_lines([text], to_stderr=True)
