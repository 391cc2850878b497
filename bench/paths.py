"""Whole paths, from files to a Parquet table: scans and other programs, and one turn of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from bench.answers import Answers, examine, numbers, with_truth, worst_of
from bench.engines import EngineSpec
from bench.peers.registry import PEERS, loop_seconds, read_answers
from bench.prepare import Bench, Job
from bench.processes import Ended, run_program, usage_of
from bench.results import FAILED, OK, PEER, SCAN, UNAVAILABLE, Case, Compared
from inspector.core.machine import usable_cores
from inspector.types import View

LOADERS = ("processes", "torch")
"""Values of `inspector scan --loader`."""
_IN_IDS = {"batch-size": "batch {}", "workers": "{} workers", "loader": "{} loader"}


@dataclass(slots=True, kw_only=True)
class PathCase:
    """One program on one input: a scan with an engine, or a peer. Lists have one entry per
    round."""

    job: Job
    spec: EngineSpec | None = None
    peer: str = ""
    """Name of another program, out of PEERS."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `inspector scan`, out of `_IN_IDS`; others are left to the scan."""
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
        return self.spec.name if self.spec else self.peer

    @property
    def id(self) -> str:
        given = [_IN_IDS[name].format(value) for name, value in self.options.items()]
        return "/".join([self.level, self.name, self.job.input.name, *given])

    @property
    def open(self) -> bool:
        return self.status == OK

    @property
    def usual(self) -> bool:
        """Whether it is a scan of which nothing is asked but its precision."""
        return self.spec is not None and self.spec.usual and not self.options

    @property
    def rates(self) -> list[float]:
        """Images per second of each round, without the start."""
        return [len(self.job.input.refs) / loop_seconds(ended.said) for ended in self.ended]

    @property
    def measured(self) -> list[list[float]]:
        return [self.rates] if self.ended else []

    @property
    def expected(self) -> Answers:
        """The right answers."""
        own_pixels = self.peer and not PEERS[self.peer].sees_as_scans
        return self.job.of_other_programs if own_pixels else self.job.expected

    @property
    def about(self) -> str:
        """A scan's command, or what a peer is."""
        if self.spec:
            return " ".join(self._scan(self.spec))
        return PEERS[self.peer].about + (f": {self.setting}" if self.setting else "")

    def arguments(self, bench: Bench, source: Path, table: Path) -> list[str]:
        """Arguments of `python -m`."""
        model = str(bench.bundle.path)
        if self.spec:
            scan = self._scan(self.spec)
            return [*scan, str(source), "--out", str(table), "--model", model, "--json", "--quiet"]
        given = PEERS[self.peer].arguments(str(source), model, str(table))
        setting = ["--setting", self.setting] if self.setting else []
        return [*given, "--device", bench.device, *setting]

    def _scan(self, spec: EngineSpec) -> list[str]:
        """Words of `inspector scan` with the options that make it this case."""
        engine = {"backend": spec.engine, "precision": spec.precision, "device": spec.device}
        options = {**engine, "view": self.job.input.view, **self.options}
        given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return ["inspector", "scan", *given]


def peers_for(job: Job, names: Sequence[str]) -> Iterator[PathCase]:
    """Those of the peers that judge photos in the way in which a job wants them judged; one that
    is not installed says so."""
    for name in names:
        peer = PEERS[name]
        if (peer.view is View.WHOLE) is not (job.input.view is View.WHOLE):
            continue
        case = PathCase(job=job, peer=name)
        if peer.needs and find_spec(peer.needs) is None:
            case.status = UNAVAILABLE
            case.reason = f"{peer.needs} is not installed; see the bench extra"
        yield case


def variants(
    fastest: PathCase, batch_sizes: Sequence[int], workers: Sequence[int] | None
) -> list[PathCase]:
    """The fastest scan with other batch sizes and numbers of workers, and with the other loader,
    than it chose; not measured yet."""
    said, cores = fastest.ended[-1].said, usable_cores()
    workers = workers or sorted({1, max(1, cores // 2), cores})
    other: list[dict[str, Any]]
    other = [{"batch-size": n} for n in batch_sizes if n != said["batch_size"]]
    other += [{"workers": n} for n in workers if n != said["workers"]]
    if "loader" in said and said["workers"]:  # without any, no loader decodes ahead
        other += [{"loader": name} for name in LOADERS if name != said["loader"]]
    return [PathCase(job=fastest.job, spec=fastest.spec, options=each) for each in other]


def warm_up(case: PathCase, bench: Bench) -> None:
    """Take one turn that is not counted, on one photo, after a peer has found its fastest
    setting."""
    if not case.open:
        return
    if case.peer and PEERS[case.peer].tunes and not case.setting:
        arguments = case.arguments(bench, case.job.few, bench.work / "tuning")
        tuned = run_program([*arguments, "--tune"], bench.work)
        case.setting = json.dumps(tuned.said.get("best", {}))
        if tuned.trouble:
            case.status, case.reason = FAILED, tuned.trouble
            return
    arguments = case.arguments(bench, case.job.one, _table(case, bench, "warm-up"))
    ended = run_program(arguments, bench.work)
    if ended.trouble:
        case.status = UNAVAILABLE if ended.refused else FAILED
        case.reason = ended.trouble


def _table(case: PathCase, bench: Bench, turn: object) -> Path:
    return bench.work / "tables" / f"{case.id.replace('/', ' ')} {turn}"


def measure_path(case: PathCase, bench: Bench, number: int) -> None:
    """Take one turn, and check its table."""
    table = _table(case, bench, number)
    arguments = case.arguments(bench, case.job.input.folder, table)
    ended = run_program(arguments, bench.work, gpu=bench.on_gpu)
    if ended.trouble:
        case.status, case.reason = FAILED, ended.trouble
        return
    case.ended.append(ended)
    case.found, rows = read_answers(table)
    rule, thresholds = (case.spec or PEERS[case.peer]).rule, bench.bundle.thresholds
    outcome = examine(case.expected, case.found, rows, rule, thresholds, case.job.mistakes)
    case.outcomes.append(outcome)
    if outcome.trouble:
        case.status, case.reason = FAILED, outcome.trouble


def path_result(case: PathCase) -> Case:
    """The case as it stands in the results."""
    said = case.ended[-1].said if case.ended else {}
    stages = [ended.said.get("stage_seconds", {}) for ended in case.ended]
    names = dict.fromkeys(name for each in stages for name in each)
    starts = [ended.wall_s - loop_seconds(ended.said) for ended in case.ended]
    answers = worst_of(case.outcomes) if case.outcomes else None
    if answers:
        found, right = numbers(case.found), numbers(case.expected)
        answers = with_truth(answers, case.job.input.truth, found, right)
    return Case(
        id=case.id,
        level=case.level,
        name=case.name,
        input=case.job.input.name,
        engine=said.get("backend", case.spec.engine if case.spec else case.name),
        precision=case.spec.precision if case.spec else "fp32",
        device=said.get("device", case.spec.device if case.spec else None),
        batch_size=said.get("batch_size", case.options.get("batch-size")),
        workers=said.get("workers", case.options.get("workers")),
        loader=said.get("loader", ""),
        status=case.status,
        reason=case.reason,
        about=case.about,
        rates=case.rates,
        whole_rates=[len(case.job.input.refs) / ended.wall_s for ended in case.ended],
        start_up={"start_s": median(starts)} if starts else {},
        stage_seconds={n: median(each.get(n, 0.0) for each in stages) for n in names},
        usage=usage_of(case.ended),
        answers=answers,
    )
