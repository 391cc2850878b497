"""Decoding in many threads at once: the same answers as alone, and not a word from Pillow."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image

from tests.photos.files import ORIENTATION, encoded, png_chunk, surface

PROGRAM = """
import sys, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from PIL import Image
from inspector.photos.decode import decode
from inspector.photos.opened import DecodeLimits
from inspector.model.preprocess import PreprocessSpec
from inspector.types import Decoded, ImageRef

Image.MAX_IMAGE_PIXELS = 1000  # a warning for nearly every file
spec = PreprocessSpec(size=32)
limits = DecodeLimits(max_pixels=2000)
refs = [ImageRef(0, str(path), "", None, None) for path in sorted(Path(sys.argv[1]).iterdir())]
together = Barrier(8)

def answer(ref):
    outcome = decode(ref, spec, limits)
    if isinstance(outcome, Decoded):
        return outcome.facts, outcome.shrink, outcome.pixels_HWC.tobytes()
    return outcome

def all_answers(shift):
    together.wait()
    order = [(k * 5 + shift) % len(refs) for k in range(len(refs))]
    return [dict(sorted((k, answer(refs[k])) for k in order)) for _ in range(20)]

with ThreadPoolExecutor(8) as pool:  # first, so that Pillow meets every format in a thread
    found = list(pool.map(all_answers, range(8)))
alone = {k: answer(ref) for k, ref in enumerate(refs)}
assert all(answers == alone for many in found for answers in many)
failed = [Path(refs[k].path).name for k, outcome in alone.items() if not isinstance(outcome, tuple)]
assert failed == sys.argv[2:], failed
try:
    warnings.warn("still heard")
except UserWarning:
    print("still heard")
"""


def odd_files() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Files that decode, most of them with a warning, and files that do not."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x0132] = "2024:05:06 07:08:09"
    palette = surface(33, 33).quantize(16)
    tile = encoded(surface(33, 33), "JPEG")
    jpeg = encoded(surface(40, 33), "JPEG", exif=exif)
    png = encoded(surface(40, 40), "PNG")
    tiff = encoded(surface(40, 40), "TIFF", compression="tiff_lzw", exif=exif)
    several = encoded(
        surface(40, 40), "MPO", save_all=True, append_images=[surface(40, 40), surface(40, 40)]
    )
    good = {
        "tile": encoded(surface(32, 32), "JPEG"),
        "jpeg": jpeg,
        "EXIF that claims too much": jpeg.replace(b"*\0\0\0\x08\0\x02", b"*\0\0\0\x08\0\x09"),
        "mpo": several,
        "mpo without a list": several.replace(b"MPF\0", b"MPF\0\xff", 1),
        "apng": png[:33] + png_chunk(b"acTL", bytes(8)) + png[33:],
        "palette": encoded(palette, "PNG", transparency=bytes(range(16))),
        "webp": encoded(surface(40, 40), "WEBP"),
        "gif": encoded(surface(40, 40), "GIF"),
        "bmp": encoded(surface(40, 40), "BMP"),
        "tiff": tiff,
    }
    bad = {
        "cut tile": tile[:-100],
        "cut png": png[: len(png) // 2],
        "cut tiff": tiff[: len(tiff) // 2],
        "text": b"text",
        "bomb": encoded(Image.new("L", (60, 60)), "PNG"),
    }
    return good, bad


@pytest.mark.timeout(120)
def test_eight_threads_with_warnings_as_errors(tmp_path):
    good, bad = odd_files()
    for name, data in {**good, **bad}.items():
        (tmp_path / name).write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, tmp_path, *sorted(bad)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "still heard\n"
    assert run.stderr == ""
