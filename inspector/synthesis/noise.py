"""Smooth random fields in float64, the raw material of every synthetic texture.

Everything is elementwise numpy in float64: no BLAS and no float32 resampling, whose last bits
depend on the processor and would now and then flip a rounded pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Plane = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MIN_SIDE_PX = 16
"""Smallest image side: below it neither a crack nor a texture can be told apart."""

MAX_SIDE_PX = 16384
"""Largest image side: one float64 plane of that size squared already takes 2 GiB."""


def check_size(height: int, width: int) -> None:
    """Raise ValueError unless both sides lie in MIN_SIDE_PX..MAX_SIDE_PX."""
    if not (MIN_SIDE_PX <= height <= MAX_SIDE_PX and MIN_SIDE_PX <= width <= MAX_SIDE_PX):
        raise ValueError(
            f"size {width}x{height} px (width x height): "
            f"each side must be {MIN_SIDE_PX}..{MAX_SIDE_PX} px"
        )


def check_pixels(pixels: Pixels) -> None:
    """Raise ValueError unless `pixels` is a (H, W, 3) uint8 array of an allowed size."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"expected (H, W, 3) uint8 pixels, got {pixels.shape} {pixels.dtype}")
    check_size(pixels.shape[0], pixels.shape[1])


def to_uint8(values: Plane) -> Pixels:
    """Round to the nearest integer and clip to 0..255."""
    rounded = np.rint(values)
    return np.clip(rounded, 0.0, 255.0, out=rounded).astype(np.uint8)


def smoothstep(values: Plane, low: float, high: float) -> Plane:
    """Map `low` or less to 0 and `high` or more to 1, with a smooth S-shaped passage between."""
    # In place: fresh planes cost more than the arithmetic, through page faults.
    t = values - low
    t /= high - low
    np.clip(t, 0.0, 1.0, out=t)
    curve = 3.0 - 2.0 * t
    curve *= t
    curve *= t
    return curve


def octave_noise(rng: Rng, height: int, width: int, amplitudes: Sequence[float]) -> Plane:
    """Sum of smooth random fields, one per octave; shape (height, width), mean about 0.

    `amplitudes[k]` is the standard deviation of the random grid whose spacing is 2**k px (finest
    first). Smoothing leaves about 0.55 of it in the result for every octave but the finest.
    """
    shapes = [(height, width)]
    for _ in amplitudes[1:]:
        shapes.append((shapes[-1][0] // 2 + 2, shapes[-1][1] // 2 + 2))
    field = np.zeros(shapes[-1])
    for level in range(len(amplitudes) - 1, -1, -1):
        if amplitudes[level] > 0.0:
            field += amplitudes[level] * rng.standard_normal(shapes[level])
        if level > 0:
            rows, columns = shapes[level - 1]
            field = _doubled_columns(_doubled_rows(field, rows), columns)
    return field


def streak_noise(
    rng: Rng,
    height: int,
    width: int,
    amplitudes: Sequence[float],
    *,
    stretch_octaves: int,
    vertical: bool,
) -> Plane:
    """Octave noise stretched 2**stretch_octaves times along one axis; shape (height, width)."""
    length, across = (height, width) if vertical else (width, height)
    lengths = [length]
    for _ in range(stretch_octaves):
        lengths.append(lengths[-1] // 2 + 2)
    field = octave_noise(rng, lengths[-1], across, amplitudes)
    for size in reversed(lengths[:-1]):
        field = _doubled_rows(field, size)
    return np.ascontiguousarray(field if vertical else field.T)


def line_noise(rng: Rng, count: int, spacing: int) -> Plane:
    """Fractal noise of `count` values along a line, standard deviation about 1.

    The coarsest feature is `spacing` values long; each of the three finer octaves has half the
    size and 0.6 of the height of the one before.
    """
    total = np.zeros(count)
    positions = np.arange(count, dtype=np.float64)
    for octave in range(4):
        step = max(1.0, spacing / 2**octave)
        knots = rng.standard_normal(int(count / step) + 2)
        total += 0.6**octave * np.interp(positions / step, np.arange(len(knots)), knots)
    return total


def blurred(plane: Plane, weight: float) -> Plane:
    """3x3 binomial blur mixed with the original; `weight` 0 leaves it, 1 is the full blur."""
    side = weight / 4.0
    padded = np.pad(plane, 1, mode="edge")
    down = padded[:-2] + padded[2:]
    down *= side
    down += (1.0 - 2.0 * side) * padded[1:-1]
    out = down[:, :-2] + down[:, 2:]
    out *= side
    out += (1.0 - 2.0 * side) * down[:, 1:-1]
    return out


def _doubled_rows(field: Plane, rows: int) -> Plane:
    """Twice the rows by corner cutting (a quadratic B-spline), cut to `rows`."""
    near, far = field[:-1], field[1:]
    out = np.empty((2 * len(near), field.shape[1]))
    _cut_corners(near, far, out[0::2], out[1::2])
    return out[:rows]


def _doubled_columns(field: Plane, columns: int) -> Plane:
    near, far = field[:, :-1], field[:, 1:]
    out = np.empty((len(field), 2 * near.shape[1]))
    _cut_corners(near, far, out[:, 0::2], out[:, 1::2])
    return out[:, :columns]


def _cut_corners(near: Plane, far: Plane, first: Plane, second: Plane) -> None:
    # One scratch plane instead of an expression: at 12 MP each temporary costs 100 MB.
    scratch = 0.25 * far
    np.multiply(near, 0.75, out=first)
    first += scratch
    np.multiply(far, 0.75, out=second)
    np.multiply(near, 0.25, out=scratch)
    second += scratch
