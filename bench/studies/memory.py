"""Study of a scan's cost besides the arithmetic, at several numbers of files: peak memory, time to
the first verdict, time per file, and all of it again when everything is done already."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bench.processes import run_watched, without_folders
from bench.report.wording import figure
from bench.studies.done_table import make_done_table
from bench.studies.tiny_bundle import SIZE, make_tiny_bundle
from export.photos import spread_evenly
from inspector.core.untrusted import take_paths
from inspector.errors import SourceError, UsageError
from inspector.photos.source import Discovery
from inspector.synthesis import Kind, make_scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.processes import Watched
    from bench.studies.report import Columns
    from inspector.types import JsonObject

SEED = 0
SEEDS = 16
"""Different files that all others are links to; ext4 allows 65,000 links to one."""
TILE = 64
"""Side of a generated tile, pixels."""
NEW, RESUMED, BESIDE = "new", "resumed", "done before"

METHOD = (
    f"Trees of hard links to {SEEDS} tiles, scanned by inspector.scan in its defaults on the "
    f"CPU, each in a new process. So that 200,000 files take minutes and not hours, the model is "
    f"ResNet18 with random weights at {SIZE} px input, made by the project's own network and "
    "export code: listing, decoding, judging, writing and resuming are all real, only the "
    "network's arithmetic costs next to nothing.",
    "peak MiB: the highest sum, sampled 5 times a second, of the memory of the scan's process and "
    "all it starts (Pss, in which shared pages count once).",
    "first s: from the start of the process to the first judged batch. us/file: wall time after "
    "start-up per file; cpu us/file: processor time of all processes, start-up included.",
    f"{RESUMED}: the same call again, when the table has every row. ratio: peak MiB against the "
    "smallest tree's of the same kind.",
    f"{BESIDE}: a scan of the {SEEDS} tiles into a table that has this many rows of other files, "
    "made without a scan; us/file is the wall time of the whole run per such row.",
)

COLUMNS: Columns = {
    "case": lambda case: str(case["name"]),
    "peak MiB": lambda case: figure(case["peak_mib"]),
    "ratio": lambda case: figure(case["ratio"]),
    "first s": lambda case: figure(case["first_verdict_s"]),
    "us/file": lambda case: figure(case["us_per_file"]),
    "cpu us/file": lambda case: figure(case["cpu_us_per_file"]),
    "status": lambda case: str(case["status"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """Raises UsageError when a value cannot be right."""

    tiles: Path | None = None
    """A folder of photos; None: tiles made by the project's generator."""
    sizes: tuple[int, ...] = (10_000, 200_000)
    per_folder: int = 1000
    """Files in one directory, whose names a listing holds in memory together."""
    rounds: int = 1
    done_rows: tuple[int, ...] = ()
    """Tables of so many rows, into which a scan of a few other files goes."""

    def __post_init__(self) -> None:
        take_paths(self)
        least = min(*self.sizes, *self.done_rows, self.per_folder, self.rounds, 1)
        if not self.sizes or least < 1:
            raise UsageError("--sizes, --per-folder, --rounds and --done-rows must be at least 1")


@dataclass(slots=True)
class Case:
    """A tree of `files`, scanned as `kind`; one entry of `runs` per round."""

    files: int
    kind: str
    status: str = "ok"
    reason: str = ""
    runs: list[JsonObject] = field(default_factory=list)


def bench_memory(config: MemoryConfig) -> JsonObject:
    """Measure every size; raises an InspectorError when there is nothing to measure."""
    sizes = sorted(set(config.sizes))
    cases = [Case(files, kind) for files in sizes for kind in (NEW, RESUMED)]
    cases += [Case(rows, BESIDE) for rows in sorted(set(config.done_rows))]
    with TemporaryDirectory(prefix="inspector-bench-") as folder:
        seeds, origin = _seeds(config.tiles, Path(folder) / "seeds")
        bundle = make_tiny_bundle(Path(folder) / "model")
        model = bundle.path
        # Uncounted: reads libraries from disk, and lets the scan find out what suits this machine.
        run_watched(_command(seeds[0].parent, Path(folder) / "table warm-up", model))
        for files in sizes:
            print(f"{files:,} files", file=sys.stderr)
            tree = Path(folder) / f"tree {files}"
            link_many(seeds, tree, files, per_folder=config.per_folder)
            for number in range(config.rounds):
                table = Path(folder) / f"table {files} {number}"
                for case in (c for c in cases if c.files == files):
                    _measure(case, tree, table, model)
        for case in (c for c in cases if c.kind == BESIDE):
            print(f"{case.files:,} rows", file=sys.stderr)
            for number in range(config.rounds):
                table = Path(folder) / f"done {case.files} {number}"
                make_done_table(table, case.files, bundle)
                _measure(case, seeds[0].parent, table, model)
    settings = {
        "tiles": origin,
        "files": sizes,
        "files per folder": config.per_folder,
        "rounds": config.rounds,
        "rows done before": list(config.done_rows),
        "model": f"random ResNet18, {SIZE} px",
    }
    return {
        "benchmark": "memory",
        "method": METHOD,
        "settings": settings,
        "cases": [_result_of(case, cases) for case in cases],
    }


def _seeds(tiles: Path | None, folder: Path) -> tuple[list[Path], str]:
    """Tiles on the file system of the trees, and a sentence on their origin."""
    folder.mkdir()
    if tiles is None:
        rng = np.random.default_rng(SEED)
        for number, kind in enumerate(islice(cycle(Kind), SEEDS)):
            scene = make_scene(rng, TILE, TILE, kind)
            Image.fromarray(scene.pixels).save(folder / f"{number:02}.jpg", quality=90)
        return sorted(folder.iterdir()), f"{SEEDS} of {TILE} px made by inspector.synthesis"
    refs = spread_evenly(list(Discovery([str(tiles)])), SEEDS)
    if not refs:
        raise SourceError(f"{tiles} holds no photos; name a folder with photos")
    for number, ref in enumerate(refs):
        copy = folder / f"{number:02}{Path(ref.path).suffix}"
        copy.write_bytes(Path(ref.path).read_bytes())
    return sorted(folder.iterdir()), f"{len(refs)} files from {tiles}"


def _command(tree: Path, table: Path, model: Path) -> list[str]:
    return [sys.executable, "-m", "bench.studies.watched_scan", str(tree), str(table), str(model)]


def _measure(case: Case, tree: Path, table: Path, model: Path) -> None:
    if case.status != "ok":
        return
    ended = run_watched(_command(tree, table, model))
    if ended.returncode:
        last_line = (ended.stderr.strip() or "no message").splitlines()[-1]
        reason = f"exit code {ended.returncode}: {without_folders(last_line)}"
        case.status, case.reason = "failed", reason
        return
    said = json.loads(ended.stdout)
    case.runs.append(_figures(case, ended, said))
    case.reason = wrong_counts(case.kind, case.files, said)
    case.status = "failed" if case.reason else "ok"


def wrong_counts(kind: str, files: int, said: JsonObject) -> str:
    """One sentence when a summary does not account for every file, else nothing."""
    tiles = said["discovered"]
    right = {NEW: (files, 0, files), RESUMED: (0, files, files), BESIDE: (tiles, 0, files + tiles)}
    found = (said["run"]["ok"], said["already_done"], said["table"]["rows"])
    if found == right[kind]:
        return ""
    return f"of {files} files, {found[0]} were judged, {found[1]} were done, {found[2]} have rows"


def _figures(case: Case, ended: Watched, said: JsonObject) -> JsonObject:
    first_at = said["first_verdict_at"]
    after_start_s = said["seconds"] - said["stage_seconds"].get("start", 0.0)
    return {
        "peak_mib": ended.peak_mib,
        "most_processes": ended.most_processes,
        "samples": ended.samples,
        "wall_s": ended.wall_s,
        "first_verdict_s": None if first_at is None else first_at - ended.started_at,
        # Resuming is mostly the listing, which is part of the start.
        "us_per_file": 1e6 * (after_start_s if case.kind == NEW else ended.wall_s) / case.files,
        "cpu_us_per_file": 1e6 * (said["cpu_seconds"] or 0.0) / case.files,
        "cpu_seconds": said["cpu_seconds"],
        "stage_seconds": said["stage_seconds"],
        "workers": said["workers"],
        "batch_size": said["batch_size"],
    }


def _result_of(case: Case, cases: Sequence[Case]) -> JsonObject:
    """The case's worst run by memory, as it stands in results.json."""
    worst = _worst(case)
    base = next((_worst(c) for c in cases if c.kind == case.kind and c.status == "ok"), {})
    return {
        "name": f"{case.files:,} {case.kind}",
        "status": case.status,
        "reason": case.reason,
        "files": case.files,
        "kind": case.kind,
        "peak_mib": worst.get("peak_mib"),
        "first_verdict_s": worst.get("first_verdict_s"),
        "us_per_file": worst.get("us_per_file"),
        "cpu_us_per_file": worst.get("cpu_us_per_file"),
        "ratio": _ratio(worst.get("peak_mib"), base.get("peak_mib")),
        "runs": case.runs,
    }


def _worst(case: Case) -> JsonObject:
    return max(case.runs, key=lambda run: run["peak_mib"] or 0.0, default={})


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value and base else None


def link_many(seeds: Sequence[Path], folder: Path, count: int, *, per_folder: int) -> None:
    """`count` hard links to `seeds` in turn, `per_folder` in each of `folder`'s own folders. Where
    a file system allows no (more) links to a file, a copy takes the seed's place."""
    sources = list(seeds)
    for number in range(count):
        own = folder / f"{number // per_folder:06}"
        if number % per_folder == 0:
            own.mkdir(parents=True)
        turn = number % len(sources)
        place = own / f"{number:09}{sources[turn].suffix}"
        try:
            os.link(sources[turn], place)
        except OSError:
            shutil.copyfile(sources[turn], place)
            sources[turn] = place
