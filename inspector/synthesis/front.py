"""Things in front of a wall: cables, plants, and what hides a part of a crack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from inspector.synthesis.noise import Mask, Pixels, Plane, blurred, octave_noise, smoothstep
from inspector.synthesis.shade import (
    RGB,
    axes,
    blotch,
    painted,
    sagging_line,
    scale_px,
    shaded,
)
from inspector.synthesis.stroke import Stroke, jagged_path, rasterise

_CABLE_RGBS = ((30, 30, 32), (30, 30, 32), (112, 113, 112), (206, 204, 198), (164, 94, 48))
"""Rubber, rubber, lead or steel, white plastic, orange conduit; grey levels, by eye."""
_STEM_RGBS = ((84, 98, 56), (112, 116, 70), (140, 122, 86), (92, 76, 60))
"""Green, pale green, dry, wooden."""

_LEAST_VISIBLE = 0.6
"""Share of a crack that must stay in view: what is left must still deserve its label."""
_TRIES = 4

_Layer = tuple[Pixels, Plane]
"""New pixels, and how much of each is hidden (H, W) 0..1."""


def cable(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A cable, wire or hose: round, of constant width, with its shadow beside it."""
    return _cable(pixels, rng)[0]


def plant(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Stems and tendrils, thin and bent like a crack, now and then with leaves."""
    return _plant(pixels, rng)[0]


def occlude(pixels: Pixels, mask: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Hide a part of a crack behind a cable, a plant or a smear of mortar.

    Returns new pixels and the mask of what is still visible, at least `_LEAST_VISIBLE` of it; the
    arguments themselves where chance hides more than that, or nothing, several times.
    """
    for _ in range(_TRIES):
        front = _FRONTS[int(rng.integers(len(_FRONTS)))]
        changed, cover = front(pixels, rng)
        visible = mask & (cover < 0.5)
        if _LEAST_VISIBLE * mask.sum() <= visible.sum() < mask.sum():
            return changed, visible
    return pixels, mask


def _cable(pixels: Pixels, rng: np.random.Generator) -> _Layer:
    height, width = pixels.shape[:2]
    distance = sagging_line(rng, height, width)
    half_px = 0.6 + scale_px(pixels) * float(np.exp(rng.uniform(np.log(0.002), np.log(0.025))))
    gap_px = half_px * float(rng.uniform(0.3, 1.5)) * float(rng.choice((-1.0, 1.0)))
    soft_px = float(rng.uniform(1.0, 4.0))
    shade = 1.0 - smoothstep(np.abs(distance - gap_px), half_px - soft_px / 2, half_px + soft_px)
    out = shaded(pixels, 1.0 - float(rng.uniform(0.0, 0.5)) * shade)
    cover = np.clip(half_px - np.abs(distance) + 0.5, 0.0, 1.0)
    place = np.clip(distance / half_px, -1.0, 1.0)
    towards = float(rng.uniform(-0.6, 0.6))
    light = 0.55 + 0.45 * np.sqrt(1.0 - place * place)
    light += float(rng.uniform(0.0, 0.5)) * np.exp(-(((place - towards) / 0.25) ** 2))
    light += octave_noise(rng, height, width, (0.02, 0.02, 0.0, 0.03))
    colour = _CABLE_RGBS[int(rng.integers(len(_CABLE_RGBS)))]
    return painted(out, cover, _lit(colour, pixels), light), cover


def _lit(colour: RGB, pixels: Pixels) -> RGB:
    """The colour in the light that the wall stands in: in the dark, nothing is bright."""
    exposure = float(np.clip(pixels.mean() / 140.0, 0.35, 1.2))
    red, green, blue = (value * exposure for value in colour)
    return red, green, blue


def _plant(pixels: Pixels, rng: np.random.Generator) -> _Layer:
    height, width = pixels.shape[:2]
    size_px = scale_px(pixels)
    strokes = _stems(rng, height, width, size_px)
    cover = rasterise(rng, strokes, height, width, softness_px=float(rng.uniform(0, 0.8))).coverage
    if rng.random() < 0.5:
        for stroke in strokes:
            _add_leaves(rng, cover, stroke, size_px)
    down, right = (int(v) for v in rng.integers(-3, 5, 2))
    shadow = blurred(blurred(np.roll(cover, (down, right), axis=(0, 1)), 1.0), 1.0)
    out = shaded(pixels, 1.0 - float(rng.uniform(0.0, 0.4)) * shadow)
    light = np.clip(1.0 + octave_noise(rng, height, width, (0.1, 0.12, 0.12, 0.15)), 0.5, 1.5)
    colour = _STEM_RGBS[int(rng.integers(len(_STEM_RGBS)))]
    return painted(out, cover, _lit(colour, pixels), light), cover


def _stems(rng: np.random.Generator, height: int, width: int, size_px: float) -> list[Stroke]:
    """Some from one edge, which climb or hang, and a side shoot or two from each."""
    upwards = bool(rng.random() < 0.75)
    root_y = float(height if upwards else 0)
    strokes = []
    for _ in range(int(rng.integers(1, 4))):
        root = np.array([root_y, rng.uniform(0.1, 0.9) * width])
        reach_px = rng.uniform(0.4, 1.1) * height * (-1.0 if upwards else 1.0)
        tip = root + np.array([reach_px, rng.normal(0.0, 0.3) * width])
        thick_px = max(1.3, size_px * float(rng.uniform(0.004, 0.016)))
        stem = _stem(rng, root, tip, thick_px)
        strokes.append(stem)
        for _ in range(int(rng.integers(0, 3))):
            start = stem.points[int(rng.integers(1, len(stem.points) - 1))]
            end = start + 0.4 * reach_px * np.array([rng.uniform(0.2, 1.0), rng.normal(0.0, 0.8)])
            strokes.append(_stem(rng, start, end, 0.6 * thick_px))
    return strokes


def _stem(rng: np.random.Generator, start: Plane, end: Plane, thick_px: float) -> Stroke:
    points = jagged_path(rng, start, end, roughness=0.14, step_px=24.0)
    for _ in range(3):
        points = _rounded(points)
    widths = thick_px * np.linspace(1.0, 0.45, len(points))
    return Stroke(points, widths, np.ones(len(points)))


def _rounded(points: Plane) -> Plane:
    """Corners cut (Chaikin 1974), ends kept: what grows has no kinks."""
    near, far = points[:-1], points[1:]
    cut = np.stack([0.75 * near + 0.25 * far, 0.25 * near + 0.75 * far], axis=1).reshape(-1, 2)
    return np.concatenate([points[:1], cut, points[-1:]])


def _add_leaves(rng: np.random.Generator, cover: Plane, stem: Stroke, size_px: float) -> None:
    """Pointed leaves on alternate sides, in place."""
    long_px = size_px * float(rng.uniform(0.025, 0.07))
    every = max(2, int(len(stem.points) / rng.uniform(2.0, 7.0)))
    for count, place in enumerate(range(every, len(stem.points) - 1, every)):
        along = stem.points[place + 1] - stem.points[place - 1]
        side = 1.0 if count % 2 else -1.0
        angle = float(np.arctan2(along[0], along[1])) + side * float(rng.uniform(0.5, 1.2))
        own_px = long_px * float(rng.uniform(0.6, 1.2))
        centre = stem.points[place] + 0.9 * own_px * np.array([np.sin(angle), np.cos(angle)])
        _add_leaf(cover, centre, angle, own_px, float(rng.uniform(0.25, 0.5)))


def _add_leaf(cover: Plane, centre: Plane, angle: float, half_px: float, slim: float) -> None:
    reach = int(half_px) + 2
    top, left = max(0, int(centre[0]) - reach), max(0, int(centre[1]) - reach)
    patch = cover[top : max(0, int(centre[0]) + reach), left : max(0, int(centre[1]) + reach)]
    y, x = axes(*patch.shape)
    from_y, from_x = y + (top - centre[0]), x + (left - centre[1])
    along = (np.sin(angle) * from_y + np.cos(angle) * from_x) / half_px
    across = np.abs(np.cos(angle) * from_y - np.sin(angle) * from_x)
    inside = slim * half_px * (1.0 - along * along) - across
    np.maximum(patch, np.clip(inside + 0.5, 0.0, 1.0), out=patch)


def _smear(pixels: Pixels, rng: np.random.Generator) -> _Layer:
    """Mortar or filler trowelled on: an opaque patch in about the wall's own colour."""
    height, width = pixels.shape[:2]
    centre = rng.uniform(0.15, 0.85, 2) * (height, width)
    patch = blotch(rng, height, width, centre, scale_px(pixels) * float(rng.uniform(0.08, 0.25)))
    cover = smoothstep(patch, 0.25, 0.6)
    light = 1.0 + octave_noise(rng, height, width, (0.02, 0.03, 0.02, 0.03, 0.04))
    light *= float(rng.uniform(0.8, 1.25))
    red, green, blue = (float(v) for v in pixels.mean(axis=(0, 1)))
    return painted(pixels, cover, (red, green, blue), light), cover


_FRONTS: tuple[Callable[[Pixels, np.random.Generator], _Layer], ...] = (_cable, _plant, _smear)
