"""What archives cost: `python -m bench.studies.archives` lists and reads the same photos as files,
in a ZIP, a tar and a `.tar.gz`, and lists a ZIP and a tar with very many members.

Times are CPU seconds of a process of its own for each, memory its largest resident set.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bench.studies.apart import measured_apart, peak_bytes
from inspector.synthesis import Kind, make_scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEED = 0
_SIDE = 1024
_PER_FOLDER = 1000
_SMALL = b"\xff\xd8\xff\xe0" + bytes(96)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=200, help="photos that are read")
    parser.add_argument("--members", type=int, default=1_000_000, help="members that are listed")
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.look:
        print(json.dumps(_look(str(options.look))))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        print(f"| {options.photos} photos of {_SIDE} px, each | listed, us | read, us |")
        for kind, path in _with_photos(place, options.photos):
            cost = measured_apart("bench.studies.archives", "--look", path)
            print(f"| {kind} | {cost['list_us']:.0f} | {cost['read_us']:.0f} |")
        print(f"| {options.members:,} members of 100 bytes, each | listed, us | found by name, us "
              "| MB at the start | listing, at most | with all places by name |")  # fmt: skip
        for kind, path in _with_many(place, options.members):
            cost = measured_apart("bench.studies.archives", "--look", path)
            memory = " | ".join(f"{cost[name]:.0f}" for name in ("start", "listing", "index"))
            print(f"| {kind} | {cost['list_us']:.1f} | {cost['find_us']:.0f} | {memory} |")


def _look(path: str) -> dict[str, float]:
    """List what is there, and read a part of it: by the places of the listing, and by uri."""
    from inspector.photos.opened import DecodeLimits
    from inspector.photos.reading import read
    from inspector.photos.source import Discovery
    from inspector.types import ImageRef

    start = _resident()
    began = time.process_time()
    count, kept = 0, []
    for ref in Discovery([path]):
        count += 1
        if count <= 1000:
            kept.append(ref)
    listed = time.process_time()
    listing = _resident()
    for ref in kept:
        read(ref, DecodeLimits())
    read_all = time.process_time()
    read(ImageRef.of(kept[0].uri), DecodeLimits())  # the first looks through the archive
    found = time.process_time()
    for ref in kept:
        read(ImageRef.of(ref.uri), DecodeLimits())
    return {
        "list_us": 1e6 * (listed - began) / count,
        "read_us": 1e6 * (read_all - listed) / len(kept),
        "find_us": 1e6 * (time.process_time() - found) / len(kept),
        "start": start,
        "listing": listing,
        "index": _resident(),
    }


def _resident() -> float:
    """Megabytes, at most until now."""
    return peak_bytes() / (1 << 20)


def _with_photos(place: Path, count: int) -> Iterator[tuple[str, Path]]:
    folder = place / "files"
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    for k in range(count):
        pixels = make_scene(rng, _SIDE, _SIDE, Kind.CRACK).pixels
        Image.fromarray(pixels).save(folder / f"{k:06}.jpg", quality=90)
    yield "files in a directory", folder
    names = sorted(folder.iterdir())
    for kind, method in (("ZIP, stored", zipfile.ZIP_STORED), ("ZIP", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(place / f"{method}.zip", "w", method) as packed:
            for name in names:
                packed.write(name, name.name)
        yield kind, place / f"{method}.zip"
    for kind, ending in (("tar", "tar"), ("tar.gz", "tgz")):
        with tarfile.open(place / f"a.{ending}", "w:gz" if ending == "tgz" else "w") as archive:
            archive.add(folder, "files")
        yield kind, place / f"a.{ending}"


def _with_many(place: Path, count: int) -> Iterator[tuple[str, Path]]:
    names = (f"flight{k // _PER_FOLDER:06}/IMG_{k:08}.jpg" for k in range(count))
    with zipfile.ZipFile(place / "many.zip", "w") as packed:
        for name in names:
            packed.writestr(zipfile.ZipInfo(name), _SMALL)
    yield "ZIP", place / "many.zip"
    with tarfile.open(place / "many.tar", "w") as archive:
        for k in range(count):
            info = tarfile.TarInfo(f"flight{k // _PER_FOLDER:06}/IMG_{k:08}.jpg")
            info.size = len(_SMALL)
            archive.addfile(info, io.BytesIO(_SMALL))
            archive.members = []  # type: ignore[attr-defined]  # it keeps each
    yield "tar", place / "many.tar"


if __name__ == "__main__":
    main()
