"""The whole way from files to a Parquet table: `inspector scan` against other programs."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bench.cases import DEFAULT_CASES, MOST_IN_MEMORY, SCAN, TIMM, Case, chosen, try_out
from bench.checks import examine
from bench.files import link_photos, spread_evenly
from bench.mistakes import mistaken
from bench.reference import FULL_SIZE, Judge
from bench.runs import loop_seconds, read_answers, run_module
from bench.scan_report import METHOD, moved_by_decoding, result_of
from bench.stats import shuffled_rounds
from bench.system import describe_system
from inspector.backends import open_backend
from inspector.backends.device import has_nvidia_driver
from inspector.bundle import DEFAULT_PATH, ModelBundle
from inspector.data.source import Discovery
from inspector.errors import SourceError, UsageError
from inspector.scan.schema import display_path

if TYPE_CHECKING:
    from inspector.types import ImageRef, JsonObject

SEED = 0
TUNING_PHOTOS = 64
MISTAKEN = 48
"""Photos on which the reference is also given known mistakes."""
ALONE_BATCHES = (8, 32, 64)
ALONE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanBenchConfig:
    """Raises UsageError when a value cannot be right."""

    source: Path
    """A folder of photos."""
    model: Path | None = None
    cases: tuple[str, ...] = DEFAULT_CASES
    limit: int | None = None
    """Photos, spread evenly over the listing; None: all."""
    rounds: int = 3
    device: str = "auto"
    tune_peers: bool = True
    """Search timm's fastest setting first."""
    alone: bool = True
    """Measure each scan's engine alone, too."""
    scan_options: tuple[str, ...] = ()
    """Of every `inspector scan`, beside those of its case."""

    def __post_init__(self) -> None:
        chosen(self.cases)
        if self.device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"unknown device {self.device!r}; choose auto, cpu or cuda")
        if self.rounds < 1 or (self.limit is not None and self.limit < 1):
            raise UsageError("--rounds and --limit must be at least 1")


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are while the programs run."""

    bundle: ModelBundle
    device: str
    source: Path
    one_photo: Path
    few_photos: Path
    pixels: Path
    """The decoded photos for the engine alone, .npy."""
    tables: Path


def bench_scan(config: ScanBenchConfig) -> JsonObject:
    """Measure and compare; raises an InspectorError when there is nothing to measure."""
    system = describe_system()
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    device = config.device
    if device == "auto":
        device = "cuda" if has_nvidia_driver() else "cpu"
    with TemporaryDirectory(prefix="inspector-bench-") as folder:
        source, refs = _photos(config, Path(folder) / "photos")
        bench = _set_up(bundle, device, source, refs, Path(folder))
        cases = _cases(config, bench, refs)
        peers = _tune(cases, bench) if config.tune_peers else "not tuned"
        for case in cases:
            _warm_up(case, bench, alone=config.alone)
        for number, turns in enumerate(shuffled_rounds(cases, config.rounds, seed=SEED), 1):
            print(f"round {number} of {config.rounds}", file=sys.stderr)
            for case in turns:
                _measure(case, bench, number, alone=config.alone)
    settings = {
        "source": str(config.source),
        "files": len(refs),
        "model": f"{config.model or 'default'}, {bundle.digest[:12]}",
        "device": device,
        "rounds": config.rounds,
        "seed": SEED,
        "other verdicts at full size": moved_by_decoding(cases, bundle.thresholds),
        "timm setting": peers if isinstance(peers, str) else peers["best"],
    }
    return {
        "benchmark": "scan",
        "method": (*METHOD, *(f"{case.name}: {case.setting.about}" for case in cases)),
        "settings": settings,
        "system": system,
        "timm_tuning": peers,
        "cases": [result_of(case, cases, len(refs)) for case in cases],
    }


def _photos(config: ScanBenchConfig, folder: Path) -> tuple[Path, list[ImageRef]]:
    """The folder that the programs judge, and what is in it."""
    source = Path(os.path.abspath(config.source))
    refs = list(Discovery([str(source)]))
    if not refs or not source.is_dir():
        raise SourceError(f"{config.source} holds no photos; name a folder with photos")
    if config.limit is None or config.limit >= len(refs):
        return source, refs
    link_photos(spread_evenly(refs, config.limit), folder, root=source)
    return folder, list(Discovery([str(folder)]))


def _set_up(
    bundle: ModelBundle, device: str, source: Path, refs: list[ImageRef], folder: Path
) -> Bench:
    link_photos(spread_evenly(refs, TUNING_PHOTOS), folder / "few", root=source)
    (folder / "tables").mkdir()
    names = (folder / "one", folder / "few", folder / "pixels.npy", folder / "tables")
    return Bench(bundle, device, source, *names)


def _cases(config: ScanBenchConfig, bench: Bench, refs: list[ImageRef]) -> list[Case]:
    """Every case asked for, with its right answers or the reason why it cannot run."""
    print(f"judging {len(refs)} files for the comparison", file=sys.stderr)
    spec = bench.bundle.preprocess
    settings = chosen(config.cases)
    with closing(open_backend(bench.bundle, "eager", device=bench.device)) as eager:
        judge = Judge(eager, bench.bundle.thresholds, keep=spread_evenly(refs, MOST_IN_MEMORY))
        expected = judge.answers(refs, spec)
        full = expected
        if any(setting.full_size for setting in settings.values()):
            full = judge.answers(refs, replace(spec, decode_margin=FULL_SIZE))
        if not judge.kept:
            raise SourceError(f"{config.source} holds no photo that can be decoded; name another")
        readable = next(ref for ref in refs if display_path(ref.path) in judge.kept)
        link_photos([readable], bench.one_photo, root=bench.source)
        examples = dict(spread_evenly(list(judge.kept.items()), MISTAKEN))
        mistakes = mistaken(eager, examples, spec)
    np.save(bench.pixels, np.stack(list(judge.kept.values())))
    cases = []
    for name, setting in settings.items():
        if setting.module == SCAN:
            setting = replace(setting, options=setting.options + config.scan_options)
        case = Case(name, setting, full if setting.full_size else expected, mistakes)
        try_out(case, bench.bundle, bench.device)
        cases.append(case)
    return cases


def _tune(cases: list[Case], bench: Bench) -> JsonObject | str:
    """Search timm's fastest setting on a few photos and give it to its case."""
    case = next((c for c in cases if c.name == TIMM and c.status == "ok"), None)
    if case is None:
        return "not tuned"
    print(f"{TIMM}: searching its fastest setting", file=sys.stderr)
    nowhere = bench.tables / "tuning"
    run = run_module(
        [*case.command(bench.few_photos, nowhere, bench.bundle.path, bench.device), "--tune"]
    )
    if run.trouble:
        case.end("failed", run.trouble)
        return "not tuned"
    best = json.dumps(run.said["best"])
    case.setting = replace(case.setting, options=("--setting", best))
    return run.said


def _warm_up(case: Case, bench: Bench, *, alone: bool) -> None:
    """One uncounted run on one photo, and the engine's best batch size."""
    if case.status != "ok":
        print(f"{case.name}: {case.reason}", file=sys.stderr)
        return
    table = bench.tables / f"{case.name} warm-up"
    run = run_module(case.command(bench.one_photo, table, bench.bundle.path, bench.device))
    case.said = run.said
    if run.trouble:
        case.end("unavailable" if run.refused else "failed", run.trouble)
    elif alone and case.is_scan:
        said = _measure_alone(case, bench, ALONE_BATCHES, ALONE_SECONDS / len(ALONE_BATCHES))
        case.alone_batch = int(said.get("best", 0))


def _measure(case: Case, bench: Bench, number: int, *, alone: bool) -> None:
    """One counted run, unless the case has ended before, and the check of its table."""
    if case.status != "ok":
        return
    table = bench.tables / f"{case.name} {number}"
    run = run_module(case.command(bench.source, table, bench.bundle.path, bench.device))
    if run.trouble:
        case.end("failed", run.trouble)
        return
    case.said = run.said
    case.wall_s.append(run.wall_s)
    case.start_up_s.append(run.wall_s - loop_seconds(run.said))
    found, rows = read_answers(table)
    rule, thresholds = case.setting.rule, bench.bundle.thresholds
    outcome = examine(case.expected, found, rows, rule, thresholds, case.mistakes)
    case.outcomes.append(outcome)
    if outcome.trouble:
        case.end("failed", outcome.trouble)
    elif alone and case.alone_batch:
        said = _measure_alone(case, bench, (case.alone_batch,), ALONE_SECONDS)
        case.alone_rates += said.get("images_per_second", {}).values()


def _measure_alone(
    case: Case, bench: Bench, batches: tuple[int, ...], seconds: float
) -> JsonObject:
    """What `bench.alone` says about the engine that the case's last run used."""
    size = bench.bundle.preprocess.size
    said = case.said
    options = ["--backend", said["backend"], "--precision", said["precision"]]
    if any(not stage.endswith(f"@{size}") for stage in said["stages"]):
        options.append("--cascade")
    options += ["--device", bench.device, "--seconds", str(seconds)]
    options += ["--batch-sizes", json.dumps(batches)]
    run = run_module(["bench.alone", str(bench.bundle.path), str(bench.pixels), *options])
    if run.trouble:
        case.end("failed", f"its engine alone: {run.trouble}")
    return run.said
