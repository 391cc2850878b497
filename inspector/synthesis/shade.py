"""What all painters of distractors share: axes, lines, patches, and how they change pixels."""

from __future__ import annotations

import numpy as np

from inspector.synthesis.noise import Pixels, Plane, octave_noise, smoothstep, to_uint8

RGB = tuple[float, float, float]


def shaded(pixels: Pixels, gain: Plane, tint: RGB | None = None) -> Pixels:
    """Multiply by `gain` (H, W), or by `tint` in proportion to `gain` 0..1 where one is given."""
    out = np.empty_like(pixels)
    for channel in range(3):
        factor = gain if tint is None else 1.0 + (tint[channel] - 1.0) * gain
        out[:, :, channel] = to_uint8(pixels[:, :, channel] * factor)
    return out


def painted(pixels: Pixels, cover: Plane, colour: RGB, light: Plane) -> Pixels:
    """Lay an opaque `colour` (grey levels) times `light` (H, W) over the pixels, where `cover`
    (H, W) is 1, and partly where it is less."""
    out = np.empty_like(pixels)
    for channel in range(3):
        own = pixels[:, :, channel]
        out[:, :, channel] = to_uint8(own + cover * (colour[channel] * light - own))
    return out


def axes(height: int, width: int) -> tuple[Plane, Plane]:
    """Column of y and row of x in px; they broadcast to (height, width)."""
    return np.arange(height, dtype=np.float64)[:, None], np.arange(width, dtype=np.float64)[None, :]


def scale_px(pixels: Pixels) -> float:
    """Length that features are sized by: the shorter side, but no more than 600 px."""
    return float(min(pixels.shape[0], pixels.shape[1], 600))


def line_distance(rng: np.random.Generator, height: int, width: int, angle_deg: float) -> Plane:
    """Signed distance in px from a straight line near the middle; 0 degrees is level."""
    y, x = axes(height, width)
    angle = np.deg2rad(angle_deg)
    from_y = y - rng.uniform(0.2, 0.8) * height
    from_x = x - rng.uniform(0.2, 0.8) * width
    return np.asarray(np.cos(angle) * from_y + np.sin(angle) * from_x, dtype=np.float64)


def sagging_line(rng: np.random.Generator, height: int, width: int) -> Plane:
    """Signed distance in px from a line that hangs or leans through the middle."""
    upright = bool(rng.random() < 0.5)
    length, across = (height, width) if upright else (width, height)
    along = np.linspace(-1.0, 1.0, length)
    slope, sag = rng.uniform(-0.35, 0.35) * across, rng.uniform(-0.2, 0.2) * across
    centre = rng.uniform(0.3, 0.7) * across + slope * along + sag * (along * along - 0.5)
    steep = np.gradient(centre) if length > 1 else np.zeros(length)
    offset = np.arange(across, dtype=np.float64)[None, :] - centre[:, None]
    distance = offset / np.sqrt(1.0 + steep * steep)[:, None]
    return distance if upright else np.ascontiguousarray(distance.T)


def blotch(
    rng: np.random.Generator, height: int, width: int, centre: Plane, radius_px: float
) -> Plane:
    """Soft irregular patch around `centre` (y, x), 0..1."""
    y, x = axes(height, width)
    from_y = (y - centre[0]) / (radius_px * rng.uniform(0.7, 1.4))
    from_x = (x - centre[1]) / (radius_px * rng.uniform(0.7, 1.4))
    field = octave_noise(rng, height, width, (0.0, 0.08, 0.1, 0.16, 0.24, 0.32, 0.32))
    field += 1.0
    field -= np.sqrt(from_y * from_y + from_x * from_x)
    return smoothstep(field, 0.0, float(rng.uniform(0.25, 1.0)))
