"""Hard negatives: what a crack detector meets on concrete and must not take for a crack."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np

from inspector.synthesis.noise import (
    Pixels,
    Plane,
    Rng,
    Stroke,
    check_pixels,
    jagged_path,
    line_noise,
    octave_noise,
    rasterise,
    smoothstep,
    to_uint8,
)


class Kind(StrEnum):
    """Subject of a scene: bare concrete, a crack, or something easily mistaken for one."""

    CLEAN = "clean"
    CRACK = "crack"
    JOINT = "joint"
    STAIN = "stain"
    SHADOW = "shadow"
    HOLES = "holes"
    SCRATCH = "scratch"
    RUST = "rust"


HARD_NEGATIVES: tuple[Kind, ...] = tuple(
    kind for kind in Kind if kind not in (Kind.CLEAN, Kind.CRACK)
)
"""Kinds that a crack detector may mistake for a crack, in a fixed order."""

_RGB = tuple[float, float, float]
_RUST_THIN_RGB = (0.98, 0.80, 0.55)
_RUST_THICK_RGB = (0.66, 0.50, 0.42)
"""Iron oxide as gains on grey concrete, by eye: a yellow film, and the brown of thick rust."""

_MOSS_RGB = (0.72, 0.76, 0.62)
_DAMP_RGB = (0.64, 0.66, 0.68)
_SOOT_RGB = (0.55, 0.55, 0.56)
_LIME_RGB = (1.28, 1.27, 1.24)
_STAIN_RGBS = (_MOSS_RGB, _DAMP_RGB, _DAMP_RGB, _SOOT_RGB, _LIME_RGB)
"""Gains of algae, damp, soot and lime bloom; damp is by far the most common."""


def add_distractor(pixels: Pixels, rng: Rng, kind: Kind) -> Pixels:
    """Composite one hard negative on a crack-free image; returns new pixels.

    `pixels` is (H, W, 3) uint8 RGB and stays unchanged; features scale with its shorter side up
    to a limit in pixels. Raises ValueError if `kind` is not one of HARD_NEGATIVES, for another
    shape or dtype, or for a side that is not within MIN_SIDE_PX..MAX_SIDE_PX.
    """
    check_pixels(pixels)
    if kind not in HARD_NEGATIVES:
        raise ValueError(f"{kind!r} is not a hard negative: {', '.join(HARD_NEGATIVES)}")
    return _MAKERS[kind](pixels, rng)


def _joint(pixels: Pixels, rng: Rng) -> Pixels:
    """Formwork or expansion joint: dead straight, constant width, often two tones."""
    height, width = pixels.shape[:2]
    gain = np.ones((height, width))
    angle_deg = float(rng.normal(0.0, 4.0) + rng.choice((0.0, 90.0)))
    for turn_deg in (0.0, 90.0) if rng.random() < 0.2 else (0.0,):
        distance = _line_distance(rng, height, width, angle_deg + turn_deg)
        gain *= _groove(rng, distance, float(np.exp(rng.uniform(np.log(1.2), np.log(9.0)))))
    return _shaded(pixels, gain)


def _groove(rng: Rng, distance: Plane, width_px: float) -> Plane:
    """Shade of a straight groove of `width_px` along the zero line of `distance`."""
    softness = float(rng.uniform(0.7, 2.0))
    inside = np.clip((width_px / 2.0 - np.abs(distance)) / softness + 0.5, 0.0, 1.0)
    # One wall of the groove is in shade, the other catches the light.
    across = np.clip(distance / width_px, -0.5, 0.5) * float(rng.uniform(-0.9, 0.9))
    gain = 1.0 - inside * float(rng.uniform(0.3, 0.85)) * (1.0 + across)
    lip = np.clip(1.0 - np.abs(distance - width_px / 2.0 - 1.0) / 1.5, 0.0, 1.0)
    gain += lip * float(rng.uniform(0.0, 0.2)) * (1.0 - inside)
    gain *= 1.0 + float(rng.normal(0.0, 0.07)) * (distance > 0.0)
    return gain


def _stain(pixels: Pixels, rng: Rng) -> Pixels:
    """Damp, algae, soot or lime: soft-edged patches, now and then with a tide mark or drips."""
    height, width = pixels.shape[:2]
    size_px = _scale_px(pixels)
    centre = rng.uniform(0.15, 0.85, 2) * (height, width)
    cover = _blotch(rng, height, width, centre, size_px * float(rng.uniform(0.16, 0.45)))
    if rng.random() < 0.4:
        cover = np.maximum(cover, _drips(rng, height, width, centre, size_px))
    if rng.random() < 0.35:
        cover = 0.7 * cover + 0.45 * cover * smoothstep(1.0 - cover, 0.3, 0.8)
    tint = _STAIN_RGBS[int(rng.integers(len(_STAIN_RGBS)))]
    return _shaded(pixels, cover * float(rng.uniform(0.45, 1.0)), tint)


def _drips(rng: Rng, height: int, width: int, centre: Plane, size_px: float) -> Plane:
    """Vertical run-off of a few streaks below `centre`, with soft flanks and fading ends, 0..1."""
    y, x = _axes(height, width)
    cover = np.zeros((height, width))
    for _ in range(int(rng.integers(2, 6))):
        middle = float(centre[1] + rng.normal(0.0, 0.07) * size_px)
        half_px = max(0.8, size_px * float(np.exp(rng.uniform(np.log(0.006), np.log(0.05)))))
        wander = 0.008 * size_px * line_noise(rng, height, max(8, height // 3))[:, None]
        reach_px = size_px * rng.uniform(0.25, 1.0)
        fade = np.clip((y - centre[0]) / (0.08 * size_px) + 0.5, 0.0, 1.0)
        fade = rng.uniform(0.4, 1.0) * fade * np.clip(1.0 - (y - centre[0]) / reach_px, 0.0, 1.0)
        reach = 4.0 * half_px + 0.03 * size_px
        near = slice(max(0, int(middle - reach)), max(0, int(middle + reach)))
        offset = (x[:, near] - middle - wander) / half_px
        np.maximum(cover[:, near], fade / (1.0 + offset * offset) ** 2, out=cover[:, near])
    cover *= np.clip(1.0 + octave_noise(rng, height, width, (0.1, 0.2, 0.25, 0.25)), 0.3, 1.0)
    return cover


def _shadow(pixels: Pixels, rng: Rng) -> Pixels:
    """Cast shadow of an edge, of a hanging cable, or of a bare branch."""
    height, width = pixels.shape[:2]
    choice = rng.random()
    if choice < 0.4:
        cover = _edge_shadow(rng, height, width)
    elif choice < 0.7:
        cover = _cable_shadow(rng, height, width, _scale_px(pixels))
    else:
        cover = _branch_shadow(rng, height, width, _scale_px(pixels))
    depth = float(rng.uniform(0.3, 0.65))
    # Shadows are lit by the sky: blue fades least.
    return _shaded(pixels, cover, (1.0 - depth, 1.0 - 0.97 * depth, 1.0 - 0.92 * depth))


def _edge_shadow(rng: Rng, height: int, width: int) -> Plane:
    distance = _line_distance(rng, height, width, float(rng.uniform(0.0, 360.0)))
    soft_px = float(np.exp(rng.uniform(np.log(1.0), np.log(25.0))))
    return smoothstep(distance, -soft_px, soft_px)


def _cable_shadow(rng: Rng, height: int, width: int, size_px: float) -> Plane:
    """A sagging line: smooth and of constant width, as no crack is."""
    upright = bool(rng.random() < 0.5)
    length, across = (height, width) if upright else (width, height)
    along = np.linspace(-1.0, 1.0, length)
    slope, sag = rng.uniform(-0.35, 0.35) * across, rng.uniform(-0.2, 0.2) * across
    centre = rng.uniform(0.3, 0.7) * across + slope * along + sag * (along * along - 0.5)
    steep = np.gradient(centre)
    offset = np.arange(across, dtype=np.float64)[None, :] - centre[:, None]
    distance = np.abs(offset / np.sqrt(1.0 + steep * steep)[:, None])
    half_px = size_px * float(rng.uniform(0.006, 0.03)) + 0.5
    soft_px = float(rng.uniform(0.8, 4.0))
    cover = 1.0 - smoothstep(distance, half_px - soft_px / 2.0, half_px + soft_px)
    return cover if upright else np.ascontiguousarray(cover.T)


def _branch_shadow(rng: Rng, height: int, width: int, size_px: float) -> Plane:
    """Out-of-focus twigs that fork and taper."""
    top = float(rng.choice((-0.05, 1.05)))
    start = np.array([top * height, rng.uniform(0.1, 0.9) * width])
    end = np.array([(1.0 - top + rng.uniform(-0.3, 0.3)) * height, rng.uniform(0.0, 1.0) * width])
    thick_px = size_px * float(rng.uniform(0.02, 0.06))
    strokes = [_twig(rng, start, end, thick_px)]
    for _ in range(int(rng.integers(2, 7))):
        root = strokes[0].points[int(rng.integers(1, len(strokes[0].points)))]
        reach_px = size_px * rng.uniform(0.15, 0.5)
        ahead = (end - start) / max(1.0, float(np.hypot(*(end - start))))
        tip = root + (ahead + rng.normal(0.0, 0.5, 2)) * reach_px
        strokes.append(_twig(rng, root, tip, thick_px * float(rng.uniform(0.25, 0.6))))
    soft_px = float(rng.uniform(2.0, 7.0))
    return rasterise(rng, strokes, height, width, softness_px=soft_px).coverage


def _twig(rng: Rng, start: Plane, end: Plane, thick_px: float) -> Stroke:
    points = jagged_path(rng, start, end, roughness=0.05, step_px=14.0)
    widths = np.linspace(thick_px, 0.35 * thick_px, len(points))
    return Stroke(points, widths, np.ones(len(points)))


def _holes(pixels: Pixels, rng: Rng) -> Pixels:
    """Drill or tie holes: round, in one size, dark under the upper edge."""
    height, width = pixels.shape[:2]
    gain = np.ones((height, width))
    radius_px = max(2.0, _scale_px(pixels) * float(rng.uniform(0.02, 0.09)))
    depth = float(rng.uniform(0.35, 0.85))
    plugged = bool(rng.random() < 0.3)
    centres: list[Plane] = []
    for _ in range(int(rng.integers(1, 5))):
        centre = rng.uniform(0.1, 0.9, 2) * (height, width)
        if all(np.hypot(*(centre - other)) > 3.0 * radius_px for other in centres):
            centres.append(centre)
            _drill(rng, gain, centre, radius_px, depth, plugged)
    return _shaded(pixels, gain)


def _drill(
    rng: Rng, gain: Plane, centre: Plane, radius_px: float, depth: float, plugged: bool
) -> None:
    """Shade one hole in place; a plugged one is a shallow disc with a dark ring."""
    reach = int(1.5 * radius_px) + 4
    top, left = max(0, int(centre[0]) - reach), max(0, int(centre[1]) - reach)
    patch = gain[top : int(centre[0]) + reach + 1, left : int(centre[1]) + reach + 1]
    y = np.arange(top, top + patch.shape[0], dtype=np.float64)[:, None] - centre[0]
    x = np.arange(left, left + patch.shape[1], dtype=np.float64)[None, :] - centre[1]
    distance = np.sqrt(y * y + x * x)
    rows, columns = patch.shape
    distance += 0.05 * radius_px * octave_noise(rng, rows, columns, (0.2, 0.5, 0.8))
    inside = np.clip((radius_px - distance) / 1.4 + 0.5, 0.0, 1.0)
    slant = np.clip((y + 0.3 * x) / radius_px, -1.0, 1.0)
    if plugged:
        ring = np.clip(1.0 - np.abs(distance - radius_px) / max(1.2, 0.12 * radius_px), 0.0, 1.0)
        patch *= 1.0 - depth * ring * (0.75 - 0.35 * slant) - 0.12 * inside
    else:
        patch *= 1.0 - depth * inside * (0.8 - 0.3 * slant)
    lip = np.clip(1.0 - np.abs(distance - radius_px - 1.2) / 1.4, 0.0, 1.0)
    patch += 0.22 * depth * lip * np.maximum(slant, 0.0) * (1.0 - inside)


def _scratch(pixels: Pixels, rng: Rng) -> Pixels:
    """Scrape marks: thin, light, nearly straight, roughly parallel, skipping over the surface."""
    height, width = pixels.shape[:2]
    angle = float(rng.uniform(0.0, np.pi))
    strokes = []
    for _ in range(int(rng.integers(1, 7))):
        heading = angle + float(rng.normal(0.0, 0.12))
        half = np.array([np.sin(heading), np.cos(heading)])
        half *= float(np.hypot(height, width)) * rng.uniform(0.12, 0.5)
        middle = rng.uniform(0.2, 0.8, 2) * (height, width)
        points = jagged_path(rng, middle - half, middle + half, roughness=0.012, step_px=6.0)
        place = np.linspace(-1.0, 1.0, len(points))
        skips = np.clip(0.75 + 0.4 * line_noise(rng, len(points), 8), 0.0, 1.0)
        widths = rng.uniform(0.7, 2.4) * np.sqrt(1.05 - place * place)
        strokes.append(Stroke(points, widths, skips))
    softness_px = float(rng.uniform(0.0, 1.0))
    layer = rasterise(rng, strokes, height, width, softness_px=softness_px, jag_px=0.4)
    return _shaded(pixels, 1.0 + float(rng.uniform(0.15, 0.5)) * layer.coverage)


def _rust(pixels: Pixels, rng: Rng) -> Pixels:
    """Rust from a corroding bar or anchor: an orange-brown _blotch with run-off below."""
    height, width = pixels.shape[:2]
    size_px = _scale_px(pixels)
    centre = np.array([rng.uniform(0.1, 0.6) * height, rng.uniform(0.15, 0.85) * width])
    cover = _blotch(rng, height, width, centre, size_px * float(rng.uniform(0.05, 0.25)))
    cover = np.maximum(cover, _drips(rng, height, width, centre, size_px))
    cover *= 1.0 + octave_noise(rng, height, width, (0.1, 0.2, 0.25, 0.25))
    np.clip(cover, 0.0, 1.0, out=cover)
    strength = float(rng.uniform(0.5, 1.0))
    # Thin rust is yellow, thick rust is brown: the colour deepens with the cover.
    thin = _shaded(pixels, strength * cover, _RUST_THIN_RGB)
    return _shaded(thin, strength * smoothstep(cover, 0.25, 1.0), _RUST_THICK_RGB)


def _shaded(pixels: Pixels, gain: Plane, tint: _RGB | None = None) -> Pixels:
    """Multiply by `gain` (H, W), or by `tint` in proportion to `gain` 0..1 where one is given."""
    out = np.empty_like(pixels)
    for channel in range(3):
        factor = gain if tint is None else 1.0 + (tint[channel] - 1.0) * gain
        out[:, :, channel] = to_uint8(pixels[:, :, channel] * factor)
    return out


def _axes(height: int, width: int) -> tuple[Plane, Plane]:
    """Column of y and row of x in px; they broadcast to (height, width)."""
    return np.arange(height, dtype=np.float64)[:, None], np.arange(width, dtype=np.float64)[None, :]


def _scale_px(pixels: Pixels) -> float:
    """Length that features are sized by: the shorter side, but no more than 600 px."""
    return float(min(pixels.shape[0], pixels.shape[1], 600))


def _line_distance(rng: Rng, height: int, width: int, angle_deg: float) -> Plane:
    """Signed distance in px from a straight line near the middle; 0 degrees is level."""
    y, x = _axes(height, width)
    angle = np.deg2rad(angle_deg)
    from_y = y - rng.uniform(0.2, 0.8) * height
    from_x = x - rng.uniform(0.2, 0.8) * width
    return np.asarray(np.cos(angle) * from_y + np.sin(angle) * from_x, dtype=np.float64)


def _blotch(rng: Rng, height: int, width: int, centre: Plane, radius_px: float) -> Plane:
    """Soft irregular patch around `centre` (y, x), 0..1."""
    y, x = _axes(height, width)
    from_y = (y - centre[0]) / (radius_px * rng.uniform(0.7, 1.4))
    from_x = (x - centre[1]) / (radius_px * rng.uniform(0.7, 1.4))
    field = octave_noise(rng, height, width, (0.0, 0.08, 0.1, 0.16, 0.24, 0.32, 0.32))
    field += 1.0
    field -= np.sqrt(from_y * from_y + from_x * from_x)
    return smoothstep(field, 0.0, float(rng.uniform(0.25, 1.0)))


_MAKERS: dict[Kind, Callable[[Pixels, Rng], Pixels]] = {
    Kind.JOINT: _joint,
    Kind.STAIN: _stain,
    Kind.SHADOW: _shadow,
    Kind.HOLES: _holes,
    Kind.SCRATCH: _scratch,
    Kind.RUST: _rust,
}
