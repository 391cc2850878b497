"""Raw material of synthetic images: smooth random fields, and jagged lines of changing width.

Everything is elementwise numpy in float64: no BLAS and no float32 resampling, whose last bits
depend on the processor and would now and then flip a rounded pixel. A stroke is never drawn as a
spline: its points come from midpoint displacement, which is what makes a fracture look like one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


def line_noise(rng: Rng, count: int, spacing: float) -> Plane:
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


_JAG_TILE_PX = 64
"""Side of the edge-noise tile; it repeats, which no one sees along a line a few pixels wide."""

_MAX_SAMPLES = 250_000
"""Samples drawn at once: bounds the memory of a long stroke to some 20 MB."""

_RIM_PX = 2.2
"""How far the lit rim of a broken edge reaches from the edge, in pixels."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A polyline: `points` (N, 2) as (y, x) px, `widths` (N,) px, `strengths` (N,) 0..1."""

    points: Plane
    widths: Plane
    strengths: Plane


@dataclass(frozen=True, slots=True)
class StrokeLayer:
    """Strokes rasterised on an image; all planes (H, W).

    `coverage` 0..1 is the share of a pixel that is covered times the strength, `rim` 0..1 is the
    lit edge on one side, `core` marks the pixels whose centre lies within the stroke.
    """

    coverage: Plane
    rim: Plane
    core: Mask


def jagged_path(
    rng: Rng, start: Plane, end: Plane, *, roughness: float, step_px: float = 3.5
) -> Plane:
    """Midpoint displacement from `start` to `end` ((y, x) px); (N, 2) points, ends exact.

    `roughness` is the largest sideways displacement as a share of the span it displaces;
    displacement stops when the spans are about `step_px` long.
    """
    points = np.stack([start, end])
    span = float(np.hypot(*(points[1] - points[0])))
    while span > 1.5 * step_px:
        along = points[1:] - points[:-1]
        normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
        shift = rng.uniform(-1.0, 1.0, (len(along), 1)) * roughness
        # An off-centre break keeps the kinks at uneven distances, as between real aggregates.
        place = rng.uniform(0.35, 0.65, (len(along), 1))
        middles = points[:-1] + along * place + normal * shift
        merged = np.empty((2 * len(points) - 1, 2))
        merged[0::2], merged[1::2] = points, middles
        points, span = merged, span / 2.0
    return points


def rasterise(
    rng: Rng,
    strokes: Sequence[Stroke],
    height: int,
    width: int,
    *,
    softness_px: float = 0.0,
    jag_px: float = 0.0,
    lit_side: int = 0,
) -> StrokeLayer:
    """Draw `strokes` on an empty (height, width) image.

    `softness_px` widens the pixel's own box filter (defocus), `jag_px` roughens the edges, and
    `lit_side` (-1, 0 or 1) says on which side of the stroke the rim catches the light.
    """
    tile = octave_noise(rng, _JAG_TILE_PX, _JAG_TILE_PX, (0.2, 0.7, 0.9, 0.7))
    coverage, rim = np.zeros(height * width), np.zeros(height * width)
    core = np.zeros(height * width, dtype=np.bool_)
    margin = 0.5 + softness_px / 2.0 + 1.5 * jag_px + (_RIM_PX if lit_side else 0.0)
    for near in _near_samples(strokes, height, width, margin):
        jag = tile.ravel()[near.tile_index] * jag_px
        distance, half = near.distance + jag, near.width / 2.0
        box = (1.0 + softness_px) / 2.0
        overlap = np.minimum(distance + box, half) - np.maximum(distance - box, -half)
        share = np.clip(overlap / (2.0 * box), 0.0, 1.0) * near.strength
        if lit_side:
            share *= _wall_shade(near.side * lit_side, half)
        np.maximum.at(coverage, near.pixel, share)
        inside = (np.abs(distance) <= np.maximum(half, 0.5)) & (near.strength > 0.25)
        core[near.pixel[inside]] = True
        if lit_side:
            glow = _rim_glow(distance - half, near.side * lit_side)
            np.maximum.at(rim, near.pixel, glow * near.strength)
    shape = (height, width)
    return StrokeLayer(coverage.reshape(shape), rim.reshape(shape), core.reshape(shape))


@dataclass(frozen=True, slots=True)
class _Samples:
    """Pixels near a segment, flat: one entry per (segment, pixel) pair."""

    pixel: NDArray[np.int64]
    tile_index: NDArray[np.int64]
    distance: Plane
    side: Plane
    width: Plane
    strength: Plane


def _wall_shade(side_px: Plane, half_px: Plane) -> Plane:
    """Less depth towards the lit wall, which shows only in strokes wider than about 2 px."""
    towards = np.clip(side_px / np.maximum(half_px, 0.5), 0.0, 1.0)
    return 1.0 - 0.4 * towards * np.clip(half_px - 1.0, 0.0, 1.0)


def _rim_glow(outside_px: Plane, side: Plane) -> Plane:
    ramp = np.clip(1.0 - np.abs(outside_px - 0.6) / _RIM_PX, 0.0, 1.0)
    return np.where(side > 0.0, ramp, 0.0)


def _near_samples(
    strokes: Sequence[Stroke], height: int, width: int, margin_px: float
) -> Iterator[_Samples]:
    """The pixels around every segment, a bounded number at a time."""
    for stroke in strokes:
        reach = float(stroke.widths.max()) / 2.0 + margin_px
        spans = np.hypot(*(stroke.points[1:] - stroke.points[:-1]).T)
        half = int(np.ceil(reach + float(spans.max()) / 2.0))
        batch = max(1, _MAX_SAMPLES // (2 * half + 1) ** 2)
        for first in range(0, len(spans), batch):
            part = slice(first, min(first + batch, len(spans)))
            yield _segment_samples(stroke, part, half, reach, height, width)


def _segment_samples(
    stroke: Stroke, part: slice, half: int, reach: float, height: int, width: int
) -> _Samples:
    begin = stroke.points[:-1][part]
    along = stroke.points[1:][part] - begin
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    along /= length[:, None]
    corner = np.floor(begin + along * (length[:, None] / 2.0)).astype(np.int64) - half
    offset = np.arange(2 * half + 1, dtype=np.int64)
    ys, xs = corner[:, :1] + offset, corner[:, 1:] + offset
    forward, sideways = _frame(ys - begin[:, :1], xs - begin[:, 1:], along)
    past = np.maximum(forward - length[:, None, None], -forward)
    np.maximum(past, 0.0, out=past)
    squared = sideways * sideways + past * past
    near = squared <= reach * reach
    near &= ((ys >= 0) & (ys < height))[:, :, None]
    near &= ((xs >= 0) & (xs < width))[:, None, :]
    segment, row, column = np.nonzero(near)
    y, x = ys[segment, row], xs[segment, column]
    t = np.clip(forward[near] / length[segment], 0.0, 1.0)
    low, high = segment + part.start, segment + part.start + 1
    return _Samples(
        pixel=y * width + x,
        tile_index=(y % _JAG_TILE_PX) * _JAG_TILE_PX + x % _JAG_TILE_PX,
        distance=np.sqrt(squared[near]),
        side=sideways[near],
        width=stroke.widths[low] * (1.0 - t) + stroke.widths[high] * t,
        strength=stroke.strengths[low] * (1.0 - t) + stroke.strengths[high] * t,
    )


def _frame(from_y: Plane, from_x: Plane, along: Plane) -> tuple[Plane, Plane]:
    """Distance in px along and across each segment for its window of pixels, (N, K, K)."""
    unit_y, unit_x = along[:, :1], along[:, 1:]
    forward = (from_y * unit_y)[:, :, None] + (from_x * unit_x)[:, None, :]
    sideways = (from_x * unit_y)[:, None, :] - (from_y * unit_x)[:, :, None]
    return forward, sideways
