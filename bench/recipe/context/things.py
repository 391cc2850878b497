"""Things on and before a wall that are no cracks: writing, crack gauges, spalls, plants, and where
the wall ends. Each takes uint8 (H, W, 3) and returns new pixels."""

from __future__ import annotations

import string
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

from inspector.synthesis.noise import octave_noise, smoothstep, to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Plane = NDArray[np.floating[Any]]
    Rgb = tuple[float, float, float]

_CHALKS: tuple[Rgb, ...] = (
    (238, 238, 232), (238, 238, 232), (225, 200, 60), (190, 40, 40), (40, 70, 160), (30, 30, 34),
    (230, 110, 30), (70, 150, 70),
)  # fmt: skip
"""Chalk, crayon, felt pen and spray paint."""
_LEAVES: tuple[Rgb, ...] = (
    (64, 92, 40), (88, 116, 52), (120, 118, 60), (104, 84, 52), (70, 66, 50),
)  # fmt: skip
_FINER = 2
"""Strokes are drawn so many times larger and then averaged."""


def writing(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Marks of inspectors and others: drawn lines, loops and arrows, and letters and figures, 1.5
    to 14 px thick, which skip over the surface as chalk does."""
    height, width = pixels.shape[:2]
    canvas, pen = _canvas(height, width)
    thick = float(np.exp(rng.uniform(np.log(1.5), np.log(14))))
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.45:
            word = "".join(rng.choice(list(string.ascii_uppercase + string.digits + ".-=/ "), 6))
            _print(canvas, rng, word[: int(rng.integers(1, 7))], thick)
        else:
            _line(pen, _curve(rng, height, width), thick)
    chalky = octave_noise(rng, height, width, (0.5, 0.3, 0.2)) * float(rng.uniform(0, 0.9))
    cover = _shown(canvas, height, width, float(rng.uniform(0, 0.8)))
    cover = cover * np.clip(0.95 + chalky, 0, 1) * float(rng.uniform(0.45, 1))
    return _covered(pixels, cover, _CHALKS[rng.integers(len(_CHALKS))])


def gauge(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A crack-width card or ruler on the wall: lines of growing width and figures on a light, dark
    or clear strip."""
    height, width = pixels.shape[:2]
    long, deep = float(rng.uniform(0.35, 1.1)) * width, float(rng.uniform(24, 90))
    card = Image.new("L", (_FINER * int(long), _FINER * int(deep)))
    pen, x, n = ImageDraw.Draw(card), 4.0, 0
    step, thick = float(rng.uniform(4, 22)), float(rng.uniform(0.5, 1.5))
    grows = rng.random() < 0.5
    while x < long - 4:
        reach = deep * (0.7 if n % 5 == 0 else 0.4)
        half = _FINER * min(step / 3, thick * (1 + (0.25 * n if grows else 0))) / 2
        pen.rectangle((_FINER * x - half, 0, _FINER * x + half, _FINER * reach), fill=255)
        if n % 5 == 0 and deep > 30:
            at = (_FINER * x, _FINER * deep * 0.72)
            pen.text(at, str(n // 5), fill=255, font=_font(int(_FINER * deep * 0.25)))
        x, n = x + step, n + 1
    body = Image.new("L", card.size, 255)
    angle, middle = float(rng.uniform(0, 360)), rng.uniform(0.1, 0.9, 2) * (width, height)
    planes = [_placed(each, angle, middle, height, width) for each in (body, card)]
    light = rng.random() < 0.75
    strip: Rgb = (232, 230, 222) if light else (60, 62, 66)
    clear = float(rng.uniform(0.25, 0.6)) if rng.random() < 0.3 else float(rng.uniform(0.85, 1))
    shadow = _shadow(planes[0], rng, reach=5, soft=(0.5, 3))
    under = _covered(pixels, shadow * float(rng.uniform(0.1, 0.5)), (20, 20, 22))
    on = _covered(under, planes[0] * clear, strip)
    return _covered(on, planes[1] * 0.9, (30, 30, 30) if light else (225, 225, 225))


def spall(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A piece broken out: a ragged rim, in shade on one side and lit on the other, and rough, now
    and then rusty ground with stones in it."""
    height, width = pixels.shape[:2]
    size = min(height, width, 600)
    radius = size * float(np.exp(rng.uniform(np.log(0.04), np.log(0.3))))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    middle = rng.uniform(0.1, 0.9, 2) * (height, width)
    turned = float(rng.uniform(0, np.pi))
    along = (x - middle[1]) * np.cos(turned) + (y - middle[0]) * np.sin(turned)
    across = (y - middle[0]) * np.cos(turned) - (x - middle[1]) * np.sin(turned)
    round_ = np.sqrt((along / float(rng.uniform(0.8, 2.2))) ** 2 + across**2) / radius
    ragged = octave_noise(rng, height, width, (0.03, 0.05, 0.09, 0.16, 0.25, 0.3))
    level = 1 - round_ + 0.5 * ragged
    inside = smoothstep(level, 0, float(rng.uniform(0.02, 0.1)))
    # Relief: the pit's floor lies deeper with stones in it; light comes from one side.
    floor = np.clip(level, 0, 0.25) * radius * float(rng.uniform(0.5, 2.5))
    floor += inside * octave_noise(rng, height, width, (0.3, 0.7, 1.2, 1.2)) * rng.uniform(0.6, 2)
    light = float(rng.uniform(0, 2 * np.pi))
    slope = np.gradient(ndimage.gaussian_filter(floor, 0.7))
    shade = np.cos(light) * slope[0] + np.sin(light) * slope[1]
    gain = np.clip(1 + float(rng.uniform(0.15, 0.6)) * shade, 0.2, 1.5)
    gain *= 1 - inside * float(rng.uniform(-0.1, 0.5))
    tint: Rgb = (1.02, 0.85, 0.68) if rng.random() < 0.3 else (1, 1, 1)
    return to_uint8(pixels * gain[:, :, None] * (1 + inside[:, :, None] * (np.array(tint) - 1)))


def plant(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Stalks, tendrils, roots or dry grass before the wall, with or without leaves, and their
    shadow."""
    height, width = pixels.shape[:2]
    canvas, pen = _canvas(height, width)
    thick = float(np.exp(rng.uniform(np.log(1.2), np.log(9))))
    leaves = float(rng.uniform(4, 30)) if rng.random() < 0.6 else 0
    for _ in range(int(rng.integers(1, 6))):
        points = _curve(rng, height, width)
        _line(pen, points, thick * float(rng.uniform(0.5, 1)))
        for at in points[:: int(rng.integers(3, 9))] if leaves else ():
            r = _FINER * leaves * rng.uniform(0.3, 1, 2) / 2
            x, y = _FINER * at + rng.normal(0, leaves, 2)
            pen.ellipse((x - r[0], y - r[1], x + r[0], y + r[1]), fill=255)
    cover = _shown(canvas, height, width, float(rng.uniform(0, 1.5)))
    shadow = _shadow(cover, rng, reach=9, soft=(0.8, 4))
    under = _covered(pixels, shadow * float(rng.uniform(0, 0.6)), (24, 26, 30))
    colour = np.array(_LEAVES[rng.integers(len(_LEAVES))]) * rng.uniform(0.6, 1.3)
    mottled = 1 + octave_noise(rng, height, width, (0.05, 0.1, 0.15, 0.2))
    return _covered(under, cover, colour * mottled[:, :, None])


def brink(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The end of a wall: beyond a straight, chipped edge lies another surface in its own light, or
    sky, or the dark of a gap."""
    height, width = pixels.shape[:2]
    angle = float(rng.normal(0, 8)) + float(rng.choice((0.0, 90.0, 180.0, 270.0)))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turned = np.deg2rad(angle)
    from_y, from_x = (y - rng.uniform(0.1, 0.9) * height), (x - rng.uniform(0.1, 0.9) * width)
    beyond = np.cos(turned) * from_y + np.sin(turned) * from_x
    beyond = beyond + octave_noise(rng, height, width, (0, 0.3, 0.5, 0.8)) * rng.uniform(0, 3)
    cover = smoothstep(beyond, -1, float(np.exp(rng.uniform(0, np.log(8)))))
    kind = rng.random()
    if kind < 0.4:  # another face of the same stone
        gain = float(rng.choice((rng.uniform(0.35, 0.8), rng.uniform(1.15, 1.5))))
        other = np.roll(pixels[::-1], int(rng.integers(width)), axis=1) * gain
    else:
        tone = rng.uniform(15, 70) if kind < 0.7 else rng.uniform(140, 245)
        plain = tone * rng.uniform(0.93, 1.07, 3)
        mottled = 1 + octave_noise(rng, height, width, (0.01, 0.01, 0.02, 0.03, 0.08))
        other = plain * mottled[:, :, None]
    lip = float(rng.uniform(0, 0.35)) * np.exp(-((beyond / 3) ** 2)) * float(rng.choice((-1, 1)))
    return _covered(np.rint(pixels * (1 + lip[:, :, None])).clip(0, 255), cover, other)


def _canvas(height: int, width: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("L", (_FINER * width, _FINER * height))
    return canvas, ImageDraw.Draw(canvas)


def _curve(rng: np.random.Generator, height: int, width: int) -> Plane:
    """A smooth line through random points, (N, 2) as (x, y); straight now and then."""
    knots = rng.uniform(-0.1, 1.1, (int(rng.integers(2, 6)), 2)) * (width, height)
    if rng.random() < 0.5:  # one way, rather than to and fro
        knots = knots[np.argsort(knots[:, int(rng.integers(2))])]
    t = np.linspace(0, len(knots) - 1, 48)
    if len(knots) < 4:
        return np.stack([np.interp(t, np.arange(len(knots)), k) for k in knots.T], axis=1)
    smooth = [ndimage.map_coordinates(k, [t], order=3, mode="nearest") for k in knots.T]
    return np.stack(smooth, axis=1)


def _line(pen: ImageDraw.ImageDraw, points: Plane, thick: float) -> None:
    flat = [(_FINER * float(x), _FINER * float(y)) for x, y in points]
    pen.line(flat, fill=255, width=max(1, round(_FINER * thick)), joint="curve")


def _print(canvas: Image.Image, rng: np.random.Generator, word: str, thick: float) -> None:
    size = int(_FINER * np.clip(thick * rng.uniform(6, 14), 10, 160))
    font = _font(size)
    left, top, right, bottom = font.getbbox(word)
    label = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8))
    stroke = int(rng.integers(0, 1 + max(0, size // 18)))
    ImageDraw.Draw(label).text((4 - left, 4 - top), word, fill=255, font=font, stroke_width=stroke)
    label = label.rotate(float(rng.normal(0, 20)), expand=True, resample=Image.Resampling.BILINEAR)
    at = [int(rng.uniform(-0.1, 0.9) * side) for side in canvas.size]
    canvas.paste(255, (at[0], at[1]), label)


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _shown(canvas: Image.Image, height: int, width: int, soft: float) -> Plane:
    """Cover 0 to 1 of what was drawn, float32 (height, width)."""
    small = canvas.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small.filter(ImageFilter.GaussianBlur(soft)), np.float32) / 255


def _placed(part: Image.Image, angle: float, middle: Plane, height: int, width: int) -> Plane:
    turned = part.rotate(angle, expand=True, resample=Image.Resampling.BILINEAR)
    canvas, _ = _canvas(height, width)
    x, y = (int(_FINER * v - side / 2) for v, side in zip(middle, turned.size, strict=True))
    canvas.paste(turned, (x, y))
    return _shown(canvas, height, width, 0.4)


def _shadow(
    cover: Plane, rng: np.random.Generator, *, reach: float, soft: tuple[float, float]
) -> Plane:
    """What stands before the wall, moved by up to `reach` px and blurred, 0 to 1."""
    moved = ndimage.shift(cover, rng.uniform(-reach, reach, 2), order=1, mode="nearest")
    return np.asarray(ndimage.gaussian_filter(moved, float(rng.uniform(*soft))))


def _covered(pixels: NDArray[Any], cover: Plane, colour: Any) -> Pixels:
    return to_uint8(pixels + cover[:, :, None] * (np.asarray(colour, np.float32) - pixels))
