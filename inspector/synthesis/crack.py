"""Cracks: their style, their path and how they darken the pixels they cross."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspector.synthesis.noise import (
    Mask,
    Pixels,
    Plane,
    Rng,
    Stroke,
    StrokeLayer,
    check_pixels,
    jagged_path,
    line_noise,
    rasterise,
    to_uint8,
)

WIDTH_RANGE_PX = (0.3, 64.0)
"""Widths a style may ask for: below a third of a pixel a crack is lost in the sensor noise."""

BRANCHES_MAX = 12

_RIM_GAIN = 0.35
"""How much brighter than the wall a fully lit, freshly broken edge is."""

_VISIBLE_PX_CONTRAST = 0.5
"""Least width (px) times contrast of a random style, so that the label is never a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrackStyle:
    """Look of a crack. Raises ValueError if a value is outside its range."""

    width_px: float
    """Typical width of the main branch in image pixels, 0.3..64; it varies along the crack."""
    contrast: float
    """Share of the light that the fully covered core swallows, above 0 and at most 1."""
    direction_deg: float | None = None
    """0 horizontal, 45 rising to the right, 90 vertical; 0 <= value < 180; None for any."""
    branches: int = 0
    """Number of side branches, 0..12."""
    blur_px: float = 0.5
    """Extra softness of the edges (defocus), 0..8 px."""
    roughness: float = 0.13
    """Sideways wander as a share of the length, 0.01..0.4."""
    gaps: float = 0.0
    """Share of the length where the crack closes, 0..0.5."""
    rim: float = 0.0
    """Strength of the lit, spalled edge on one side, 0..1."""
    through: bool = True
    """Whether the crack runs from border to border or ends inside the image."""

    def __post_init__(self) -> None:
        ranges = (
            ("width_px", self.width_px, *WIDTH_RANGE_PX),
            ("contrast", self.contrast, 0.01, 1.0),
            ("direction_deg", self.direction_deg or 0.0, 0.0, 180.0),
            ("branches", self.branches, 0, BRANCHES_MAX),
            ("blur_px", self.blur_px, 0.0, 8.0),
            ("roughness", self.roughness, 0.01, 0.4),
            ("gaps", self.gaps, 0.0, 0.5),
            ("rim", self.rim, 0.0, 1.0),
        )
        for name, value, low, high in ranges:
            # Written so that NaN fails too.
            if not low <= value <= high or (name == "direction_deg" and value == high):
                raise ValueError(f"{name} {value}: must be {low}..{high}")


def random_crack_style(rng: Rng) -> CrackStyle:
    """A style as met in tiles of 224 px: 0.7..8 px wide, most of them thin, always visible."""
    width_px = float(np.exp(rng.uniform(np.log(0.7), np.log(8.0))))
    # A wide crack is a deep one: only a narrow one can be pale.
    faintest = min(0.7, max(0.25 + 0.06 * width_px, _VISIBLE_PX_CONTRAST / width_px))
    branched = rng.random() < 0.4
    return CrackStyle(
        width_px=width_px,
        contrast=float(rng.uniform(faintest, 0.92)),
        branches=int(rng.integers(1, 4)) if branched else 0,
        blur_px=float(rng.uniform(0.2, 1.6)),
        roughness=float(rng.uniform(0.05, 0.2)),
        gaps=float(rng.uniform(0.03, 0.18)) if rng.random() < 0.3 else 0.0,
        rim=float(rng.uniform(0.1, 1.0)) if rng.random() < 0.5 else 0.0,
        through=bool(rng.random() < 0.75),
    )


def add_crack(pixels: Pixels, rng: Rng, style: CrackStyle) -> tuple[Pixels, Mask]:
    """Composite a crack on a crack-free image; returns new pixels and the crack's mask.

    `pixels` is (H, W, 3) uint8 RGB and stays unchanged. The mask (H, W) bool marks pixels whose
    centre lies within the crack. Raises ValueError for another shape or dtype, or a side that is
    not within MIN_SIDE_PX..MAX_SIDE_PX.
    """
    check_pixels(pixels)
    height, width = pixels.shape[:2]
    strokes = _strokes(rng, height, width, style)
    layer = rasterise(
        rng,
        strokes,
        height,
        width,
        softness_px=style.blur_px,
        jag_px=min(2.0, 0.2 + 0.12 * style.width_px),
        lit_side=int(rng.choice((-1, 1))) if style.rim else 0,
    )
    return _composite(pixels, rng, layer, style), layer.core


def _strokes(rng: Rng, height: int, width: int, style: CrackStyle) -> list[Stroke]:
    step_px = max(3.0, 0.8 * style.width_px)
    points = _main_path(rng, height, width, style, step_px)
    main = _stroke(rng, points, style, tips=(not style.through, not style.through))
    branches = [_branch(rng, main, style, step_px) for _ in range(style.branches)]
    return [main, *branches]


def _main_path(rng: Rng, height: int, width: int, style: CrackStyle, step_px: float) -> Plane:
    """Two halves grown from one point near the middle, so that the crack is always in view."""
    centre = np.array([rng.uniform(0.3, 0.7) * height, rng.uniform(0.3, 0.7) * width])
    degrees = style.direction_deg
    angle = np.deg2rad(rng.uniform(0.0, 180.0) if degrees is None else degrees)
    heading = np.array([-np.sin(angle), np.cos(angle)])
    halves = []
    for sign in (-1.0, 1.0):
        bend = _turned(sign * heading, float(rng.normal(0.0, 0.08)))
        reach = _exit_distance(centre, bend, height, width)
        share = 1.1 if style.through else float(rng.uniform(0.4, 0.95))
        tip = centre + bend * max(reach * share, 4.0)
        path = jagged_path(rng, centre, tip, roughness=style.roughness, step_px=step_px)
        halves.append(path)
    return np.concatenate([halves[0][::-1], halves[1][1:]])


def _exit_distance(start: Plane, heading: Plane, height: int, width: int) -> float:
    """Distance in px from `start` along the unit vector `heading` to the image border."""
    limits = np.where(heading > 0.0, np.array([height, width], dtype=np.float64), 0.0)
    speed = np.where(np.abs(heading) < 1e-9, 1e-9, heading)
    return float(np.abs((limits - start) / speed).min())


def _turned(vector: Plane, angle: float) -> Plane:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([vector[0] * cos - vector[1] * sin, vector[0] * sin + vector[1] * cos])


def _stroke(rng: Rng, points: Plane, style: CrackStyle, tips: tuple[bool, bool]) -> Stroke:
    """Give a path its width and depth; a true tip tapers to nothing."""
    count = len(points)
    swell = np.clip(np.exp(0.33 * line_noise(rng, count, 14)), 0.4, 2.0)
    trend = np.linspace(float(rng.uniform(0.75, 1.25)), float(rng.uniform(0.75, 1.25)), count)
    widths = style.width_px * swell * trend * _taper(count, tips)
    strengths = np.clip(0.92 + 0.10 * line_noise(rng, count, 9), 0.5, 1.0)
    if style.gaps:
        closed = line_noise(rng, count, 6)
        limit = np.quantile(closed, style.gaps)
        open_share = np.clip((closed - limit) / 0.6, 0.0, 1.0)
        # A closing crack gets thinner long before it gets paler.
        widths *= 0.2 + 0.8 * open_share
        strengths *= np.clip(3.0 * open_share, 0.1, 1.0)
    return Stroke(points, widths, strengths)


def _taper(count: int, tips: tuple[bool, bool]) -> Plane:
    place = np.linspace(0.0, 1.0, count)
    taper = np.ones(count)
    for is_tip, from_tip in zip(tips, (place, 1.0 - place), strict=True):
        if is_tip:
            taper *= np.minimum(1.0, 0.12 + from_tip / 0.3)
    return taper


def _branch(rng: Rng, main: Stroke, style: CrackStyle, step_px: float) -> Stroke:
    """A thinner side crack that leaves the main one at 20..65 degrees and runs out."""
    last = len(main.points) - 1
    root = int(np.clip(rng.uniform(0.12, 0.88) * last, 0, last))
    near, far = max(0, root - 4), min(last, root + 4)
    along = (main.points[far] - main.points[near]) * float(rng.choice((-1.0, 1.0)))
    along /= max(float(np.hypot(*along)), 1e-9)
    turn = np.deg2rad(rng.uniform(20.0, 65.0)) * float(rng.choice((-1.0, 1.0)))
    length = float(np.hypot(*(main.points[-1] - main.points[0]))) * rng.uniform(0.15, 0.5)
    start = main.points[root]
    tip = start + _turned(along, turn) * max(length, 4.0)
    rough = min(0.4, 1.2 * style.roughness)
    points = jagged_path(rng, start, tip, roughness=rough, step_px=step_px)
    stroke = _stroke(rng, points, style, tips=(False, True))
    share = float(rng.uniform(0.35, 0.7))
    return Stroke(points, stroke.widths * share, stroke.strengths)


def _composite(pixels: Pixels, rng: Rng, layer: StrokeLayer, style: CrackStyle) -> Pixels:
    """Multiply the touched pixels only, which keeps the wall's own texture in the crack."""
    coverage, rim = layer.coverage.ravel(), layer.rim.ravel()
    touched = np.flatnonzero((coverage > 0.0) | (rim > 0.0))
    dark, lit = coverage[touched], rim[touched] * style.rim
    uneven = np.clip(1.0 + 0.06 * rng.standard_normal(len(touched)), 0.6, 1.3)
    lit *= _RIM_GAIN * np.clip(0.7 + 0.2 * rng.standard_normal(len(touched)), 0.0, 1.5)
    # Light that bounces within a crack comes out warmer than the wall.
    warmth = float(rng.uniform(0.0, 0.06))
    out = pixels.copy()
    flat = out.reshape(-1, 3)
    for channel, tint in enumerate((1.0 - warmth, 1.0, 1.0 + warmth)):
        gain = 1.0 - np.clip(style.contrast * tint * dark * uneven, 0.0, 1.0)
        gain += lit * (1.0 - dark)
        flat[touched, channel] = to_uint8(flat[touched, channel] * gain)
    return out
