"""Photos for scans that are killed: what a user names, or samples and synthetic ones."""

from __future__ import annotations

import shutil
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import bench
from export.photos import spread_evenly
from inspector.errors import SourceError
from inspector.photos.source import Discovery
from inspector.synthesis import Kind, make_scene

if TYPE_CHECKING:
    from inspector.types import JsonObject

_ENCODINGS: tuple[tuple[str, JsonObject], ...] = (
    (".jpg", {"quality": 90}),
    (".jpg", {"quality": 85, "progressive": True}),
    (".png", {}),
    (".webp", {"quality": 90}),
)
_SAMPLES = Path(bench.__file__).parents[1] / "samples"
"""Of the repository; an installed package has none."""
_LARGE_BYTES = 1 << 20
"""A photo of many megapixels would only make a scan longer that is repeated hundreds of times."""


def gather_photos(folder: Path, count: int, *, source: Path | None, seed: int) -> str:
    """Put `count` photos into `folder`, every 16th broken; returns a sentence on their origin.
    Raises SourceError when `source` holds none."""
    folder.mkdir(parents=True)
    if source is None:
        found = sorted(_SAMPLES.glob("*_*.*g")) if _SAMPLES.is_dir() else []
        files = [file for file in found if file.stat().st_size < _LARGE_BYTES][:count]
        origin = f"{len(files)} samples of the project, the others made by inspector.synthesis"
    else:
        files = [Path(ref.path) for ref in spread_evenly(list(Discovery([str(source)])), count)]
        origin = f"{len(files)} files from {source}"
        if not files:
            raise SourceError(f"{source} holds no photos; name a folder with photos")
    for number, file in enumerate(files):
        shutil.copy2(file, folder / f"{number:04} {file.name}")
    if source is None:
        make_photos(folder, count - len(files), seed=seed)
    return origin


def make_photos(folder: Path, count: int, *, seed: int, side: int = 240) -> None:
    """Synthetic photos of about `side` pixels in several formats, every 16th cut short."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number, (suffix, options) in enumerate(islice(cycle(_ENCODINGS), count)):
        kind = tuple(Kind)[number % len(Kind)]
        scene = make_scene(rng, side, side + number % 7, kind)
        file = folder / f"made {number:04}{suffix}"
        Image.fromarray(scene.pixels).save(file, **options)
        if number % 16 == 15:
            content = file.read_bytes()
            file.write_bytes(content[: len(content) // 2])
