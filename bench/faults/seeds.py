"""Small intact photos in many encodings: what mutants are made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from inspector.synthesis import Kind, make_scene

if TYPE_CHECKING:
    from inspector.types import JsonObject

_ORIENTATION = 0x0112
_SIDEWAYS = 6
"""EXIF 2.3: to be turned by 90 degrees."""


@dataclass(frozen=True, slots=True)
class Seed:
    """An intact file."""

    name: str
    suffix: str
    """As it should end, by its format."""
    content: bytes


@dataclass(frozen=True, slots=True)
class _Encoding:
    name: str
    format: str
    mode: str = "RGB"
    width: int = 200
    height: int = 160
    options: JsonObject | None = None


_ENCODINGS = (
    _Encoding("baseline", "JPEG", options={"quality": 90}),
    _Encoding("cropped", "JPEG", width=227, height=227, options={"quality": 90}),
    _Encoding("shrunk", "JPEG", width=1000, height=960, options={"quality": 60}),
    _Encoding("full colour", "JPEG", options={"quality": 80, "subsampling": 0}),
    _Encoding("progressive", "JPEG", options={"quality": 85, "progressive": True}),
    _Encoding("restarts", "JPEG", options={"quality": 85, "restart_marker_rows": 1}),
    _Encoding("grey", "JPEG", "L", options={"quality": 85, "optimize": True}),
    _Encoding("CMYK", "JPEG", "CMYK", options={"quality": 85}),
    _Encoding("sideways", "JPEG", options={"quality": 85, "exif": _SIDEWAYS}),
    _Encoding("RGB", "PNG", width=100, height=80),
    _Encoding("palette", "PNG", "P", options={"transparency": 3}),
    _Encoding("alpha", "PNG", "LA", width=100, height=80),
    _Encoding("16 bit", "PNG", "I;16", width=100, height=80),
    _Encoding("bits", "PNG", "1"),
    _Encoding("raw", "TIFF", width=100, height=80),
    _Encoding("LZW", "TIFF", width=100, height=80, options={"compression": "tiff_lzw"}),
    _Encoding("deflate", "TIFF", "L", options={"compression": "tiff_adobe_deflate"}),
    _Encoding("packed", "TIFF", "P", options={"compression": "packbits"}),
    _Encoding("fax", "TIFF", "1", options={"compression": "group4"}),
    _Encoding("JPEG inside", "TIFF", options={"compression": "jpeg"}),
    _Encoding("lossy", "WEBP", options={"quality": 85}),
    _Encoding("lossless", "WEBP", width=100, height=80, options={"lossless": True}),
    _Encoding("alpha", "WEBP", "RGBA", options={"quality": 70}),
    _Encoding("animated", "WEBP", width=100, height=80, options={"save_all": True}),
)
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp"}


@cache
def make_seeds(seed: int = 0) -> tuple[Seed, ...]:
    """One intact file per encoding, 1 to 80 kB each."""
    rng = np.random.default_rng(seed)
    return tuple(_encode(encoding, rng) for encoding in _ENCODINGS)


def _encode(encoding: _Encoding, rng: np.random.Generator) -> Seed:
    scene = make_scene(rng, encoding.height, encoding.width, next(iter(Kind)))
    image = _as_mode(Image.fromarray(scene.pixels), encoding.mode)
    options = dict(encoding.options or {})
    if "exif" in options:
        exif = Image.Exif()
        exif[_ORIENTATION] = options["exif"]
        options["exif"] = exif
    if options.get("save_all"):
        options["append_images"] = [image.rotate(180)]
    stream = BytesIO()
    image.save(stream, encoding.format, **options)
    name = f"{encoding.format} {encoding.name}"
    return Seed(name, _SUFFIXES[encoding.format], stream.getvalue())


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "P":
        return image.quantize(32)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode in ("RGBA", "LA"):
        layered = image.convert(mode)
        layered.putalpha(image.convert("L"))
        return layered
    return image.convert(mode)
