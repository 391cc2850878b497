"""Whole synthetic photos: a bare concrete surface and its subject.

The ranges of surfaces were set by eye against close-range photographs of walls, floors and
bridges, in which one pixel is roughly 0.2 to 1 mm. They are in pixels, so a larger image shows more
wall, not a larger texture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspector.synthesis.crack import CrackStyle, add_crack, random_crack_style
from inspector.synthesis.distractor import HARD_NEGATIVES, Kind, add_distractor
from inspector.synthesis.noise import (
    Mask,
    Pixels,
    Plane,
    Rng,
    blurred,
    check_size,
    octave_noise,
    smoothstep,
    streak_noise,
    to_uint8,
)

BRIGHTNESS_RANGE = (60.0, 210.0)
"""Mean grey level of a random surface (0..255): a wet tunnel wall to a sunlit white one."""

_CASTS = (
    (1.00, 1.00, 1.00),  # neutral grey
    (1.03, 1.00, 0.95),  # warm grey
    (0.96, 1.00, 1.04),  # cool grey
    (1.06, 1.00, 0.88),  # beige
    (0.98, 1.01, 0.97),  # greenish
    (0.80, 0.99, 1.15),  # daylight photographed with an indoor white balance
)
_CAST_ODDS = (0.24, 0.26, 0.20, 0.14, 0.10, 0.06)

_VOIDS_PER_MPX_MAX = 500.0
"""Air voids per million pixels on the most pitted surface (25 on a 224 px tile)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceStyle:
    """Look of a bare concrete surface. Amplitudes are shares of the mean brightness.

    Raises ValueError if the brightness is not within 1..254 or an amplitude is negative.
    """

    brightness: float
    """Mean grey level, 0..255."""
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gain of red, green and blue."""
    mottle: float = 0.03
    """Slow tonal changes, 16 px and longer."""
    grain: float = 0.025
    """Fine texture of 1..3 px."""
    relief: float = 0.0
    """Plaster-like bumps lit from one side."""
    aggregate: float = 0.0
    """Contrast of visible stones and paste patches of 3..12 px."""
    voids_per_mpx: float = 80.0
    """Air voids (bug holes) per million pixels."""
    streaks: float = 0.0
    """Trowel or formwork grain along one axis."""
    boards_px: int = 0
    """Width of the formwork boards; 0 for none."""
    gradient: float = 0.1
    """Change of the light across the image."""
    noise: float = 2.0
    """Standard deviation of the sensor noise in grey levels."""
    blur: float = 0.5
    """0 (crisp) to 1 (slightly out of focus)."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.brightness <= 254.0:
            raise ValueError(f"brightness {self.brightness}: must be 1..254")
        texture = (self.mottle, self.grain, self.relief, self.aggregate, self.streaks)
        camera = (self.gradient, self.noise, self.blur)
        if min(*texture, *camera, self.voids_per_mpx, self.boards_px) < 0.0 or self.blur > 1.0:
            raise ValueError(f"negative amount or blur above 1 in {self}")


def random_surface_style(rng: Rng) -> SurfaceStyle:
    """A plausible surface: smooth cast, sandy, mottled, board-marked, troweled or plastered."""
    pitted = rng.random() < 0.35
    return SurfaceStyle(
        brightness=float(rng.uniform(*BRIGHTNESS_RANGE)),
        cast=_random_cast(rng),
        mottle=float(rng.uniform(0.012, 0.05)),
        grain=float(rng.uniform(0.012, 0.045)),
        relief=_sometimes(rng, 0.3, 0.02, 0.07),
        aggregate=_sometimes(rng, 0.5, 0.03, 0.14),
        voids_per_mpx=float(rng.uniform(0.1, 1.0) * _VOIDS_PER_MPX_MAX) if pitted else 20.0,
        streaks=_sometimes(rng, 0.3, 0.006, 0.02),
        boards_px=int(rng.integers(60, 160)) if rng.random() < 0.1 else 0,
        gradient=float(rng.uniform(0.0, 0.3)),
        noise=float(rng.uniform(0.5, 4.0)),
        blur=float(rng.uniform(0.0, 1.0)),
    )


def make_surface(rng: Rng, height: int, width: int, style: SurfaceStyle) -> Pixels:
    """Render a bare concrete surface as (height, width, 3) uint8 RGB.

    Raises ValueError if a side is not within MIN_SIDE_PX..MAX_SIDE_PX.
    """
    check_size(height, width)
    tone = 1.0 + _texture(rng, height, width, style)
    if style.boards_px:
        _press_boards(rng, tone, style.boards_px)
    _press_voids(rng, tone, style.voids_per_mpx)
    tone *= _light(rng, height, width, style.gradient)
    tone = blurred(tone, style.blur)
    return _expose(rng, tone, style)


def _random_cast(rng: Rng) -> tuple[float, float, float]:
    base = _CASTS[int(rng.choice(len(_CASTS), p=_CAST_ODDS))]
    red, green, blue = (float(gain * rng.normal(1.0, 0.012)) for gain in base)
    return red, green, blue


def _sometimes(rng: Rng, odds: float, low: float, high: float) -> float:
    amount = float(rng.uniform(low, high))
    return amount if rng.random() < odds else 0.0


def _texture(rng: Rng, height: int, width: int, style: SurfaceStyle) -> Plane:
    octaves = max(7, int(np.ceil(np.log2(max(height, width)))))
    # Little at 8..32 px: equal octaves would look like clouds, not like cement.
    slow = [0.7 * style.mottle] * 3 + [1.2 * style.mottle, 1.6 * style.mottle]
    slow += [0.9 * style.mottle] * (octaves - 7)
    amplitudes = [0.7 * style.grain, style.grain, *slow]
    tone = octave_noise(rng, height, width, amplitudes)
    if style.aggregate:
        tone += style.aggregate * _aggregate(rng, height, width)
    if style.relief:
        tone += style.relief * _relief(rng, height, width)
    if style.streaks:
        fine = (0.4 * style.streaks, style.streaks, style.streaks, style.streaks)
        vertical = bool(rng.random() < 0.5)
        stretch = int(rng.integers(3, 7))
        tone += streak_noise(rng, height, width, fine, stretch_octaves=stretch, vertical=vertical)
    return tone


def _aggregate(rng: Rng, height: int, width: int) -> Plane:
    """Patches with soft but definite edges: paste, sand grains and a few stones."""
    field = octave_noise(rng, height, width, (0.15, 0.4, 0.9, float(rng.uniform(0.0, 1.2))))
    level = float(rng.uniform(0.35, 0.9))
    stones = smoothstep(field, level, level + 0.35)
    pits = smoothstep(-field, level + 0.15, level + 0.6)
    return stones - float(rng.uniform(0.3, 1.2)) * pits


def _relief(rng: Rng, height: int, width: int) -> Plane:
    """Bumps seen in raking light: the slope of a height field towards the light."""
    bumps = octave_noise(rng, height + 1, width + 1, (0.1, 0.6, 1.2, float(rng.uniform(0.0, 2.5))))
    angle = float(rng.uniform(0.0, 2.0 * np.pi))
    down = bumps[1:, :-1] - bumps[:-1, :-1]
    right = bumps[:-1, 1:] - bumps[:-1, :-1]
    return np.asarray(np.cos(angle) * down + np.sin(angle) * right, dtype=np.float64)


def _press_boards(rng: Rng, tone: Plane, board_px: int) -> None:
    """Give each formwork board its own faint tone and a thin seam, in place."""
    vertical = bool(rng.random() < 0.5)
    lines = tone if vertical else tone.T
    start = -int(rng.integers(0, board_px))
    while start < lines.shape[1]:
        first, last = max(0, start), start + board_px
        lines[:, first:last] += rng.normal(0.0, 0.02)
        if start > 0:
            lines[:, start : start + 1] -= rng.uniform(0.02, 0.10)
            lines[:, start + 1 : start + 2] += rng.uniform(0.0, 0.05)
        start = last + int(rng.integers(-4, 5))


def _press_voids(rng: Rng, tone: Plane, per_mpx: float) -> None:
    """Sprinkle air voids in place: many pinholes, few large ones."""
    height, width = tone.shape
    count = int(rng.poisson(per_mpx * height * width / 1e6))
    radii = np.minimum(0.8 * (1.0 + rng.pareto(2.2, count)), 6.0)
    ys, xs = rng.uniform(0, height, count), rng.uniform(0, width, count)
    depths = rng.uniform(0.25, 0.7, count)
    for y, x, radius, depth in zip(ys, xs, radii, depths, strict=True):
        _press_void(rng, tone, (float(y), float(x)), float(radius), float(depth))


def _press_void(
    rng: Rng, tone: Plane, centre: tuple[float, float], radius_px: float, depth: float
) -> None:
    """One irregular pit: dark inside, darkest under its upper edge, lit on its lower lip."""
    reach = int(np.ceil(2.0 * radius_px)) + 1
    top, left = max(0, int(centre[0]) - reach), max(0, int(centre[1]) - reach)
    patch = tone[top : int(centre[0]) + reach + 1, left : int(centre[1]) + reach + 1]
    y = np.arange(top, top + patch.shape[0], dtype=np.float64)[:, None] - centre[0]
    x = np.arange(left, left + patch.shape[1], dtype=np.float64)[None, :] - centre[1]
    skew, flat = rng.uniform(-0.35, 0.35), rng.uniform(0.75, 1.3)
    bulge = rng.uniform(-0.25, 0.25) / radius_px
    distance = np.sqrt(flat * (x + skew * y) ** 2 + y * y + bulge * x * y * y)
    inside = np.clip(radius_px + 0.5 - distance, 0.0, 1.0)
    shade = depth * (1.0 - 0.35 * np.clip(y / radius_px, -1.0, 1.0))
    lip = np.clip(1.0 - np.abs(distance - radius_px - 0.7), 0.0, 1.0) * (y > 0)
    patch *= 1.0 - inside * shade
    patch += 0.25 * depth * lip * (1.0 - inside)


def _light(rng: Rng, height: int, width: int, gradient: float) -> Plane:
    """Lamp or daylight falling off across the image and a faint vignette; mean about 1."""
    y = np.linspace(-0.5, 0.5, height)[:, None]
    x = np.linspace(-0.5, 0.5, width)[None, :]
    angle = float(rng.uniform(0.0, 2.0 * np.pi))
    vignette = 4.0 * float(rng.uniform(0.0, 0.2)) * gradient
    down = gradient * np.cos(angle) * y - vignette * (y * y - 1.0 / 12.0)
    right = gradient * np.sin(angle) * x - vignette * (x * x - 1.0 / 12.0)
    return np.asarray((1.0 + down) + right, dtype=np.float64)


def _expose(rng: Rng, tone: Plane, style: SurfaceStyle) -> Pixels:
    """Colour the tone and add the sensor's noise, one channel at a time to save memory."""
    height, width = tone.shape
    octaves = max(6, int(np.ceil(np.log2(max(height, width)))) - 1)
    tint = octave_noise(rng, height, width, [0.0] * (octaves - 2) + [0.008, 0.008])
    # After demosaicing most sensor noise is common to the channels; the rest shifts red
    # against blue.
    shared = style.noise * blurred(rng.standard_normal((height, width)), 0.7)
    chroma = 0.4 * style.noise * rng.standard_normal((height, width))
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for channel, warmth in enumerate((1.0, 0.0, -1.0)):
        plane = warmth * tint
        plane += 1.0
        plane *= tone
        plane *= style.brightness * style.cast[channel]
        plane += shared
        plane += warmth * chroma
        pixels[:, :, channel] = to_uint8(plane)
    return pixels


_COMPANY_ODDS = 0.3
"""Share of random crack scenes that also show a hard negative, as real walls do."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A synthetic photo: `pixels` (H, W, 3) uint8 RGB, crack `mask` (H, W) bool, its `kind`."""

    pixels: Pixels
    mask: Mask
    kind: Kind


def make_scene(
    rng: Rng,
    height: int,
    width: int,
    kind: Kind,
    *,
    crack: CrackStyle | None = None,
    surface: SurfaceStyle | None = None,
) -> Scene:
    """Render a scene of `height` x `width` px; equal generators give equal bytes.

    `crack` fixes the look of a crack and keeps other features off the wall; without it the style
    is random and a hard negative may keep the crack company. `surface` fixes the bare concrete.
    Raises ValueError if `crack` is given for another kind, or if a side is not within
    MIN_SIDE_PX..MAX_SIDE_PX.
    """
    if crack is not None and kind is not Kind.CRACK:
        raise ValueError(f"a scene of kind {kind!r} takes no crack style")
    wall = surface or random_surface_style(rng)
    pixels = make_surface(rng, height, width, wall)
    mask = np.zeros((height, width), dtype=np.bool_)
    if kind in HARD_NEGATIVES:
        pixels = add_distractor(pixels, rng, kind)
    elif kind is Kind.CRACK:
        if crack is None and rng.random() < _COMPANY_ODDS:
            company = HARD_NEGATIVES[int(rng.integers(len(HARD_NEGATIVES)))]
            pixels = add_distractor(pixels, rng, company)
        pixels, mask = add_crack(pixels, rng, crack or random_crack_style(rng))
    return Scene(pixels, mask, kind)
