"""How fast a bucket that is far away is scanned: `python -m bench.studies.stores PHOTOS`.

The photos of a directory are scanned from the disk and from a local object store that lets every
request wait, in turn, once by the shipped model and once by one whose arithmetic costs next to
nothing. Photos by the clock are of use on a machine with nothing else to do. On a busy one two
other figures hold: the engine's share of the time, which falls when it waits for photos and not
when everything is slow, and how many photos the bucket gives where no engine holds it up.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import typer

from bench.faults.store import BUCKET, ObjectServer, Stored
from bench.studies.tiny_bundle import make_tiny_bundle
from inspector.labelled.folder import image_paths


class Run(NamedTuple):
    """What a scan of all photos took, from the first to the last."""

    per_second: float
    cpu_ms: float
    """Of processor time a photo, start-up included, that of the store not."""
    engine: float
    """Share of the time in which the engine worked."""


def main(
    photos: Annotated[Path, typer.Argument(help="A directory of photos.")],
    milliseconds: Annotated[float, typer.Option(help="That a request waits.")] = 30.0,
    rounds: int = 3,
    count: int = 1000,
    options: Annotated[str, typer.Option(help="More options of the scans.")] = "",
) -> None:
    """Compare scans of a directory and of a bucket."""
    paths = [Path(path) for path in islice(image_paths(photos), count)]
    server = ObjectServer(
        milliseconds / 1000,
        {f"{place:06}{path.suffix}": Stored(path.read_bytes()) for place, path in enumerate(paths)},
    )
    with server, tempfile.TemporaryDirectory() as folder:
        near = Path(folder) / "near"
        near.mkdir()
        for name, stored in server.objects.items():
            (near / name).write_bytes(stored.body)
        tiny = make_tiny_bundle(Path(folder) / "tiny").path
        models = {
            "model": options.split(),
            "no model": ["--model", str(tiny), "--view", "whole"],
        }
        sources = {"directory": str(near), "bucket": f"s3://{BUCKET}/"}
        print(f"{len(paths)} photos, {milliseconds:g} ms a request")
        for name, own in models.items():
            runs: dict[str, list[Run]] = {kind: [] for kind in sources}
            for _ in range(rounds):
                for kind, source in sources.items():
                    run = _scan(source, Path(folder) / "out", server, own)
                    runs[kind].append(run)
                    _tell(name, kind, run)
            _compare(name, runs)


def _tell(name: str, kind: str, run: Run) -> None:
    load = os.getloadavg()[0]
    print(
        f"{name:<9} {kind:<10} {run.per_second:8.1f} photos/s {run.cpu_ms:7.2f} ms of processor "
        f"time each, engine at work {run.engine:6.1%}, load {load:.1f}",
        flush=True,
    )


def _compare(name: str, runs: dict[str, list[Run]]) -> None:
    pairs = list(zip(runs["bucket"], runs["directory"], strict=True))
    clock = median(far.per_second / near.per_second for far, near in pairs)
    engine = median(far.engine / near.engine for far, near in pairs)
    print(
        f"{name}: bucket / directory {clock:.3f} by the clock, {engine:.3f} by the engine's share"
    )


def _scan(source: str, out: Path, server: ObjectServer, options: list[str]) -> Run:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "inspector", "scan", source, "--out", str(out), "--overwrite",
         "--quiet", "--json", *options],
        env=os.environ | server.environment,
        stdout=subprocess.PIPE,
        check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    summary = json.loads(done.stdout)
    count, seconds = summary["discovered"], summary["seconds"]
    seconds -= summary["stage_seconds"].get("start", 0.0)
    return Run(count / seconds, 1000 * spent / count, summary["engine_seconds"] / seconds)


if __name__ == "__main__":
    typer.run(main)
