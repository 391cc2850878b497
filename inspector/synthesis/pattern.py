"""Regular lines of a wall's making: masonry and tile joints, and the seams of formwork boards."""

from __future__ import annotations

import numpy as np

from inspector.synthesis.noise import Pixels, Plane, line_noise, octave_noise, smoothstep
from inspector.synthesis.shade import axes, scale_px, shaded

_FIRED = (1.10, 0.86, 0.74)
"""Gains that make fired clay of grey concrete, by eye."""
_TILE_ODDS = 0.45
_FIRED_ODDS = 0.3


def masonry(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Joints between tiles, blocks or bricks: a grid, every unit in a tone of its own."""
    height, width = pixels.shape[:2]
    course_px = scale_px(pixels) * float(rng.uniform(0.14, 0.45))
    tiled = bool(rng.random() < _TILE_ODDS)
    length_px = course_px * (1.0 if tiled else float(rng.uniform(1.6, 3.0)))
    along, across = _turned_axes(rng, height, width, wobble_px=0.0 if tiled else 0.9)
    row = np.floor(across / course_px)
    along = along + (0.0 if tiled else 0.5) * length_px * (row % 2.0)
    column = np.floor(along / length_px)
    to_joint = np.minimum(_to_nearest(along, length_px), _to_nearest(across, course_px))
    joint_px = max(1.2, course_px * float(rng.uniform(0.02, 0.09)))
    gain = _unit_tones(rng, row, column, spread=0.02 if tiled else 0.06)
    gain *= _joint_gain(rng, to_joint, joint_px)
    out = shaded(pixels, gain)
    if not tiled and rng.random() < _FIRED_ODDS:
        clay = smoothstep(to_joint, 0.4 * joint_px, 0.7 * joint_px)
        out = shaded(out, clay, _FIRED)
    return out


def formwork(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Seams that boards left: parallel, straight, interrupted, some of them raised fins."""
    height, width = pixels.shape[:2]
    board_px = scale_px(pixels) * float(rng.uniform(0.12, 0.45))
    along, across = _turned_axes(rng, height, width, wobble_px=0.4)
    board = np.floor(across / board_px)
    gain = _unit_tones(rng, board, np.zeros_like(board), spread=0.03)
    offset = across - board_px * np.rint(across / board_px)
    seam = np.rint(across / board_px)
    for number in np.unique(seam):
        here = seam == number
        gain[here] *= _seam_gain(rng, offset[here], along[here])
    return shaded(pixels, gain)


def _turned_axes(
    rng: np.random.Generator, height: int, width: int, *, wobble_px: float
) -> tuple[Plane, Plane]:
    """Coordinates in px along and across courses that are level or upright, nearly; all above 0."""
    y, x = axes(height, width)
    angle = np.deg2rad(float(rng.normal(0.0, 2.5)) + float(rng.choice((0.0, 0.0, 90.0))))
    shift = 2.0 * float(height + width)
    along = np.cos(angle) * x + np.sin(angle) * y + shift + rng.uniform(0.0, 100.0)
    across = np.cos(angle) * y - np.sin(angle) * x + shift + rng.uniform(0.0, 100.0)
    if wobble_px:
        slow = (0.0, 0.2, 0.3, 0.6, 1.0)
        along = along + wobble_px * octave_noise(rng, height, width, slow)
        across = across + wobble_px * octave_noise(rng, height, width, slow)
    return along, across


def _to_nearest(values: Plane, period: float) -> Plane:
    return np.asarray(np.abs(values - period * np.rint(values / period)), dtype=np.float64)


def _unit_tones(rng: np.random.Generator, row: Plane, column: Plane, *, spread: float) -> Plane:
    """One gain per (row, column), about 1."""
    rows = (row - row.min()).astype(np.int64)
    columns = (column - column.min()).astype(np.int64)
    tones = 1.0 + spread * rng.standard_normal((int(rows.max()) + 1, int(columns.max()) + 1))
    chosen: Plane = np.clip(tones, 0.7, 1.3)[rows, columns]
    return chosen


def _joint_gain(rng: np.random.Generator, to_joint: Plane, joint_px: float) -> Plane:
    """Recessed and dark, or filled with pale mortar; the edges of the units catch some light."""
    cover = np.clip((joint_px / 2.0 - to_joint) / float(rng.uniform(0.8, 1.6)) + 0.5, 0.0, 1.0)
    pale = rng.random() < 0.4
    depth = -float(rng.uniform(0.08, 0.3)) if pale else float(rng.uniform(0.15, 0.65))
    edge = np.clip(1.0 - np.abs(to_joint - joint_px / 2.0 - 0.8) / 1.2, 0.0, 1.0)
    height, width = to_joint.shape
    worn = np.clip(1.0 + octave_noise(rng, height, width, (0.1, 0.15, 0.2, 0.25)), 0.4, 1.4)
    return 1.0 - cover * depth * worn + float(rng.uniform(0.0, 0.1)) * edge * (1.0 - cover)


def _seam_gain(rng: np.random.Generator, offset: Plane, along: Plane) -> Plane:
    """A line of 0.8 to 3 px that comes and goes; a fin is lit on one side and dark on the other."""
    half_px = float(np.exp(rng.uniform(np.log(0.4), np.log(1.5))))
    cover = np.clip((half_px - np.abs(offset)) / 0.8 + 0.5, 0.0, 1.0)
    first = float(along.min())
    shown = 0.65 + 0.45 * line_noise(rng, int(along.max() - first) + 2, 40)
    cover = cover * np.clip(shown, 0.0, 1.0)[(along - first).astype(np.int64)]
    depth = float(rng.uniform(0.1, 0.5))
    if rng.random() < 0.4:
        side = float(rng.choice((-1.0, 1.0)))
        return 1.0 + depth * cover * np.clip(side * offset / half_px, -1.0, 0.8)
    return 1.0 - depth * cover
