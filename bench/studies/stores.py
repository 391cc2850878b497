"""How fast a bucket that is far away is scanned: `python -m bench.studies.stores PHOTOS`.

The photos of a directory are scanned from the disk and from a local object store that lets every
request wait, in turn; what counts is the ratio within one run of this program, on a machine with
nothing else to do. Processor time, that of the store not among it, says the same on a busy one.
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
from typing import Annotated

import typer

from bench.faults.store import BUCKET, ObjectServer, Stored
from inspector.labelled.folder import image_paths


def main(
    photos: Annotated[Path, typer.Argument(help="A directory of photos.")],
    milliseconds: Annotated[float, typer.Option(help="That a request waits.")] = 30.0,
    rounds: int = 3,
    count: int = 1000,
    options: Annotated[str, typer.Option(help="More options of the scan.")] = "",
) -> None:
    """Compare photos per second from a directory and from a bucket."""
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
        sources = {"directory": str(near), "bucket": f"s3://{BUCKET}/"}
        rates: dict[str, list[float]] = {name: [] for name in sources}
        for _ in range(rounds):
            for name, source in sources.items():
                rates[name].append(_rate(source, Path(folder) / "out", server, options.split()))
                print(f"{name:<10} {rates[name][-1]:8.1f} photos/s", flush=True)
    ratio = median(rates["bucket"]) / median(rates["directory"])
    print(f"bucket / directory: {ratio:.2f} at {milliseconds:g} ms, {len(paths)} photos")


def _rate(source: str, out: Path, server: ObjectServer, options: list[str]) -> float:
    """Photos per second of a scan, from the first to the last; prints its processor time."""
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
    print(f"{'':<10} {1000 * spent / summary['discovered']:8.1f} ms of processor time a photo")
    seconds = summary["seconds"] - summary["stage_seconds"].get("start", 0.0)
    rate: float = summary["discovered"] / seconds
    return rate


if __name__ == "__main__":
    typer.run(main)
