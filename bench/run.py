"""A benchmark from beginning to end: prepare, measure in rounds, check, compare, recommend."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from bench.alone import EngineCase, engine_cases, engine_results, measure_engine
from bench.ceilings import add_shares, ask_ceilings, count_operations
from bench.engines import ENGINES, candidates
from bench.inputs import check_source
from bench.paths import (
    PathCase,
    measure_path,
    path_result,
    peer_case,
    peers_for,
    variants,
    warm_up,
)
from bench.prepare import prepare
from bench.processes import describe_system, share_of_others
from bench.recommend import mark_best, recommend, remember
from bench.results import ENGINE, PEER, SCAN, UNAVAILABLE, Results, make_folder, write_results
from bench.rounds import ratio_of, repeat
from inspector.core.progress import Progress, no_progress
from inspector.model.bundle import DEFAULT_PATH, NARROW, ModelBundle
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.config import BenchConfig
    from bench.prepare import Bench
    from bench.results import Case
    from inspector.types import JsonObject

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
PROBES = 5
NO_TIME = "there was no time left for it; give it more with --budget"
REFERENCE = "onnxruntime fp32"
"""Engine with which others are compared."""
_PEERS_COMPARED = ("plain", "timm", "tiles", "timm-tiles")

METHOD = (
    "Engine alone: from uint8 pixels in memory to probabilities in memory, copies to and from a "
    "GPU included; all usable CPU cores. Each round is a new process that runs all batch sizes, "
    "each after one run that is not counted.",
    "Whole path: from files to a finished Parquet table, each round a new process. images/s are "
    "without the start-up, which is reported apart; scans and other programs are compared by whole "
    "runs, because a scan decodes ahead while its engine comes up. Every program first judges one "
    "photo, which is not counted; files come from the page cache, and what is remembered from "
    "earlier runs is hidden.",
    "Photos are judged whole, which is what a model for tiles makes of them by itself; a few "
    "also at their own scale (native), beside loops that cut them into tiles. Such a scan must "
    "give the verdicts that it gives in fp32, a loop the mean probability of its tiles.",
    "Cases take turns, in a new random order each round, until the interval of each is within 3 % "
    "or the time is over. Figures are medians of the rounds. Intervals: 95 %, percentiles of the "
    "medians of 2,000 resamples of the rounds (bootstrap); of 3 or 4 rounds they are about their "
    "range. Two cases are not distinguishable where the interval of the ratio of their medians, "
    "resampled alike, holds 1.",
    "Answers: of every counted run, against the weights in eager PyTorch in fp32 on pixels from "
    "the project's decoder. fp32 must keep every probability within 1e-4; everything else the "
    "verdicts (1 in 1,000 may differ), and no crack may be called clear; a program that resamples "
    "by itself must agree on 98 % of verdicts. Answers nearer to those of a model with swapped "
    "channels or another normalisation are wrong.",
    "Recommended is the fastest scan that is right, or a more exact one that is at most 3 % "
    "slower, or 10 % if they are not distinguishable; then ONNX Runtime and a scan's own settings "
    "come first, and what is not faster than these beyond chance is not recommended. Photos have "
    "the precision of tiles, because a table has rows of one kind.",
    "Shares: of the machine's own matrix rate in that precision, of JPEG decoding on all cores, "
    "and of the engine alone, each at its highest sample. They need not add up to 1, because work "
    "overlaps; one above 1 means that the ceiling was measured too low.",
    "Others: before every turn, threads on all cores work for 30 ms; what they do not get of the "
    "processor, others take. From 10 % (median) on, or where the rounds of scans typically lie "
    "25 % from their median, the machine is busy, and scans do not follow the recommendation.",
)
"""Method of measurement, in the words of the reports."""


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

    def turn(self, phase: str) -> None:
        """Report a turn, and see what others take."""
        self.say(phase)
        self.others.append(share_of_others())

    def rounds(
        self, cases: Sequence[C], measure: Callable[[C, int], None], *, share: float, end: float
    ) -> None:
        """Measure cases in rounds for a share of the time left; none has its first turn after
        `end` (time.perf_counter)."""
        effort, deadline = self.config.effort, self.phase(share)
        repeat(cases, measure, rounds=effort.rounds, deadline=deadline, end=end,
               seed=self.config.seed)  # fmt: skip
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
        check_source(config.source)
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
    taken = median(share_of_others() for _ in range(PROBES))
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
    add_shares(cases, ceilings, count_operations(bundle))
    return Results(
        began=began.isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - started, 1),
        mode=config.mode,
        method=list(METHOD),
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


def _bases(case: Case) -> Iterator[str]:
    """Ids of what a case is compared with: the plain engine at the same batch size, and what one
    would use instead of a scan."""
    if case.level == ENGINE:
        yield f"{ENGINE}/{REFERENCE}/{case.batch_size}"
    elif case.level in (SCAN, PEER):
        yield from (f"{PEER}/{name}/{case.input}" for name in _PEERS_COMPARED)


def _engines(run: _Run) -> list[EngineCase]:
    config = run.config
    there = {variant.precision for variant in run.bench.bundle.whole.values()}
    specs = [
        spec
        for spec in candidates(config.backends, config.precisions, config.device)
        if spec.precision != NARROW or NARROW in there
    ]
    cases = engine_cases(config, run.bench, specs)

    def measure(case: EngineCase, number: int) -> None:
        run.turn(f"engine alone, round {number + 1}: {case.spec.name}")
        measure_engine(case, run.bench, number, config.effort.turn_s)

    run.rounds(cases, measure, share=ENGINES_SHARE, end=run.phase(ENGINES_MOST))
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
    cases += [peer_case(job, name) for job in run.bench.jobs for name in peers_for(job, peers)]
    for case in cases:
        if case.usual or time.perf_counter() < run.end:
            warm_up(case, run.bench)
    _measure_paths(run, cases, PATHS_SHARE)
    return cases


def _settings(run: _Run, paths: Sequence[PathCase]) -> list[PathCase]:
    """The fastest scan of each input with other batch sizes and numbers of workers."""
    cases: list[PathCase] = []
    for job in run.bench.jobs:
        if job.input.view is not View.WHOLE:
            continue
        scans = [c for c in paths if c.job is job and c.spec and c.open and c.rates]
        if scans:
            fastest = max(scans, key=lambda case: median(case.rates))
            sizes = run.config.batch_sizes or run.config.effort.scan_batch_sizes
            cases += variants(fastest, sizes, run.config.workers)
    _measure_paths(run, cases)
    return cases


def _measure_paths(run: _Run, cases: Sequence[PathCase], share: float = 1.0) -> None:
    def measure(case: PathCase, number: int) -> None:
        run.turn(f"whole path, round {number + 1}: {case.id}")
        measure_path(case, run.bench, number)

    run.rounds(cases, measure, share=share, end=run.end)


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
