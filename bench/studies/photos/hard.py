"""Lines of a structure that are no cracks: seams of formwork boards, joints of slabs and stones,
cables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.synthesis.noise import line_noise, smoothstep

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Plane = NDArray[np.floating[Any]]


def boards(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Imprint of formwork: seams of 0.8 to 3 px, 40 to 260 px apart, which come and go, some of
    them raised fins, short butt joints between them, and a tone of its own for every board."""
    height, width = pixels.shape[:2]
    along, across = _turned(rng, height, width)
    spacing = float(np.exp(rng.uniform(np.log(40), np.log(260))))
    board = np.floor(across / spacing).astype(np.int64)
    board -= board.min()
    tones = (1 + 0.03 * rng.standard_normal(int(board.max()) + 1)).astype(np.float32)
    gain = tones[board]
    for number in range(int(across.min() / spacing), int(across.max() / spacing) + 2):
        gain *= _seam(rng, across - number * spacing, along)
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 5))):
            place = float(rng.uniform(along.min(), along.max()))
            on = (board == rng.integers(board.max() + 1)) | (board == rng.integers(board.max() + 1))
            gain[on] *= _seam(rng, along - place, across)[on]
    return _shaded(pixels, gain)


def slabs(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Joints between slabs, 2 to 14 px wide and 160 to 900 px apart, open or filled."""
    height, width = pixels.shape[:2]
    along, across = _turned(rng, height, width)
    spacing = float(np.exp(rng.uniform(np.log(160), np.log(900))))
    length = spacing * float(rng.uniform(0.8, 2.2))
    half = float(np.exp(rng.uniform(np.log(2), np.log(14)))) / 2
    depth = float(rng.uniform(0.15, 0.75)) * float(rng.choice((1, 1, 1, -0.4)))
    soft = float(rng.uniform(0.8, 2.5))
    row = np.floor(across / spacing)
    staggered = along + (0.5 * length * (row % 2) if rng.random() < 0.4 else 0)
    to_row = np.abs(across - spacing * np.rint(across / spacing))
    to_column = np.abs(staggered - length * np.rint(staggered / length))
    nearest = np.minimum(to_row, to_column)
    cover = np.clip((half - nearest) / soft + 0.5, 0, 1)
    dirt = 1 + 0.3 * line_noise(rng, height + width, 30)[(along - along.min()).astype(np.int64)]
    lit = float(rng.uniform(0, 0.12)) * np.clip(1 - np.abs(nearest - half - 1) / 1.5, 0, 1)
    tone = 1 + 0.03 * np.sin(row * float(rng.uniform(1, 9)) + np.floor(staggered / length) * 2.1)
    return _shaded(pixels, tone * (1 - depth * cover * np.clip(dirt, 0.3, 1.3)) + lit * (1 - cover))


def stones(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A bond of bricks or setts, 24 to 150 px high, each of its own tone, with rounded corners and
    uneven sides; the joints between them, 2 to 20 px wide, are dark or filled with light mortar."""
    height, width = pixels.shape[:2]
    along, across = _turned(rng, height, width)
    uneven = float(rng.uniform(0, 3))
    waves = [line_noise(rng, height + width + 2, float(rng.uniform(15, 60))) for _ in range(2)]
    places = [(plane - plane.min()).astype(np.int64) for plane in (across, along)]
    along, across = (
        plane + np.float32(uneven) * wave[place]
        for plane, wave, place in zip((along, across), waves, places, strict=True)
    )
    tall = float(np.exp(rng.uniform(np.log(24), np.log(150))))
    long = tall * float(rng.uniform(0.9, 3.2))
    half = float(np.exp(rng.uniform(np.log(1), np.log(min(10.0, 0.15 * tall)))))
    row = np.floor(across / tall).astype(np.int64)
    row -= row.min()
    bond = float(rng.choice((0.5, 0.5, 0.33, 0.0)))
    shifts = bond * np.arange(row.max() + 1) + rng.normal(0, 0.08, row.max() + 1) * (bond > 0)
    place = along / long + shifts[row]
    column = np.floor(place).astype(np.int64)
    column -= column.min()
    radius = float(rng.uniform(0.02, 0.3)) * tall
    down = tall / 2 - half - np.abs(across - tall * (np.floor(across / tall) + 0.5))
    beside = long / 2 - half - long * np.abs(place - np.floor(place) - 0.5)
    corner = np.hypot(np.clip(radius - down, 0, None), np.clip(radius - beside, 0, None))
    inside = np.minimum(np.minimum(down, beside), radius - corner)
    soft = float(rng.uniform(0.8, 4))
    cover = np.clip(inside / soft + 0.5, 0, 1)
    tones = 1 + float(rng.uniform(0.02, 0.15)) * rng.standard_normal(
        (row.max() + 1, column.max() + 1)
    )
    edge = float(rng.uniform(-0.25, 0.1)) * np.clip(1 - np.abs(inside - soft) / (2 * soft), 0, 1)
    joint = float(rng.choice((rng.uniform(0.25, 0.8), rng.uniform(1.1, 1.6))))
    return _shaded(pixels, cover * (tones[row, column] + edge) + (1 - cover) * joint)


def cable(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A cable in front of the wall, 3 to 24 px thick and sagging, with its shadow beside it."""
    height, width = pixels.shape[:2]
    along, across = _turned(rng, height, width)
    u = 2 * (along - along.min()) / max(float(np.ptp(along)), 1.0) - 1
    middle = across.min() + float(rng.uniform(0.2, 0.8)) * float(np.ptp(across))
    sag = float(rng.uniform(-0.15, 0.15)) * height
    offset = across - middle - sag * (u * u - 0.5) - float(rng.uniform(-0.3, 0.3)) * height * u
    half = float(np.exp(rng.uniform(np.log(1.5), np.log(12))))
    shade = 1 - smoothstep(np.abs(offset - half * rng.uniform(-1.5, 1.5)), half - 1, half + 2)
    out = _shaded(pixels, 1 - float(rng.uniform(0, 0.5)) * shade).astype(np.float32)
    place = np.clip(offset / half, -1, 1)
    light = 0.5 + 0.5 * np.sqrt(1 - place**2) + 0.3 * np.exp(-(((place - 0.3) / 0.25) ** 2))
    colour = np.array(((30, 30, 32), (112, 113, 112), (200, 198, 192))[int(rng.integers(3))])
    cover = np.clip(half - np.abs(offset) + 0.5, 0, 1)[:, :, None]
    out += cover * (light[:, :, None] * colour - out)
    return np.asarray(np.rint(out).clip(0, 255).astype(np.uint8))


def _turned(rng: np.random.Generator, height: int, width: int) -> tuple[Plane, Plane]:
    """Coordinates in px along and across lines that are level or upright, nearly; float32."""
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    angle = np.deg2rad(float(rng.normal(0, 2.5)) + float(rng.choice((0.0, 90.0))))
    along = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    across = np.float32(np.cos(angle)) * y - np.float32(np.sin(angle)) * x
    return along + np.float32(rng.uniform(0, 200)), across + np.float32(rng.uniform(0, 200))


def _seam(rng: np.random.Generator, offset: Plane, along: Plane) -> Plane:
    """Gain of a line of 0.8 to 3 px that comes and goes; a fin is lit on one side."""
    half = float(np.exp(rng.uniform(np.log(0.4), np.log(1.5))))
    cover = np.clip((half - np.abs(offset)) / 0.8 + 0.5, 0, 1)
    shown = 0.7 + 0.4 * line_noise(rng, int(np.ptp(along)) + 2, 40)
    cover = cover * np.clip(shown, 0, 1)[(along - along.min()).astype(np.int64)]
    depth = float(rng.uniform(0.1, 0.6))
    if rng.random() < 0.3:
        side = float(rng.choice((-1, 1)))
        return np.asarray(1 + depth * cover * np.clip(side * offset / half, -1, 0.8))
    return np.asarray(1 - depth * cover)


def _shaded(pixels: Pixels, gain: Plane) -> Pixels:
    out = pixels * gain[:, :, None].astype(np.float32)
    return np.asarray(np.rint(out).clip(0, 255).astype(np.uint8))
