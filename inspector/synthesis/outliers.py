"""Synthetic pictures of what is no concrete: skies, things before a ground, grass, views, screens,
pages. What they are not is what a photo of a surface is: even all over, and dull.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from inspector.synthesis.textures import (
    Colour,
    Picture,
    any_colour,
    any_texture,
    as_image,
    blades,
    blurred,
    overcast,
    ramp,
    smooth,
    whole,
)

_GREY_SHARE = 0.25
_SOFT_SHARE = 0.3
_JPEG_SHARE = 0.5


def outlier_images(count: int, size: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """`count` pictures, uint8 (size, size, 3); the same seed gives the same ones."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        yield _taken(rng, _MAKERS[number % len(_MAKERS)](rng, size))


def _taken(rng: np.random.Generator, picture: Picture) -> NDArray[np.uint8]:
    """As a camera or a web page gives it: sometimes grey, soft, or a JPEG file."""
    if rng.random() < _GREY_SHARE:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < _SOFT_SHARE:
        picture = blurred(as_image(picture), rng.uniform(0.3, 2))
    image = as_image(picture)
    if rng.random() < _JPEG_SHARE:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(30, 95)))
        image = Image.open(file)
    return np.array(image)


def _before_a_ground(rng: np.random.Generator, size: int) -> Picture:
    """Up to three shaded things before plain white, grey, black or a colour."""
    plain = np.full(3, rng.choice([0.0, 128, 128, 240, 255]))
    ground = plain if rng.random() < 0.6 else any_colour(rng)
    picture = smooth(rng, size) if rng.random() < 0.3 else np.full((size, size, 3), ground)
    for _ in range(int(rng.integers(1, 4))):
        cover, light = _blob(rng, size), rng.uniform(0.5, 1) + rng.uniform(0, 0.7) * ramp(rng, size)
        picture = (1 - cover) * picture + cover * any_texture(rng, size) * light
    return picture


def _blob(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """1 within a closed line that wavers about an ellipse, 0 outside it, (size, size, 1)."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j] - rng.uniform(-0.4, 0.4, (2, 1, 1))
    angle, radius = np.arctan2(y, x), np.hypot(x, y * rng.uniform(0.6, 1.7))
    waves = range(1, int(rng.integers(2, 9)))
    edge = rng.uniform(0.25, 0.8) * (
        1 + sum(rng.normal(0, 0.3 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in waves)
    )
    steepness = rng.uniform(30, 120)
    inside: NDArray[np.float64] = 1 / (1 + np.exp(((radius - edge) * steepness).clip(-50, 50)))
    return inside[:, :, None]


def _view(rng: np.random.Generator, size: int) -> Picture:
    """Sky or something else above a skyline, something else below it, and things in rows."""
    sky = overcast if rng.random() < 0.5 else smooth
    above = sky(rng, size) if rng.random() < 0.7 else any_texture(rng, size)
    across = np.linspace(0, 6, size)
    line = rng.uniform(0.2, 1) * size + sum(
        rng.normal(0, size / 12 / k) * np.sin(k * across + rng.uniform(0, 6)) for k in range(1, 5)
    )
    if rng.random() < 0.4:
        line = np.round(line / 12) * 12
    below = (np.arange(size)[:, None] > line)[:, :, None]
    picture = np.where(below, any_texture(rng, size), above)
    return _with_windows(rng, picture) if rng.random() < 0.5 else picture


def _with_windows(rng: np.random.Generator, picture: Picture) -> Picture:
    size, image = len(picture), as_image(picture)
    draw = ImageDraw.Draw(image)
    wide, high = rng.uniform(5, 40, 2)
    fill = whole(any_colour(rng) * rng.uniform(0.2, 1))
    outline = whole(any_colour(rng)) if rng.random() < 0.5 else None
    (left, top), gap = rng.uniform(0, size / 2, 2), rng.uniform(1.2, 2.5, 2)
    columns, rows = rng.integers(2, 9, 2)
    for x in left + np.arange(columns) * wide * gap[0]:
        for y in top + np.arange(rows) * high * gap[1]:
            draw.rectangle((x, y, x + wide, y + high), fill=fill, outline=outline)
    return np.asarray(image, np.float64)


def _screen(rng: np.random.Generator, size: int) -> Picture:
    """Bars, boxes and small text on a flat ground, bright or dark."""
    dark = rng.random() < 0.3
    ground = np.full(3, rng.uniform(15, 60) if dark else rng.uniform(225, 255))
    image = Image.new("RGB", (size, size), whole(ground))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 4))):
        colour = any_colour(rng) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 255))
        thick = rng.uniform(6, 50)
        box = (*rng.uniform(0, size / 2, 2), *rng.uniform(size / 2, size, 2))
        kinds = ((0, 0, size, thick), (0, 0, thick, size), box)
        draw.rectangle(kinds[int(rng.integers(3))], fill=whole(colour))
    plain = np.full(3, rng.uniform(150, 255) if dark else rng.uniform(0, 110))
    for _ in range(int(rng.integers(0, 30))):
        x, y = rng.uniform(0, size, 2)
        ink = plain if rng.random() < 0.8 else any_colour(rng)
        place = (x, y, min(size, x + rng.uniform(20, 180)))
        _line_of_text(draw, rng, place, rng.uniform(2, 7), whole(ink))
    return np.asarray(image, np.float64)


def _page(rng: np.random.Generator, size: int) -> Picture:
    """A page of glyphs that mean nothing, as somebody photographs it: turned, blurred, half lit;
    sometimes bright on dark."""
    image = _printed(rng, size)
    if rng.random() < 0.6:
        table = whole(any_colour(rng)) if rng.random() < 0.5 else image.getpixel((0, 0))
        turn = Image.Resampling.BILINEAR
        image = image.rotate(rng.normal(0, 12), resample=turn, fillcolor=table)
    picture = blurred(image, float(rng.choice([0, 0.7, 1.5, 3])))
    picture = 255 - picture if rng.random() < 0.2 else picture
    return picture * (rng.uniform(0.4, 1) + rng.uniform(0, 0.5) * ramp(rng, size))


def _printed(rng: np.random.Generator, size: int) -> Image.Image:
    paper = rng.uniform(200, 255) * np.array([1, 1, rng.uniform(0.88, 1)])
    image = Image.new("RGB", (size, size), whole(paper))
    draw = ImageDraw.Draw(image)
    ink = whole(any_colour(rng) if rng.random() < 0.2 else np.full(3, rng.uniform(0, 80)))
    height, left, y = rng.uniform(2, 14), *rng.uniform(0, 30, 2)
    while y < size:
        end = size - rng.uniform(0, 30) if rng.random() < 0.8 else rng.uniform(size / 4, size)
        _line_of_text(draw, rng, (left, y, end), height, ink)
        y += height * rng.uniform(1.4, 1.7) * (1 if rng.random() < 0.9 else 2)
    return image


def _line_of_text(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    place: tuple[float, float, float],
    height: float,
    ink: Colour,
) -> None:
    x, y, end = place
    width = max(1, int(height / 7))
    while x < end:
        for _ in range(int(rng.integers(2, 9))):
            draw.line((x + height * 0.1, y, x + height * 0.1, y + height), fill=ink, width=width)
            for _ in range(2):
                across, down = rng.uniform(0, height * 0.6, 2) + x, rng.uniform(0, height, 2) + y
                draw.line((across[0], down[0], across[1], down[1]), fill=ink, width=width)
            x += height * 0.75
        x += height * 0.6


_MAKERS: tuple[Callable[[np.random.Generator, int], Picture], ...] = (
    smooth,
    overcast,
    _before_a_ground,
    blades,
    _view,
    _screen,
    _page,
    _view,
)
"""In turn; views, the most varied, twice."""
