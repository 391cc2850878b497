"""What peers have in common: arguments, photos, tiles of large ones, table and last words.

Tiles have the model's size and overlap by a fifth, the last of each row and column aligned to the
border; a photo's probability is the mean over them, as Ultralytics documents for classification.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageOps

from inspector.photos.formats import named_like_an_image

BATCH = 32
OVERLAP = 0.2
"""Share of a tile's side that it has in common with its neighbour; the default of the tools that
cut photos up (SAHI, Ultralytics)."""


def peer_arguments() -> argparse.ArgumentParser:
    """Parser of `SOURCE BUNDLE TABLE [--device cpu|cuda] [--tiles]`."""
    parser = argparse.ArgumentParser()
    for name in ("source", "bundle", "table"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiles", action="store_true", help="cut photos into tiles")
    return parser


def photos_in(folder: Path) -> list[Path]:
    """Files named like images, at any depth, sorted."""
    files = (f for f in folder.rglob("*") if f.is_file() and named_like_an_image(f.name))
    return sorted(files)


def finish(
    table: Path,
    paths: Sequence[object],
    probabilities: Sequence[float | None],
    *,
    started: float,
    device: str,
) -> None:
    """Write the table of a peer, one row per photo (None: it could not be judged), and print the
    seconds since `started` (time.perf_counter) as JSON."""
    columns = {
        "path": pa.array(list(map(str, paths)), pa.string()),
        "p_crack": pa.array(probabilities, pa.float32()),
    }
    with table.open("wb") as stream:
        pq.write_table(pa.table(columns), stream)
    print(json.dumps({"loop_seconds": time.perf_counter() - started, "device": device}))


def judge_photo(
    path: Path, size: int, judge: Callable[[NDArray[np.uint8]], Sequence[float]]
) -> float | None:
    """Mean probability over a photo's tiles, of which `judge` takes some at a time, uint8 (N, size,
    size, 3); None for a file that cannot be read."""
    photo_HWC = read_photo(path, size)
    if photo_HWC is None:
        return None
    tiles_NHWC = cut(photo_HWC, size)
    parts = [judge(tiles_NHWC[at : at + BATCH]) for at in range(0, len(tiles_NHWC), BATCH)]
    return float(np.concatenate(parts).mean(dtype=np.float64))


def read_photo(path: Path, least: int) -> NDArray[np.uint8] | None:
    """Upright pixels at full size, uint8 (H, W, 3), sides of at least `least`; None for a file that
    cannot be read."""
    try:
        with Image.open(path) as opened:
            photo = ImageOps.exif_transpose(opened.convert("RGB"))
            if min(photo.size) < least:
                photo = ImageOps.pad(photo, (max(photo.width, least), max(photo.height, least)))
            return np.asarray(photo)
    except Exception:  # Pillow raises many types on damaged files
        return None


def cut(photo_HWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """All tiles of a photo with sides of at least `size`, in reading order, uint8 (N, size, size,
    3)."""
    step = round(size * (1 - OVERLAP))
    rows, columns = (
        sorted({*range(0, side - size + 1, step), side - size}) for side in photo_HWC.shape[:2]
    )
    return np.stack([photo_HWC[y : y + size, x : x + size] for y in rows for x in columns])
