"""Image files made in memory, and what decoding them must look like."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.photos.opened import DecodeLimits
from inspector.types import Decoded, Failure, FailureCode, ImageRef

SPEC = PreprocessSpec(size=32)
ORIENTATION = 0x0112


def surface(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth, asymmetric RGB picture: no flip or turn of it equals another."""
    grid = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def decode_path(path: Path, spec: PreprocessSpec = SPEC, **limits: int) -> Decoded | Failure:
    ref = ImageRef(7, str(path), "uri", None, None)
    outcome = decode(ref, spec, DecodeLimits(**limits))
    assert (outcome.ref.index, outcome.ref.path, outcome.ref.uri) == (7, str(path), "uri")
    return outcome


def photo(outcome: Decoded | Failure, spec: PreprocessSpec = SPEC) -> Decoded:
    assert isinstance(outcome, Decoded), outcome
    assert outcome.pixels_HWC.shape == (spec.size, spec.size, 3)
    assert outcome.pixels_HWC.dtype == np.uint8
    return outcome


def failure(outcome: Decoded | Failure, code: FailureCode) -> Failure:
    assert isinstance(outcome, Failure)
    assert outcome.code is code, outcome
    assert outcome.detail
    assert "\n" not in outcome.detail
    return outcome


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def png_chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)
