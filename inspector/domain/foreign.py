"""Synthetic pictures of what is no concrete: skies, pages, drawings, leaves, anything coloured.

Of the kind that Baradad et al. 2021 ("Learning to see by looking at noise") teach networks with:
they share the statistics of photographs and belong to nobody.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Picture = NDArray[np.float64]
"""(size, size, 3), grey levels, not clipped yet."""
Colour = tuple[int, int, int]
_GREY_SHARE = 0.2


def foreign_pictures(count: int, size: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """`count` pictures, uint8 (size, size, 3); the same seed gives the same ones."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        make = _MAKERS[number % len(_MAKERS)]
        picture = make(rng, size)
        if make in _CAN_BE_GREY and rng.random() < _GREY_SHARE:
            picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
        yield picture.clip(0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    return (
        np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.15, 1), rng.uniform(0.1, 1))) * 255
    )


def _whole(colour: NDArray[np.float64]) -> Colour:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


def _spectrum(rng: np.random.Generator, size: int, slope: float) -> NDArray[np.float64]:
    """Noise whose amplitude falls as frequency to the power of `slope`; mean 0, deviation 1."""
    steps = np.fft.fftfreq(size)
    frequency = np.hypot(*np.meshgrid(steps, steps))
    frequency[0, 0] = 1
    phase = np.exp(2j * np.pi * rng.random((size, size)))
    noise: NDArray[np.float64] = np.fft.ifft2(phase / frequency**slope).real
    normal: NDArray[np.float64] = (noise - noise.mean()) / noise.std()
    return normal


def _leaves(rng: np.random.Generator, size: int) -> Picture:
    """Shapes of all sizes one upon the other, as the things in a photo hide each other."""
    base, variety, largest = _colour(rng), rng.uniform(0.2, 1), rng.uniform(0.1, 0.4) * size
    image = Image.new("RGB", (size, size), _whole(_colour(rng)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(30, 260))):
        radius = min(largest, 4 / rng.random() ** 0.7)
        fill = _whole((1 - variety) * base + variety * _colour(rng))
        _shape(draw, rng, rng.uniform(0, size, 2), radius, fill)
    picture = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2.5))), np.float64)
    grain = _spectrum(rng, size, rng.uniform(0.5, 1.5)) * rng.uniform(0, 25)
    return picture + grain[:, :, None]


def _shape(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    centre: NDArray[np.float64],
    radius: float,
    fill: Colour,
) -> None:
    (x, y), flat = centre, radius * rng.uniform(0.2, 1)
    kind = rng.integers(3)
    if kind == 0:
        draw.ellipse((x - radius, y - flat, x + radius, y + flat), fill=fill)
    elif kind == 1:
        draw.rectangle((x - radius, y - flat, x + radius, y + flat), fill=fill)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 5))
        corners = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
        draw.polygon(corners, fill=fill)


def _clouds(rng: np.random.Generator, size: int) -> Picture:
    """Coloured noise with a photo's spectrum."""
    noise = np.stack([_spectrum(rng, size, rng.uniform(0.8, 2)) for _ in range(3)], axis=2)
    mixed = rng.uniform(0.1, 1)
    return _colour(rng) + ((1 - mixed) * noise[:, :, :1] + mixed * noise) * rng.uniform(20, 70)


def _sky(rng: np.random.Generator, size: int) -> Picture:
    """A gradient from blue towards the horizon, with or without clouds."""
    down = np.linspace(0, 1, size)[:, None, None]
    zenith = np.array([rng.uniform(20, 150), rng.uniform(80, 190), rng.uniform(150, 255)])
    horizon = rng.uniform(120, 255) + rng.uniform(-10, 10, 3)
    share = down * rng.random()
    picture = np.broadcast_to((1 - share) * zenith + share * horizon, (size, size, 3))
    if rng.random() < 0.6:
        density = _spectrum(rng, size, rng.uniform(1.6, 2.2)) - rng.uniform(-0.5, 1.5)
        cloud = 1 / (1 + np.exp(-density * rng.uniform(1, 4)))[:, :, None]
        picture = picture * (1 - cloud) + cloud * rng.uniform(180, 255)
    return picture + rng.normal(0, rng.uniform(0.3, 2), (size, size, 1))


def _page(rng: np.random.Generator, size: int) -> Picture:
    """Lines of glyphs that mean nothing, on paper."""
    paper = rng.uniform(200, 255) * np.array([1, 1, rng.uniform(0.88, 1)])
    image = Image.new("RGB", (size, size), _whole(paper))
    draw = ImageDraw.Draw(image)
    ink = _whole(_colour(rng) if rng.random() < 0.2 else np.full(3, rng.uniform(0, 80)))
    height, left, y = rng.uniform(2, 14), *rng.uniform(0, 30, 2)
    while y < size:
        end = size - rng.uniform(0, 30) if rng.random() < 0.8 else rng.uniform(size / 4, size)
        _line_of_text(draw, rng, (left, y, end), height, ink)
        y += height * rng.uniform(1.4, 1.7) * (1 if rng.random() < 0.9 else 2)
    picture = np.asarray(image, np.float64)
    if rng.random() < 0.5:
        light = np.linspace(rng.uniform(0.6, 1), 1, size)[None, :, None]
        picture = picture * light + rng.normal(0, 3, (size, size, 1))
    return picture


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


def _drawing(rng: np.random.Generator, size: int) -> Picture:
    """Flat colours with outlines, on white, grey or a colour."""
    plain = np.full(3, rng.choice([255, 128, 240]))
    image = Image.new("RGB", (size, size), _whole(_colour(rng) if rng.random() < 0.5 else plain))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 25))):
        (x, y), (wide, high) = rng.uniform(0, size, 2), rng.uniform(size / 45, size / 2, 2) / 2
        grey = int(rng.choice([0, 40, 200]))
        outline = (grey, grey, grey) if rng.random() < 0.5 else None
        make = draw.ellipse if rng.random() < 0.4 else draw.rectangle
        box = (x - wide, y - high, x + wide, y + high)
        make(box, fill=_whole(_colour(rng)), outline=outline, width=int(rng.integers(1, 4)))
    return np.asarray(image, np.float64)


def _out_of_focus(rng: np.random.Generator, size: int) -> Picture:
    picture = (_leaves if rng.random() < 0.6 else _clouds)(rng, size)
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(4, 25))), np.float64)
    return blurred + rng.normal(0, rng.uniform(0.3, 2), (size, size, 1))


_MAKERS: tuple[Callable[[np.random.Generator, int], Picture], ...] = (
    _leaves,
    _leaves,
    _clouds,
    _sky,
    _page,
    _drawing,
    _out_of_focus,
)
"""In turn; leaves twice."""
_CAN_BE_GREY = (_leaves, _clouds, _out_of_focus)
