"""Whole paths, from files to a Parquet table: scans and other programs, and one turn of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING

from bench.checks import Answers, examine, worst_of
from bench.runs import loop_seconds, read_answers
from bench.suite.answers import figures
from bench.suite.engines import EngineSpec
from bench.suite.peers import PEERS, Peer
from bench.suite.programs import Ended, run_program
from inspector.core.machine import usable_cores

if TYPE_CHECKING:
    from bench.checks import Outcome
    from bench.suite.setup import Bench, Job
    from inspector.types import JsonObject

SCAN, PEER = "scan", "peer"


@dataclass(slots=True, kw_only=True)
class PathCase:
    """One program on one input: a scan with an engine, or a peer. Lists have one entry per
    round."""

    job: Job
    spec: EngineSpec | None = None
    peer: Peer | None = None
    peer_name: str = ""
    batch_size: int | None = None
    """Of a scan; None: left to it."""
    workers: int | None = None
    setting: str = ""
    """What tuning has found for a peer, as JSON."""
    status: str = "ok"
    reason: str = ""
    ended: list[Ended] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    found: Answers = field(default_factory=dict)
    """The last run's answers."""

    @property
    def level(self) -> str:
        return SCAN if self.spec else PEER

    @property
    def name(self) -> str:
        return self.spec.name if self.spec else self.peer_name

    @property
    def id(self) -> str:
        given = [f"batch {self.batch_size}"] if self.batch_size else []
        given += [f"{self.workers} workers"] if self.workers is not None else []
        return "/".join([self.level, self.name, self.job.input.name, *given])

    @property
    def open(self) -> bool:
        return self.status == "ok"

    @property
    def usual(self) -> bool:
        """A scan of which nothing is asked but its precision."""
        own_settings = self.batch_size is None and self.workers is None
        return self.spec is not None and self.spec.usual and own_settings

    @property
    def rates(self) -> list[float]:
        """Images per second of each round, without the start."""
        return [len(self.job.input.refs) / loop_seconds(ended.said) for ended in self.ended]

    @property
    def whole_rates(self) -> list[float]:
        """The same with the start."""
        return [len(self.job.input.refs) / ended.wall_s for ended in self.ended]

    @property
    def measured(self) -> list[list[float]]:
        return [self.rates] if self.ended else []

    @property
    def expected(self) -> Answers:
        full_size = self.peer is not None and self.peer.full_size
        return self.job.at_full_size if full_size else self.job.expected

    def arguments(self, bench: Bench, source: str, table: str) -> list[str]:
        """Of `python -m`."""
        if self.peer is not None:
            given = [self.peer.module, source, str(bench.bundle.path), table]
            given += ["--device", bench.device]
            return [*given, "--setting", self.setting] if self.setting else given
        model = ["--model", str(bench.bundle.path)]
        return [*self.scan_options(), source, "--out", table, *model, "--json", "--quiet"]

    def scan_options(self) -> list[str]:
        """`inspector scan` with what makes it this case."""
        assert self.spec is not None, "a peer has no such options"
        given = ["inspector", "scan", "--backend", self.spec.engine]
        given += ["--precision", self.spec.precision, "--device", self.spec.device]
        given += ["--batch-size", str(self.batch_size)] if self.batch_size else []
        given += ["--workers", str(self.workers)] if self.workers is not None else []
        return given


def scan_case(job: Job, spec: EngineSpec) -> PathCase:
    """A scan whose batch size and workers are left to it."""
    return PathCase(job=job, spec=spec)


def peer_case(job: Job, name: str) -> PathCase:
    """Another program; one that is not installed says so."""
    case = PathCase(job=job, peer=PEERS[name], peer_name=name)
    if PEERS[name].needs and find_spec(PEERS[name].needs) is None:
        case.status = "unavailable"
        case.reason = f"{PEERS[name].needs} is not installed; see the bench extra"
    return case


def variants(
    fastest: PathCase, batch_sizes: Sequence[int], workers: Sequence[int] | None
) -> list[PathCase]:
    """The fastest scan with other batch sizes, and with other numbers of workers, than it chose."""
    said = fastest.ended[-1].said
    cores = usable_cores()
    workers = workers or sorted({1, max(1, cores // 2), cores})
    other = [replace_settings(fastest, batch_size=size) for size in batch_sizes
             if size != said["batch_size"]]  # fmt: skip
    return other + [
        replace_settings(fastest, workers=count) for count in workers if count != said["workers"]
    ]


def replace_settings(
    case: PathCase, *, batch_size: int | None = None, workers: int | None = None
) -> PathCase:
    """The same scan, not measured yet."""
    return replace(
        case, batch_size=batch_size, workers=workers, ended=[], outcomes=[], found={}
    )  # fmt: skip


def warm_up(case: PathCase, bench: Bench) -> None:
    """One uncounted run on one photo, after a peer has found its fastest setting."""
    if not case.open:
        return
    if case.peer is not None and case.peer.tunes and not case.setting:
        nowhere = str(bench.work / "tuning")
        tuned = run_program(
            [*case.arguments(bench, str(case.job.few), nowhere), "--tune"], bench
        )  # fmt: skip
        case.setting = json.dumps(tuned.said.get("best", {}))
        if tuned.trouble:
            case.status, case.reason = "failed", tuned.trouble
            return
    table = str(bench.work / "tables" / f"{case.id.replace('/', ' ')} warm-up")
    ended = run_program(case.arguments(bench, str(case.job.one), table), bench)
    if ended.trouble:
        case.status = "unavailable" if ended.refused else "failed"
        case.reason = ended.trouble


def measure_path(case: PathCase, bench: Bench, number: int) -> None:
    """One counted run, and the check of its table."""
    table = bench.work / "tables" / f"{case.id.replace('/', ' ')} {number}"
    ended = run_program(case.arguments(bench, str(case.job.input.folder), str(table)), bench)
    if ended.trouble:
        case.status, case.reason = "failed", ended.trouble
        return
    case.ended.append(ended)
    case.found, rows = read_answers(table)
    rule = case.spec.rule if case.spec else case.peer.rule if case.peer else None
    assert rule is not None, "a case is a scan or a peer"
    outcome = examine(
        case.expected, case.found, rows, rule, bench.bundle.thresholds, case.job.mistakes
    )
    case.outcomes.append(outcome)
    if outcome.trouble:
        case.status, case.reason = "failed", outcome.trouble


def path_result(case: PathCase) -> JsonObject:
    """The case as it stands in results.json."""
    said = case.ended[-1].said if case.ended else {}
    stages = [ended.said.get("stage_seconds", {}) for ended in case.ended]
    names = dict.fromkeys(name for each in stages for name in each)
    return {
        "id": case.id,
        "level": case.level,
        "name": case.name,
        "input": case.job.input.name,
        "batch_size": said.get("batch_size", case.batch_size),
        "workers": said.get("workers", case.workers),
        "device": said.get("device", case.spec.device if case.spec else None),
        "engine": said.get("backend", case.spec.engine if case.spec else case.name),
        "precision": case.spec.precision if case.spec else "fp32",
        "stages": said.get("stages", []),
        "status": case.status,
        "reason": case.reason,
        "about": " ".join(case.scan_options()) if case.spec else _about(case),
        "rates": case.rates,
        "whole_rates": case.whole_rates,
        "runs_ms": [],
        "latency_ms": None,
        "start_up": {"start_s": median(e.wall_s - loop_seconds(e.said) for e in case.ended)}
        if case.ended
        else {},
        "stage_seconds": {n: median(each.get(n, 0.0) for each in stages) for n in names},
        "usage": _usage(case.ended),
        "answers": _answers(case),
    }


def _about(case: PathCase) -> str:
    assert case.peer is not None, "scans are described by their options"
    return case.peer.about + (f": {case.setting}" if case.setting else "")


def _usage(ended: Sequence[Ended]) -> JsonObject:
    shares = [e.cpu_s / e.wall_s / usable_cores() for e in ended if e.cpu_s is not None]
    return {
        "cpu_percent": 100 * median(shares) if shares else None,
        "peak_mib": max((e.peak_mib for e in ended if e.peak_mib), default=None),
        "gpu_percent": max((e.gpu_percent for e in ended if e.gpu_percent), default=None),
        "gpu_mib": max((e.gpu_mib for e in ended if e.gpu_mib), default=None),
    }


def _answers(case: PathCase) -> JsonObject | None:
    if not case.outcomes:
        return None
    found, right = (
        {path: answer.p_crack for path, answer in of.items() if answer.p_crack is not None}
        for of in (case.found, case.expected)
    )
    return figures(worst_of(case.outcomes), case.job.input.truth, found, right)
