"""Regenerate or verify the sample images: `python -m samples.make [--check] [--out DIR]`.

Every image is synthetic and seeded. The prefix of a name is the truth: `crack_` shows a crack,
`clear_` shows none, and `broken_` is no readable image.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from inspector.synthesis import make_scene
from samples.table import SAMPLES, Damage, Sample

__all__ = ["SAMPLES", "build", "check", "main", "truth", "write"]

Truth = Literal["crack", "clear", "broken"]

_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})

_TRUNCATED_SHARE = 0.4
"""Share of the bytes that a cut-off transfer left of the truncated JPEG."""

_TEXT = b"This is a text file that somebody renamed to .jpg.\n"

# Numbers of the EXIF 2.3 specification.
_MAKE, _MODEL, _ORIENTATION, _DATE_TIME = 0x010F, 0x0110, 0x0112, 0x0132
_EXIF_IFD, _DATE_TIME_ORIGINAL = 0x8769, 0x9003
_GPS_IFD = 0x8825

_TAKEN_AT = "2024:05:17 10:42:08"

_TURNS = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""How to turn an upright image so that a viewer obeying the orientation turns it back."""


def truth(name: str) -> Truth:
    """What a file name promises. Raises ValueError if its prefix is none of the three."""
    prefix = name.partition("_")[0]
    if prefix == "crack":
        return "crack"
    if prefix == "clear":
        return "clear"
    if prefix == "broken":
        return "broken"
    raise ValueError(f"{name}: a sample's name starts with crack_, clear_ or broken_")


def build(name: str) -> bytes:
    """Render and encode one sample. Raises ValueError if the table has no such name."""
    for sample in SAMPLES:
        if sample.name == name:
            return _damaged(sample)
    raise ValueError(f"{name}: no such sample")


def write(directory: Path) -> list[Path]:
    """Write every sample into `directory`, which is created; returns the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / sample.name for sample in SAMPLES]
    for path in paths:
        path.write_bytes(build(path.name))
    return paths


def check(directory: Path) -> list[str]:
    """Differences between the table and `directory`: one line per file, empty if none."""
    names = [sample.name for sample in SAMPLES]
    found = {path.name for path in directory.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES}
    problems = [f"extra: {name}" for name in sorted(found - set(names))]
    for name in names:
        if name not in found:
            problems.append(f"missing: {name}")
        elif (directory / name).read_bytes() != build(name):
            problems.append(f"differs: {name}")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, 1 if a check finds a difference."""
    options = _parser().parse_args(arguments)
    directory: Path = options.out
    if not options.check:
        paths = write(directory)
        total_kb = sum(path.stat().st_size for path in paths) / 1000.0
        print(f"{len(paths)} samples, {total_kb:.0f} kB, in {directory}")
        return 0
    if not directory.is_dir():
        print(f"missing: {directory} is no directory", file=sys.stderr)
        return 1
    problems = check(directory)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        # Encoders change between releases, and then every file differs.
        versions = f"Pillow {PIL.__version__}, numpy {np.__version__}"
        print(f"{len(problems)} of the samples do not match ({versions})", file=sys.stderr)
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m samples.make", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="compare the files byte for byte, write nothing"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).resolve().parent,
        metavar="DIR",
        help="directory of the samples (default: next to this file)",
    )
    return parser


def _damaged(sample: Sample) -> bytes:
    if sample.damage is Damage.EMPTY:
        return b""
    if sample.damage is Damage.TEXT:
        return _TEXT
    encoded = _encoded(sample)
    if sample.damage is Damage.TRUNCATED:
        return encoded[: int(len(encoded) * _TRUNCATED_SHARE)]
    return encoded


def _encoded(sample: Sample) -> bytes:
    image = _image(sample)
    buffer = io.BytesIO()
    exif = _exif(sample)
    if sample.name.endswith(".png"):
        image.save(buffer, "PNG", optimize=False, compress_level=9)
    else:
        image.save(buffer, "JPEG", quality=sample.quality, exif=exif)
    return buffer.getvalue()


def _image(sample: Sample) -> Image.Image:
    rng = np.random.default_rng(sample.seed)
    scene = make_scene(
        rng,
        sample.height,
        sample.width,
        sample.kind,
        crack=sample.crack,
        surface=sample.surface,
    )
    image = Image.fromarray(scene.pixels)
    if sample.orientation in _TURNS:
        image = image.transpose(_TURNS[sample.orientation])
    if sample.mode == "L":
        return image.convert("L")
    if sample.mode == "P":
        return image.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return image


def _exif(sample: Sample) -> Image.Exif:
    exif = Image.Exif()
    if sample.orientation != 1:
        exif[_ORIENTATION] = sample.orientation
    if sample.camera:
        exif[_MAKE] = "inspector"
        exif[_MODEL] = "samples generator"
        exif[_DATE_TIME] = _TAKEN_AT
        exif[_EXIF_IFD] = {_DATE_TIME_ORIGINAL: _TAKEN_AT}
        exif[_GPS_IFD] = _gps()
    return exif


def _gps() -> dict[int, object]:
    """A made-up place, 51.0504 N 13.7373 E at 112.5 m, in degrees, minutes and seconds."""
    return {
        1: "N",
        2: (IFDRational(51, 1), IFDRational(3, 1), IFDRational(144, 100)),
        3: "E",
        4: (IFDRational(13, 1), IFDRational(44, 1), IFDRational(1428, 100)),
        5: b"\x00",
        6: IFDRational(1125, 10),
    }


if __name__ == "__main__":
    raise SystemExit(main())
