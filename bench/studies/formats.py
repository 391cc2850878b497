"""Study of what each format of photos costs to decode at its own scale: seconds and peak memory of
a process that does nothing else."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bench.faults.negatives import dng
from bench.report.wording import figure
from bench.studies.apart import measured_apart, peak_bytes
from inspector.model.preprocess import PreprocessSpec, Views
from inspector.photos.decode import decode
from inspector.photos.formats import decodable
from inspector.types import Decoded, ImageRef, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.studies.report import Columns
    from inspector.types import JsonObject

KINDS = ("jpeg", "png", "tiff", "tiff one strip", "bigtiff deflate", "bigtiff jpeg", "avif", "heic",
         "dng")  # fmt: skip
_NEEDS = {"heic": "HEIF", "dng": "camera raw", "avif": "AVIF"}
SEED = 0

METHOD = (
    "One smooth synthetic photo of 4:3 with noise of 6 grey levels, written in each format (JPEG, "
    "HEIC and AVIF at quality 90; deflate and JPEG in tiles of 512 and 256 px) and decoded to all "
    "of its upright RGB pixels, as a scan at native scale does, each time in a new process.",
    "seconds: median of the decodings, reading and hashing included, without the start. peak MiB: "
    "the highest resident memory of the process, Python included; of it the pixels take 3 bytes "
    "per pixel.",
)
COLUMNS: Columns = {
    "format": lambda case: str(case["kind"]),
    "MP": lambda case: f"{case['megapixels']:g}",
    "file MiB": lambda case: figure(case["file_mib"]),
    "seconds": lambda case: figure(median(case["seconds"])),
    "peak MiB": lambda case: f"{max(case['peak_mib']):.0f}",
    "pixels MiB": lambda case: f"{case['pixels_mib']:.0f}",
}


def bench_formats(megapixels: Sequence[int], rounds: int) -> JsonObject:
    """Measure every format that can be decoded here."""
    kinds = [kind for kind in KINDS if _NEEDS.get(kind) in (None, *decodable())]
    cases = []
    with TemporaryDirectory(prefix="inspector-bench-") as folder:
        for size in megapixels:
            height = int((size * 1e6 * 3 / 4) ** 0.5) // 2 * 2
            pixels_HWC = _photo(height * 4 // 3 // 2 * 2, height)
            for kind in kinds:
                print(f"{kind}, {size:g} MP", file=sys.stderr)
                path = Path(folder) / "photo"
                _write(kind, pixels_HWC, path)
                runs = [measured_apart("bench.studies.formats", path) for _ in range(rounds)]
                cases.append(
                    {
                        "kind": kind,
                        "megapixels": size,
                        "status": "ok",
                        "reason": "",
                        "file_mib": path.stat().st_size / 2**20,
                        "pixels_mib": pixels_HWC.nbytes / 2**20,
                        "seconds": [run["seconds"] for run in runs],
                        "peak_mib": [run["peak_mib"] for run in runs],
                    }
                )
    return {
        "benchmark": "formats",
        "method": METHOD,
        "settings": {"rounds": rounds, "seed": SEED},
        "cases": cases,
    }


def _photo(width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(SEED)
    smooth = rng.integers(80, 180, (height // 64 + 2, width // 64 + 2, 3), dtype=np.uint8)
    pixels_HWC = np.array(Image.fromarray(smooth).resize((width, height)))
    for top in range(0, height, 512):
        rows_HWC = pixels_HWC[top : top + 512]
        rows_HWC += rng.integers(0, 7, (*rows_HWC.shape[:2], 1), dtype=np.uint8)
    return pixels_HWC


def _write(kind: str, pixels_HWC: np.ndarray, path: Path) -> None:
    import tifffile

    if kind in ("jpeg", "png", "avif", "heic"):
        if kind == "heic":
            import pillow_heif

            pillow_heif.register_heif_opener()
        form = "HEIF" if kind == "heic" else kind.upper()
        options: dict[str, Any] = {"speed": 9} if kind == "avif" else {}
        Image.fromarray(pixels_HWC).save(path, form, quality=90, compress_level=1, **options)
    elif kind == "dng":
        path.write_bytes(dng(pixels_HWC))
    else:
        layouts: dict[str, dict[str, Any]] = {
            "tiff": {"rowsperstrip": 16},
            "tiff one strip": {"rowsperstrip": len(pixels_HWC)},
            "bigtiff deflate": {"tile": (512, 512), "compression": "deflate", "predictor": True},
            "bigtiff jpeg": {"tile": (256, 256), "compression": "jpeg"},
        }
        options = layouts[kind]
        is_big = kind.startswith("big")
        tifffile.imwrite(path, pixels_HWC, photometric="rgb", bigtiff=is_big, **options)


def main(path: str) -> None:
    """Decode a photo at its own scale, and print what it cost."""
    started = time.perf_counter()
    outcome = decode(ImageRef.of(path), PreprocessSpec(), views=Views(View.DENSE))
    seconds = time.perf_counter() - started
    assert isinstance(outcome, Decoded), outcome
    print(json.dumps({"seconds": seconds, "peak_mib": peak_bytes() / 2**20}))


if __name__ == "__main__":
    main(*sys.argv[1:])
