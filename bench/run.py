"""A benchmark from beginning to end: prepare, measure in rounds, check, compare, recommend."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

from bench.alone import EngineCase, engine_cases, engine_results, measure_engine
from bench.ceilings import add_shares, ask_ceilings, count_operations
from bench.config import BenchConfig
from bench.engines import ENGINES, candidates
from bench.inputs import find_photos
from bench.paths import PathCase, measure_path, path_result, peers_for, variants, warm_up
from bench.prepare import Bench, prepare
from bench.processes import describe_system, share_of_others
from bench.recommend import mark_best, recommend, remember
from bench.results import ENGINE, PEER, SCAN, UNAVAILABLE, Case, Results, make_folder, write_results
from bench.rounds import ratio_of, repeat
from inspector.core.progress import Progress, no_progress
from inspector.model.bundle import DEFAULT_PATH, NARROW, ModelBundle
from inspector.types import JsonObject, View

C = TypeVar("C", EngineCase, PathCase)

ENGINES_SHARE, PATHS_SHARE = 0.3, 0.8
"""Shares of the time left when a phase begins: engines alone, then whole paths; the rest goes to
the settings of the fastest scans."""
ENGINES_MOST = 0.5
"""Share of the time left after which no engine has its first turn."""
BUSY = 0.1
"""Share of the processor taken by others from which a machine is busy."""
UNSTEADY = 0.25
"""Typical distance of a scan's rounds from their median, as a share of it, from which nothing can
be told."""
NO_TIME = "there was no time left for it; give it more with --budget"
REFERENCE = "onnxruntime fp32"
"""Engine with which others are compared."""
_PEERS_COMPARED = ("plain", "timm", "tiles", "timm-tiles")

_METHOD = Path(__file__).parent / "report" / "template" / "method.txt"
"""Method of measurement, in the words of the reports: a paragraph each."""


@dataclass(slots=True)
class _Run:
    """A benchmark under way."""

    config: BenchConfig
    started: float
    """time.perf_counter."""
    progress: Progress
    bench: Bench = field(init=False)
    others: list[float] = field(default_factory=list)
    """Shares of the processor that other programs took, before every turn."""

    @property
    def budget_s(self) -> float:
        """Seconds for it all."""
        return self.config.budget_s or self.config.effort.budget_s

    @property
    def end(self) -> float:
        """time.perf_counter when the time is over."""
        return self.started + self.budget_s

    def say(self, phase: str) -> None:
        """Report the phase, and how many seconds are over of how many."""
        self.progress(phase, round(time.perf_counter() - self.started), round(self.budget_s))

    def phase(self, share: float = 1.0) -> float:
        """When a phase ends that gets `share` of the time left."""
        now = time.perf_counter()
        return now + share * max(0.0, self.end - now)

    def rounds(
        self,
        phase: str,
        cases: Sequence[C],
        measure: Callable[[C, Bench, int], None],
        *,
        share: float = 1.0,
        end: float | None = None,
    ) -> None:
        """Measure cases in rounds for a share of the time left, and before every turn see what
        others take; no case has its first turn after `end` (time.perf_counter)."""

        def turn(case: C, number: int) -> None:
            self.say(f"{phase}, round {number + 1}: {case.id}")
            self.others.append(share_of_others())
            measure(case, self.bench, number)

        repeat(cases, turn, rounds=self.config.effort.rounds, deadline=self.phase(share),
               end=end or self.end, seed=self.config.seed)  # fmt: skip
        for case in cases:
            if case.open and not case.measured:
                case.status, case.reason = UNAVAILABLE, NO_TIME


def bench(config: BenchConfig, *, progress: Progress = no_progress) -> Results:
    """Measure engines, loaders and whole paths on this machine, and write the reports. `progress`
    is called with what is being measured, and the seconds gone and in all.

    Returns the results, as they stand in results.json. What cannot run on this machine is listed
    with the reason; a case that broke or gave wrong answers has the status `failed`. Raises
    InspectorError where there is nothing to measure, or the reports cannot be written.
    """
    if config.source is not None:
        find_photos(config.source)
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    make_folder(config.out)
    results = _measure(config, bundle, progress)
    remember(config, bundle, results)
    write_results(config.out, results)
    return results


def _measure(config: BenchConfig, bundle: ModelBundle, progress: Progress) -> Results:
    began, started = datetime.now().astimezone(), time.perf_counter()
    system = describe_system()
    run = _Run(config, started, progress)
    taken = median(share_of_others() for _ in range(5))
    if taken > BUSY:
        run.say(f"this machine is busy: other programs take {taken * 100:.0f} % of the processor")
    with TemporaryDirectory(prefix="inspector-bench-") as folder:
        run.say("preparing the images and the right answers to them")
        run.bench = prepare(config, bundle, Path(folder))
        run.say("measuring what this machine can do at most")
        ceilings = ask_ceilings(run.bench, config.effort.ceilings_s)
        engines = _engines(run)
        paths = _paths(run, engines)
        paths += _settings(run, paths)
        cases = [result for case in engines for result in engine_results(case, run.bench)]
        cases += [path_result(case) for case in paths]
        inputs = {job.input.name: job.input.facts() for job in run.bench.jobs}
    busy = finish(cases, run.others)
    method = _METHOD.read_text(encoding="utf-8")
    add_shares(cases, ceilings, count_operations(bundle))
    return Results(
        began=began.isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - started, 1),
        mode=config.mode,
        method=[" ".join(text.split()) for text in method.split("\n\n")],
        settings=_settings_in_words(config),
        system=system,
        model={
            "name": config.model.name if config.model else "default",
            "digest": bundle.digest,
            "size": bundle.preprocess.size,
        },
        inputs=inputs,
        ceilings=ceilings,
        taken_by_others=median(run.others) if run.others else None,
        busy=busy,
        cases=cases,
        recommendation=recommend(cases, system["cpu"], busy=busy),
    )


def finish(cases: Sequence[Case], others: Sequence[float]) -> str:
    """Fill in what follows from the raw figures of all cases: rates, the fastest, ratios. Returns
    what disturbed the measurement, in words; empty on a quiet machine."""
    for case in cases:
        case.sum_up()
    mark_best(cases)
    right = {case.id: case for case in cases if case.counts}
    for case in right.values():
        case.against = {
            base: ratio_of(case.with_start_up, right[base].with_start_up)
            for base in _bases(case)
            if base in right and base != case.id
        }
    taken = median(others) if others else 0.0
    if taken > BUSY:
        return f"other programs took {taken * 100:.0f} % of the processor"
    distances = [abs(rate / case.median - 1) for case in right.values() if case.level == SCAN
                 for rate in case.rates if len(case.rates) > 1]  # fmt: skip
    if distances and median(distances) > UNSTEADY:
        return f"the same scan differed by {median(distances) * 100:.0f} % from round to round"
    return ""


def _bases(case: Case) -> list[str]:
    """Ids of what a case is compared with: the plain engine at the same batch size, and what one
    would use instead of a scan."""
    if case.level == ENGINE:
        return [f"{ENGINE}/{REFERENCE}/{case.batch_size}"]
    return [f"{PEER}/{name}/{case.input}" for name in _PEERS_COMPARED]


def _engines(run: _Run) -> list[EngineCase]:
    config = run.config
    there = {variant.precision for variant in run.bench.bundle.whole.values()}
    asked = candidates(config.backends, config.precisions, config.device)
    specs = [spec for spec in asked if spec.precision != NARROW or NARROW in there]
    cases = engine_cases(config, run.bench, specs)
    measure = partial(measure_engine, turn_s=config.effort.turn_s)
    run.rounds("engine alone", cases, measure, share=ENGINES_SHARE, end=run.phase(ENGINES_MOST))
    return cases


def _paths(run: _Run, engines: Sequence[EngineCase]) -> list[PathCase]:
    """Scans as they are without a recommendation, in each precision, and with the fastest other
    engines; and the peers."""
    able = [case for case in engines if case.open and case.best_rates() and case.spec.scans]
    able.sort(key=lambda case: -median(case.best_rates()))
    chosen = [case for case in able if case.usual and case.spec.device == run.bench.device]
    most = max(run.config.effort.scans, len(chosen) + 1)
    chosen += [case for case in able if case not in chosen][: most - len(chosen)]
    peers = run.config.effort.peers if run.config.peers is None else run.config.peers
    cases = [
        PathCase(job=job, spec=case.spec)
        for job in run.bench.jobs
        for case in chosen
        if job.input.view is View.WHOLE or case.spec.engine == ENGINES[0]
    ]
    cases += [case for job in run.bench.jobs for case in peers_for(job, peers)]
    for case in cases:
        if case.usual or time.perf_counter() < run.end:
            warm_up(case, run.bench)
    run.rounds("whole path", cases, measure_path, share=PATHS_SHARE)
    return cases


def _settings(run: _Run, paths: Sequence[PathCase]) -> list[PathCase]:
    """The fastest scan of each input with other batch sizes and numbers of workers."""
    cases: list[PathCase] = []
    for job in (job for job in run.bench.jobs if job.input.view is View.WHOLE):
        if scans := [c for c in paths if c.job is job and c.spec and c.open and c.rates]:
            fastest = max(scans, key=lambda case: median(case.rates))
            sizes = run.config.batch_sizes or run.config.effort.scan_batch_sizes
            cases += variants(fastest, sizes, run.config.workers)
    run.rounds("whole path", cases, measure_path)
    return cases


def _settings_in_words(config: BenchConfig) -> JsonObject:
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
