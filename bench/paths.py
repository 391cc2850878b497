"""Whole paths, from files to a Parquet table: scans and other programs, and one turn of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.answers import Answers, examine, with_truth, worst_of
from bench.engines import EngineSpec
from bench.peers.registry import PEERS, Peer, loop_seconds, read_answers
from bench.processes import Ended, run_program
from bench.results import FAILED, OK, PEER, SCAN, UNAVAILABLE, Case, Compared, Usage
from inspector.core.machine import usable_cores
from inspector.types import View

if TYPE_CHECKING:
    from bench.prepare import Bench, Job


LOADERS = ("processes", "torch")
"""Values of `inspector scan --loader`."""


@dataclass(slots=True, kw_only=True)
class PathCase:
    """One program on one input: a scan with an engine, or a peer. Lists have one entry per
    round."""

    job: Job
    spec: EngineSpec | None = None
    peer: Peer | None = None
    peer_name: str = ""
    batch_size: int | None = None
    """None: left to the scan."""
    workers: int | None = None
    loader: str = ""
    """`processes` or `torch`; empty: left to the scan."""
    setting: str = ""
    """Fastest setting of a peer, as JSON."""
    status: str = OK
    reason: str = ""
    ended: list[Ended] = field(default_factory=list)
    outcomes: list[Compared] = field(default_factory=list)
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
        given += [f"{self.loader} loader"] if self.loader else []
        return "/".join([self.level, self.name, self.job.input.name, *given])

    @property
    def open(self) -> bool:
        return self.status == OK

    @property
    def usual(self) -> bool:
        """Whether it is a scan of which nothing is asked but its precision."""
        asked = self.batch_size is not None or self.workers is not None or self.loader
        return self.spec is not None and self.spec.usual and not asked

    @property
    def rates(self) -> list[float]:
        """Images per second of each round, without the start."""
        return [len(self.job.input.refs) / loop_seconds(ended.said) for ended in self.ended]

    @property
    def whole_rates(self) -> list[float]:
        """Images per second of each round, with the start."""
        return [len(self.job.input.refs) / ended.wall_s for ended in self.ended]

    @property
    def measured(self) -> list[list[float]]:
        return [self.rates] if self.ended else []

    @property
    def expected(self) -> Answers:
        """The right answers."""
        if self.peer is not None and (self.peer.full_size or self.peer.view is View.TILES):
            return self.job.of_other_programs
        return self.job.expected

    def arguments(self, bench: Bench, source: str, table: str) -> list[str]:
        """Arguments of `python -m`."""
        if self.peer is not None:
            given = self.peer.arguments(source, str(bench.bundle.path), table)
            setting = ["--setting", self.setting] if self.setting else []
            return [*given, "--device", bench.device, *setting]
        model = ["--model", str(bench.bundle.path)]
        return [*self.scan_options(), source, "--out", table, *model, "--json", "--quiet"]

    def scan_options(self) -> list[str]:
        """Words of `inspector scan` with the options that make it this case."""
        assert self.spec is not None, "a peer has no such options"
        given = ["inspector", "scan", "--backend", self.spec.engine]
        given += ["--precision", self.spec.precision, "--device", self.spec.device]
        given += ["--view", self.job.input.view]
        given += ["--batch-size", str(self.batch_size)] if self.batch_size else []
        given += ["--workers", str(self.workers)] if self.workers is not None else []
        given += ["--loader", self.loader] if self.loader else []
        return given


def peers_for(job: Job, names: Sequence[str]) -> list[str]:
    """Those of the peers that judge photos in the way in which a job wants them judged."""
    whole = job.input.view is View.WHOLE
    return [name for name in names if (PEERS[name].view is View.WHOLE) is whole]


def peer_case(job: Job, name: str) -> PathCase:
    """Another program; one that is not installed says so."""
    case = PathCase(job=job, peer=PEERS[name], peer_name=name)
    if PEERS[name].needs and find_spec(PEERS[name].needs) is None:
        case.status = UNAVAILABLE
        case.reason = f"{PEERS[name].needs} is not installed; see the bench extra"
    return case


def variants(
    fastest: PathCase, batch_sizes: Sequence[int], workers: Sequence[int] | None
) -> list[PathCase]:
    """The fastest scan with other batch sizes and numbers of workers, and with the other loader,
    than it chose; not measured yet."""
    said, cores = fastest.ended[-1].said, usable_cores()
    workers = workers or sorted({1, max(1, cores // 2), cores})
    other: list[dict[str, Any]] = [{"batch_size": n} for n in batch_sizes
                                   if n != said["batch_size"]]  # fmt: skip
    other += [{"workers": n} for n in workers if n != said["workers"]]
    if "loader" in said and said["workers"]:  # without any, no loader decodes ahead
        other += [{"loader": name} for name in LOADERS if name != said.get("loader")]
    return [replace(fastest, ended=[], outcomes=[], found={}, **settings) for settings in other]


def warm_up(case: PathCase, bench: Bench) -> None:
    """Take one turn that is not counted, on one photo, after a peer has found its fastest
    setting."""
    if not case.open:
        return
    if case.peer is not None and case.peer.tunes and not case.setting:
        arguments = case.arguments(bench, str(case.job.few), str(bench.work / "tuning"))
        tuned = run_program([*arguments, "--tune"], bench.work)
        case.setting = json.dumps(tuned.said.get("best", {}))
        if tuned.trouble:
            case.status, case.reason = FAILED, tuned.trouble
            return
    table = str(bench.work / "tables" / f"{case.id.replace('/', ' ')} warm-up")
    ended = run_program(case.arguments(bench, str(case.job.one), table), bench.work)
    if ended.trouble:
        case.status = UNAVAILABLE if ended.refused else FAILED
        case.reason = ended.trouble


def measure_path(case: PathCase, bench: Bench, number: int) -> None:
    """Take one turn, and check its table."""
    table = bench.work / "tables" / f"{case.id.replace('/', ' ')} {number}"
    arguments = case.arguments(bench, str(case.job.input.folder), str(table))
    ended = run_program(arguments, bench.work, gpu=bench.on_gpu)
    if ended.trouble:
        case.status, case.reason = FAILED, ended.trouble
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
        case.status, case.reason = FAILED, outcome.trouble


def path_result(case: PathCase) -> Case:
    """The case as it stands in the results."""
    said = case.ended[-1].said if case.ended else {}
    stages = [ended.said.get("stage_seconds", {}) for ended in case.ended]
    names = dict.fromkeys(name for each in stages for name in each)
    starts = [ended.wall_s - loop_seconds(ended.said) for ended in case.ended]
    return Case(
        id=case.id,
        level=case.level,
        name=case.name,
        input=case.job.input.name,
        engine=said.get("backend", case.spec.engine if case.spec else case.name),
        precision=case.spec.precision if case.spec else "fp32",
        device=said.get("device", case.spec.device if case.spec else None),
        batch_size=said.get("batch_size", case.batch_size),
        workers=said.get("workers", case.workers),
        loader=said.get("loader", ""),
        status=case.status,
        reason=case.reason,
        about=" ".join(case.scan_options()) if case.spec else _about(case),
        rates=case.rates,
        whole_rates=case.whole_rates,
        start_up={"start_s": median(starts)} if starts else {},
        stage_seconds={n: median(each.get(n, 0.0) for each in stages) for n in names},
        usage=_usage(case.ended),
        answers=_answers(case),
    )


def _about(case: PathCase) -> str:
    assert case.peer is not None, "scans are described by their options"
    return case.peer.about + (f": {case.setting}" if case.setting else "")


def _usage(ended: Sequence[Ended]) -> Usage:
    shares = [e.cpu_s / e.wall_s / usable_cores() for e in ended if e.cpu_s is not None]
    return Usage(
        cpu_percent=100 * median(shares) if shares else None,
        peak_mib=max((e.peak_mib for e in ended if e.peak_mib), default=None),
        gpu_percent=max((e.gpu_percent for e in ended if e.gpu_percent), default=None),
        gpu_mib=max((e.gpu_mib for e in ended if e.gpu_mib), default=None),
    )


def _answers(case: PathCase) -> Compared | None:
    if not case.outcomes:
        return None
    found, right = (
        {path: answer.p_crack for path, answer in of.items() if answer.p_crack is not None}
        for of in (case.found, case.expected)
    )
    return with_truth(worst_of(case.outcomes), case.job.input.truth, found, right)
