"""The whole way from files to a Parquet table: `inspector scan` against a plain loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pyarrow.dataset as ds

from bench import afternoon
from bench.report import figure, figures
from bench.stats import pairwise_ratios, shuffled_rounds, spread
from bench.system import describe_system, without_folders
from inspector.backends import open_backend
from inspector.backends.agreement import PROBABILITY_TOLERANCE
from inspector.backends.device import has_nvidia_driver
from inspector.bundle import DEFAULT_PATH, ModelBundle, verdict_of
from inspector.data.loader import load_batches
from inspector.data.source import Discovery
from inspector.errors import SourceError, UsageError
from inspector.scan.schema import display_path
from inspector.types import Photo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.report import Columns
    from inspector.backends import Backend
    from inspector.preprocess import PreprocessSpec
    from inspector.types import ImageRef, JsonObject

    Answers = dict[str, float | None]
    """Crack probability by path; None: the file could not be judged."""

SEED = 0
_FULL_SIZE = 1e6
"""A decode margin at which no JPEG is ever decoded smaller than it is stored."""

METHOD = (
    "Every run is a new process that ends when the table is written. images/s: files by the whole "
    "run's wall time. start-up: the part of it outside the loop (interpreter, imports, model, "
    "worker processes). The two take turns, in a new order each round, after one uncounted run of "
    "each on one photo; the check of the answers has read all files before, so they come from the "
    "page cache where it holds them. Range: slowest to fastest run.",
    "ratio: images/s against the plain loop, round by round; the median.",
    "answers: every file's probability of every run against the weights in eager torch on pixels "
    f"decoded by inspector.data.decode (tolerance {PROBABILITY_TOLERANCE:g}), at full size for the "
    "plain loop; a large JPEG is scaled while it is decoded only by the scan, which may move its "
    "probability, so verdicts may differ between the two and are counted below.",
    "scan: inspector scan in its defaults. plain loop: "
    + " ".join((afternoon.__doc__ or "").split()),
)

COLUMNS: Columns = {
    "case": lambda case: str(case["name"]),
    "images/s (range)": lambda case: figures(case["images_per_second"]),
    "start-up s": lambda case: figure(case["start_up_s"] and case["start_up_s"]["median"]),
    "ratio": lambda case: figure(case["ratio"] and case["ratio"]["median"]),
    "answers": lambda case: str(case["status"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanBenchConfig:
    """Raises UsageError when a value cannot be right."""

    source: Path
    """A folder of photos."""
    model: Path | None = None
    limit: int | None = None
    rounds: int = 3
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"unknown device {self.device!r}; choose auto, cpu or cuda")
        if self.rounds < 1 or (self.limit is not None and self.limit < 1):
            raise UsageError("--rounds and --limit must be at least 1")


@dataclass(slots=True)
class Case:
    """A program that turns photos into a table: `command(table, limit)` is how it is called,
    `loop_of` gives the seconds of its loop and its device from what it prints."""

    name: str
    command: Callable[[Path, int | None], list[str]]
    loop_of: Callable[[JsonObject], tuple[float, str]]
    expected: Answers
    wall_s: list[float] = field(default_factory=list)
    start_up_s: list[float] = field(default_factory=list)
    largest_difference: float = 0.0
    device: str | None = None
    answers: Answers = field(default_factory=dict)
    """Of the last run."""
    trouble: str = ""


def bench_scan(config: ScanBenchConfig) -> JsonObject:
    """Measure and compare; raises an InspectorError when there is nothing to measure."""
    system = describe_system()
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    device = config.device
    if device == "auto":
        device = "cuda" if has_nvidia_driver() else "cpu"
    source = os.path.abspath(config.source)
    refs = list(islice(Discovery([source]), config.limit))
    if not refs:
        raise SourceError(f"{config.source} holds no photos; name a folder with photos")
    print(f"judging {len(refs)} files for the comparison", file=sys.stderr)
    cases = _cases(source, refs, bundle, device)
    with TemporaryDirectory() as folder:
        for case in cases:
            _run(case, Path(folder) / f"{case.name} warm-up", limit=1)
        for number, turns in enumerate(shuffled_rounds(cases, config.rounds, seed=SEED), 1):
            print(f"round {number} of {config.rounds}", file=sys.stderr)
            for case in turns:
                _measure(case, Path(folder) / f"{case.name} {number}", config.limit)
    settings = {
        "source": str(config.source),
        "files": len(refs),
        "model": f"{config.model or 'default'}, {bundle.digest[:12]}",
        "device": device,
        "rounds": config.rounds,
        "seed": SEED,
        "files with other verdicts": _other_verdicts(cases, bundle),
    }
    return {
        "benchmark": "scan",
        "method": METHOD,
        "settings": settings,
        "system": system,
        "cases": [_result_of(case, cases[1], len(refs)) for case in cases],
    }


def _cases(source: str, refs: Sequence[ImageRef], bundle: ModelBundle, device: str) -> list[Case]:
    """The scan, and the plain loop that it is compared with, each with its right answers."""

    def scan_command(table: Path, limit: int | None) -> list[str]:
        options = ["--model", str(bundle.path), "--device", device, "--json", "--quiet"]
        return ["inspector", "scan", source, "--out", str(table), *options, *_limit(limit)]

    def loop_command(table: Path, limit: int | None) -> list[str]:
        given = [source, str(bundle.path), str(table), "--device", device]
        return ["bench.afternoon", *given, *_limit(limit)]

    def scan_loop(said: JsonObject) -> tuple[float, str]:
        return said["seconds"] - said["stage_seconds"]["start"], said["device"]

    def plain_loop(said: JsonObject) -> tuple[float, str]:
        return said["loop_seconds"], said["device"]

    spec = bundle.preprocess
    full_size = replace(spec, decode_margin=_FULL_SIZE)
    with closing(open_backend(bundle, "eager", device=device)) as eager:
        return [
            Case("scan", scan_command, scan_loop, _expected(refs, spec, eager)),
            Case("plain loop", loop_command, plain_loop, _expected(refs, full_size, eager)),
        ]


def _limit(limit: int | None) -> list[str]:
    return [] if limit is None else ["--limit", str(limit)]


def _expected(refs: Sequence[ImageRef], spec: PreprocessSpec, eager: Backend) -> Answers:
    answers: Answers = {}
    for batch in load_batches(refs, spec, batch_size=32, workers=0):
        found = iter(eager.run(batch.pixels_NHWC).p_crack_N if len(batch.pixels_NHWC) else ())
        for item in batch.items:
            p = float(next(found)) if isinstance(item, Photo) else None
            answers[display_path(item.ref.path)] = p
    return answers


def _run(case: Case, table: Path, *, limit: int | None) -> tuple[float, float]:
    """Wall seconds of one run, and those outside its loop; a failure is noted in the case."""
    started = time.perf_counter()
    command = [sys.executable, "-m", *case.command(table, limit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - started
    if ended.returncode:
        last_line = (ended.stderr.strip() or "no message").splitlines()[-1]
        case.trouble = f"exit code {ended.returncode}: {without_folders(last_line)}"
        return wall_s, wall_s
    loop_s, case.device = case.loop_of(json.loads(ended.stdout))
    return wall_s, wall_s - loop_s


def _measure(case: Case, table: Path, limit: int | None) -> None:
    """One counted run, unless the case has failed before, and the check of its table."""
    if case.trouble:
        return
    wall_s, start_up_s = _run(case, table, limit=limit)
    if case.trouble:
        return
    rows = ds.dataset(table).to_table(columns=["path", "p_crack"]).to_pylist()
    case.wall_s.append(wall_s)
    case.start_up_s.append(start_up_s)
    case.answers = {row["path"]: row["p_crack"] for row in rows}
    difference, case.trouble = compare(case.expected, case.answers, len(rows))
    case.largest_difference = max(case.largest_difference, difference)


def compare(expected: Answers, found: Answers, rows: int) -> tuple[float, str]:
    """The largest difference of a probability, and one sentence on what is wrong or nothing."""
    if found.keys() != expected.keys() or rows != len(expected):
        return 0.0, f"its table has {rows} rows, not one for each of {len(expected)} files"
    pairs = [(p, found[path]) for path, p in expected.items()]
    torn = sum((p is None) != (q is None) for p, q in pairs)
    if torn:
        return 0.0, f"it judged or refused {torn} files that should have been the other"
    differences = [abs(p - q) for p, q in pairs if p is not None and q is not None]
    wrong = sum(not difference <= PROBABILITY_TOLERANCE for difference in differences)
    largest = max(differences, default=0.0)
    if wrong:
        return largest, f"{wrong} of {rows} probabilities are wrong, by up to {largest:.2g}"
    return largest, ""


def _other_verdicts(cases: Sequence[Case], bundle: ModelBundle) -> int | None:
    """Files on which the two differ, by probability alone; None unless both have answered."""
    one, other = (case.answers for case in cases)
    if one.keys() != other.keys() or not one:
        return None

    def verdict(p: float | None) -> str | None:
        return None if p is None else verdict_of(p, bundle.thresholds)

    return sum(verdict(p) != verdict(other[path]) for path, p in one.items())


def _result_of(case: Case, reference: Case, files: int) -> JsonObject:
    """The case as it stands in results.json, with its raw times."""
    rates = [files / wall_s for wall_s in case.wall_s]
    base = [files / wall_s for wall_s in reference.wall_s]
    comparable = bool(rates) and len(rates) == len(base)
    return {
        "name": case.name,
        "status": "failed" if case.trouble else "ok",
        "reason": case.trouble,
        "device": case.device,
        "images_per_second": spread(rates) if rates else None,
        "start_up_s": spread(case.start_up_s) if rates else None,
        "ratio": spread(pairwise_ratios(rates, base)) if comparable else None,
        "ratio_of_medians": median(rates) / median(base) if comparable else None,
        "largest_difference": case.largest_difference,
        "rounds_wall_s": case.wall_s,
        "rounds_start_up_s": case.start_up_s,
    }
