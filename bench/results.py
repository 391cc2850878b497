"""Results of a benchmark: what results.json holds, written and read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.rounds import Interval, median_of, percentile
from inspector.core.durable import make_directory, publish
from inspector.core.untrusted import checked, parse_json
from inspector.errors import OutputError, SourceError

BENCHMARK, FORMAT = "inspector bench", 2
RESULTS, REPORT, PAGE = "results.json", "report.md", "report.html"
OK, UNAVAILABLE, FAILED = STATUSES = ("ok", "unavailable", "failed")
ENGINE, SCAN, PEER = LEVELS = ("engine", "scan", "peer")
PERCENTS = (50, 90, 95, 99)


@dataclass(slots=True, kw_only=True)
class Usage:
    """Resources that a program's processes used; None where the system does not tell."""

    cpu_percent: float | None = None
    """Share of all usable cores, median of the rounds."""
    peak_mib: float | None = None
    gpu_percent: float | None = None
    gpu_mib: float | None = None


@dataclass(slots=True, kw_only=True)
class Compared:
    """Answers of a case beside the reference's, over all its rounds."""

    trouble: str = ""
    """Fault in one sentence; empty where there is none."""
    images: int
    """Judged by both."""
    largest_difference: float | None
    """Of probabilities; where an answer is no number, None in the file and infinite before."""
    other_verdicts: int
    missed_cracks: int
    """Cracks by the reference that the case calls clear."""
    roc_auc: float | None = None
    reference_roc_auc: float | None = None


@dataclass(slots=True, kw_only=True)
class Case:
    """One program with its settings, on one kind of images. Lists have one entry per round."""

    id: str
    """Level, name, input and settings, with slashes between them; unique within the results."""
    level: str
    """`engine` (pixels to probabilities), `scan` or `peer` (files to a table)."""
    name: str
    input: str
    """`pixels`, `tiles` or `photos`."""
    engine: str = ""
    precision: str = ""
    device: str | None = None
    batch_size: int | None = None
    workers: int | None = None
    loader: str = ""
    """Loader of a scan: `processes` or `torch`."""
    status: str = OK
    reason: str = ""
    """Why the status is not `ok`."""
    about: str = ""
    rates: list[float] = field(default_factory=list)
    """Images per second without the start-up."""
    whole_rates: list[float] = field(default_factory=list)
    """Images per second with the start-up, of scans and peers."""
    runs_ms: list[list[float]] = field(default_factory=list)
    """Milliseconds of each batch, of engines."""
    start_up: dict[str, float] = field(default_factory=dict)
    """Median seconds by what was started."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """Median seconds by stage, of scans."""
    usage: Usage = field(default_factory=Usage)
    answers: Compared | None = None
    rate: Interval | None = None
    """Median of `rates`; None where there are none."""
    latency_ms: dict[str, float] | None = None
    """p50 to p99 of all batches in `runs_ms`."""
    shares: dict[str, float] = field(default_factory=dict)
    """Share of each ceiling that is reached."""
    best: bool = False
    """The fastest of its level and input."""
    tied: bool = False
    """Not distinguishable from the fastest."""
    against: dict[str, Interval] = field(default_factory=dict)
    """Ratio of whole runs to those of other cases, by their id."""

    @property
    def counts(self) -> bool:
        """Whether it ran and was right."""
        return self.status == OK and self.rate is not None

    @property
    def median(self) -> float:
        """Median images per second; 0 where nothing was measured."""
        return self.rate.median if self.rate else 0.0

    @property
    def with_start_up(self) -> list[float]:
        """Images per second with the start-up, where that is part of a round."""
        return self.whole_rates or self.rates

    def sum_up(self) -> None:
        """Fill in `rate` and `latency_ms` from the raw figures."""
        self.rate = median_of(self.rates) if self.rates else None
        times = [ms for of_round in self.runs_ms for ms in of_round]
        self.latency_ms = {f"p{p}": percentile(times, p) for p in PERCENTS} if times else None


@dataclass(slots=True, kw_only=True)
class Ceiling:
    """The most that this machine does of one kind of work."""

    what: str
    unit: str
    samples: list[float]
    """One per turn; empty where it could not be measured."""
    how: str
    reason: str = ""
    """Why there are no samples."""

    @property
    def peak(self) -> float | None:
        """Highest sample: whatever slowed the others down is no ceiling."""
        return max(self.samples, default=None)


@dataclass(slots=True, kw_only=True)
class Images:
    """Description of one input; width and height are medians, in pixels."""

    files: int
    width: int
    height: int
    megabytes: float
    origin: str


@dataclass(slots=True, kw_only=True)
class Choice:
    """Recommended scan of one kind of images."""

    id: str
    name: str
    backend: str
    precision: str
    device: str
    batch_size: int
    workers: int
    images_per_second: float


@dataclass(slots=True, kw_only=True)
class Recommendation:
    """Settings to use on this machine."""

    sentence: str
    limits: str = ""
    """What limits these scans."""
    tiles: Choice | None = None
    photos: Choice | None = None
    remembered: str = ""
    """Whether scans follow it from now on, and if not, why."""


@dataclass(slots=True, kw_only=True)
class Results:
    """A whole benchmark."""

    began: str
    """ISO 8601, with the time zone."""
    seconds: float
    mode: str
    method: list[str]
    settings: dict[str, Any]
    system: dict[str, Any]
    model: dict[str, Any]
    inputs: dict[str, Images]
    ceilings: dict[str, Ceiling]
    taken_by_others: float | None
    """Median share of the processor that other programs took meanwhile; None if not known."""
    busy: str
    """Disturbance of the measurement, in words; empty on a quiet machine."""
    cases: list[Case]
    recommendation: Recommendation
    benchmark: str = BENCHMARK
    format: int = FORMAT


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write to {out} ({error.strerror}); use another --out") from error


def make_folder(out: Path) -> None:
    """Make the folder before a measurement that may be long. Raises OutputError."""
    with _writing(out):
        make_directory(out)


def write_results(out: Path, results: Results) -> None:
    """Write results.json, report.md and report.html; the measurement first, so that it is kept
    whatever happens to the reports. Raises OutputError."""
    from bench.report.markdown import report_lines
    from bench.report.page import render_page

    text = json.dumps(asdict(results), indent=1, allow_nan=False) + "\n"
    with _writing(out):
        make_directory(out)
        publish(text.encode(), out / RESULTS)
        publish("\n".join([*report_lines(results), ""]).encode(), out / REPORT)
        publish(render_page(results).encode(), out / PAGE)


def read_results(path: Path) -> Results:
    """Results by their folder or their file. Raises SourceError when they are not there, were not
    written by `inspector bench`, have another format or are damaged."""
    file, again = path / RESULTS if path.is_dir() else path, "run inspector bench again"
    try:
        found = parse_json(file.read_bytes())
    except FileNotFoundError as error:
        raise SourceError(
            f"{file} does not exist; name the --out folder of an inspector bench that has ended"
        ) from error
    except OSError as error:
        raise SourceError(f"cannot read {file} ({error.strerror})") from error
    except ValueError as error:  # no UTF-8, no JSON, or not all of it
        raise SourceError(f"{file} is damaged: it is not complete JSON; {again}") from error
    if not isinstance(found, dict) or found.get("benchmark") != BENCHMARK:
        raise SourceError(f"{file} was not written by inspector bench; name another folder")
    if found.get("format") != FORMAT:
        had = f"{found.get('format')!r:.20}"
        raise SourceError(f"{file} has format {had}, this version reads format {FORMAT}; {again}")
    try:
        results = checked(Results, found, others=True)
        _check(results.cases)
    except ValueError as error:
        raise SourceError(f"{file} is damaged: {error}; {again}") from error
    return results


def _check(cases: list[Case]) -> None:
    """Raise ValueError for cases that no benchmark writes."""
    known: set[str] = set()
    for case in cases:
        measured = [*case.rates, *(ms for of_round in case.runs_ms for ms in of_round)]
        if case.status not in STATUSES or case.level not in LEVELS:
            raise ValueError(f"case {case.id!r:.80} has an unknown status or level")
        if any(value <= 0 for value in measured):
            raise ValueError(f"case {case.id!r:.80} has a rate or time that is not positive")
        if bool(case.rates) != (case.rate is not None):
            raise ValueError(f"case {case.id!r:.80} has 'rate' without 'rates'")
        if case.id in known:
            raise ValueError(f"case {case.id!r:.80} stands there twice")
        known.add(case.id)
