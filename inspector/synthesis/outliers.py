"""Synthetic out-of-distribution images: skies, objects, foliage, buildings, screens, pages.

Concrete is even all over and dull; these images are not. Textures follow Baradad et al. 2021
("Learning to see by looking at noise"): they share the statistics of photographs and belong to
nobody.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from inspector.synthesis.noise import Rng

Picture = NDArray[np.float64]
"""float64 (size, size, 3) in grey levels, not yet clipped to 0..255."""
_Plane = NDArray[np.float64]
"""float64 (size, size, 1)."""
_Maker = Callable[[Rng, int], Picture]
Colour = tuple[int, int, int]

_GREY_SHARE = 0.25
_SOFT_SHARE = 0.3
_JPEG_SHARE = 0.5


def outlier_images(count: int, size: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Yield `count` images, uint8 (size, size, 3); equal seeds give equal bytes."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        yield _photographed(rng, _MAKERS[number % len(_MAKERS)](rng, size))


def _photographed(rng: Rng, picture: Picture) -> NDArray[np.uint8]:
    """Degrade a picture as cameras and web pages do: sometimes grey, soft, or JPEG-compressed."""
    if rng.random() < _GREY_SHARE:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < _SOFT_SHARE:
        picture = _blurred(_as_image(picture), rng.uniform(0.3, 2))
    image = _as_image(picture)
    if rng.random() < _JPEG_SHARE:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(30, 95)))
        image = Image.open(file)
    return np.array(image)


def _objects(rng: Rng, size: int) -> Picture:
    """One to three shaded objects before a plain white, grey, black or coloured background."""
    plain = np.full(3, rng.choice([0.0, 128, 128, 240, 255]))
    ground = plain if rng.random() < 0.6 else _any_colour(rng)
    picture = _smooth(rng, size) if rng.random() < 0.3 else np.full((size, size, 3), ground)
    for _ in range(int(rng.integers(1, 4))):
        cover = _blob(rng, size)
        light = rng.uniform(0.5, 1) + rng.uniform(0, 0.7) * _ramp(rng, size)
        picture = (1 - cover) * picture + cover * _any_texture(rng, size) * light
    return picture


def _blob(rng: Rng, size: int) -> _Plane:
    """Mask of a wavy ellipse: 1 inside, 0 outside."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j] - rng.uniform(-0.4, 0.4, (2, 1, 1))
    angle, radius = np.arctan2(y, x), np.hypot(x, y * rng.uniform(0.6, 1.7))
    waves = range(1, int(rng.integers(2, 9)))
    edge = rng.uniform(0.25, 0.8) * (
        1 + sum(rng.normal(0, 0.3 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in waves)
    )
    steepness = rng.uniform(30, 120)
    inside: _Plane = 1 / (1 + np.exp(((radius - edge) * steepness).clip(-50, 50)))
    return inside[:, :, None]


def _view(rng: Rng, size: int) -> Picture:
    """A skyline: sky or a texture above, a texture below, and sometimes rows of windows."""
    sky = _overcast if rng.random() < 0.5 else _smooth
    above = sky(rng, size) if rng.random() < 0.7 else _any_texture(rng, size)
    across = np.linspace(0, 6, size)
    line = rng.uniform(0.2, 1) * size + sum(
        rng.normal(0, size / 12 / k) * np.sin(k * across + rng.uniform(0, 6)) for k in range(1, 5)
    )
    if rng.random() < 0.4:
        line = np.round(line / 12) * 12
    below = (np.arange(size)[:, None] > line)[:, :, None]
    picture = np.where(below, _any_texture(rng, size), above)
    return _with_windows(rng, picture) if rng.random() < 0.5 else picture


def _with_windows(rng: Rng, picture: Picture) -> Picture:
    size, image = len(picture), _as_image(picture)
    draw = ImageDraw.Draw(image)
    wide, high = rng.uniform(5, 40, 2)
    fill = _whole(_any_colour(rng) * rng.uniform(0.2, 1))
    outline = _whole(_any_colour(rng)) if rng.random() < 0.5 else None
    (left, top), gap = rng.uniform(0, size / 2, 2), rng.uniform(1.2, 2.5, 2)
    columns, rows = rng.integers(2, 9, 2)
    for x in left + np.arange(columns) * wide * gap[0]:
        for y in top + np.arange(rows) * high * gap[1]:
            draw.rectangle((x, y, x + wide, y + high), fill=fill, outline=outline)
    return np.asarray(image, np.float64)


def _screen(rng: Rng, size: int) -> Picture:
    """A screenshot: bars, boxes and small text on a bright or dark background."""
    dark = rng.random() < 0.3
    ground = np.full(3, rng.uniform(15, 60) if dark else rng.uniform(225, 255))
    image = Image.new("RGB", (size, size), _whole(ground))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 4))):
        colour = _any_colour(rng) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 255))
        thick = rng.uniform(6, 50)
        box = (*rng.uniform(0, size / 2, 2), *rng.uniform(size / 2, size, 2))
        kinds = ((0, 0, size, thick), (0, 0, thick, size), box)
        draw.rectangle(kinds[int(rng.integers(3))], fill=_whole(colour))
    plain = np.full(3, rng.uniform(150, 255) if dark else rng.uniform(0, 110))
    for _ in range(int(rng.integers(0, 30))):
        x, y = rng.uniform(0, size, 2)
        ink = plain if rng.random() < 0.8 else _any_colour(rng)
        place = (x, y, min(size, x + rng.uniform(20, 180)))
        _line_of_text(draw, rng, place, rng.uniform(2, 7), _whole(ink))
    return np.asarray(image, np.float64)


def _page(rng: Rng, size: int) -> Picture:
    """A photographed page of random glyphs: rotated, blurred, unevenly lit, sometimes inverted."""
    image = _printed(rng, size)
    if rng.random() < 0.6:
        table = _whole(_any_colour(rng)) if rng.random() < 0.5 else image.getpixel((0, 0))
        turn = Image.Resampling.BILINEAR
        image = image.rotate(rng.normal(0, 12), resample=turn, fillcolor=table)
    picture = _blurred(image, float(rng.choice([0, 0.7, 1.5, 3])))
    picture = 255 - picture if rng.random() < 0.2 else picture
    return picture * (rng.uniform(0.4, 1) + rng.uniform(0, 0.5) * _ramp(rng, size))


def _printed(rng: Rng, size: int) -> Image.Image:
    paper = rng.uniform(200, 255) * np.array([1, 1, rng.uniform(0.88, 1)])
    image = Image.new("RGB", (size, size), _whole(paper))
    draw = ImageDraw.Draw(image)
    ink = _whole(_any_colour(rng) if rng.random() < 0.2 else np.full(3, rng.uniform(0, 80)))
    height, left, y = rng.uniform(2, 14), *rng.uniform(0, 30, 2)
    while y < size:
        end = size - rng.uniform(0, 30) if rng.random() < 0.8 else rng.uniform(size / 4, size)
        _line_of_text(draw, rng, (left, y, end), height, ink)
        y += height * rng.uniform(1.4, 1.7) * (1 if rng.random() < 0.9 else 2)
    return image


def _line_of_text(
    draw: ImageDraw.ImageDraw,
    rng: Rng,
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


def _any_colour(rng: Rng) -> NDArray[np.float64]:
    """A random RGB colour in grey levels (3,), seldom grey."""
    return (
        np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.15, 1), rng.uniform(0.1, 1))) * 255
    )


def _whole(colour: NDArray[np.float64]) -> Colour:
    """Clip and truncate to the integers that Pillow takes."""
    red, green, blue = (int(value) for value in colour.clip(0, 255))
    return red, green, blue


def _as_image(picture: Picture) -> Image.Image:
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def _blurred(image: Image.Image, radius: float) -> Picture:
    """Blur with a Gaussian of `radius` px."""
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float64)


def _spectrum(rng: Rng, size: int, slope: float) -> _Plane:
    """Noise with amplitude 1 / frequency**`slope`; mean 0, standard deviation 1."""
    steps = np.fft.fftfreq(size)
    frequency = np.hypot(*np.meshgrid(steps, steps))
    frequency[0, 0] = 1
    phase = np.exp(2j * np.pi * rng.random((size, size)))
    noise: _Plane = np.fft.ifft2(phase / frequency**slope).real[:, :, None]
    scaled: _Plane = (noise - noise.mean()) / noise.std()
    return scaled


def _grain(rng: Rng, size: int) -> _Plane:
    """Sensor noise of up to 2 grey levels."""
    return rng.normal(0, rng.uniform(0, 2), (size, size, 1))


def _ramp(rng: Rng, size: int) -> _Plane:
    """Gradient from 0 to 1 along a random direction, or away from a random point."""
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    right, down = rng.normal(0, 1, 2)
    if rng.random() < 0.4:
        left, top = rng.uniform(-0.2, 1.2, 2)
        far = np.hypot(x - left, y - top)
    else:
        far = right * x + down * y
    rising: _Plane = ((far - far.min()) / np.ptp(far))[:, :, None]
    return rising


def _smooth(rng: Rng, size: int) -> Picture:
    """One colour, or a gradient between two similar ones: sky, haze, a backdrop."""
    coloured = rng.random() < 0.6
    near = _any_colour(rng) if coloured else rng.uniform(40, 255) + rng.normal(0, 8, 3)
    far = near + rng.normal(0, 25) + rng.normal(0, 12, 3)
    share = _ramp(rng, size) ** rng.uniform(0.5, 2) * rng.choice([0, 0.3, 1])
    picture: Picture = (1 - share) * near + share * far
    if rng.random() < 0.4:
        picture = picture + _spectrum(rng, size, rng.uniform(1.8, 2.6)) * rng.uniform(1, 8)
    if rng.random() < 0.7:
        picture = picture + _grain(rng, size)
    return picture


def _overcast(rng: Rng, size: int) -> Picture:
    """Grey clouds, with or without blue sky between them, brighter towards the sun."""
    grey = rng.uniform(90, 230) + rng.normal(0, 6, 3)
    picture = grey + _spectrum(rng, size, rng.uniform(1.7, 2.4)) * rng.uniform(3, 30)
    if rng.random() < 0.5:
        blue = np.array([rng.uniform(20, 150), rng.uniform(80, 190), rng.uniform(150, 255)])
        density = _spectrum(rng, size, rng.uniform(1.6, 2.3)) - rng.uniform(-1, 1)
        cover = 1 / (1 + np.exp(-density * rng.uniform(1, 5)))
        picture = (1 - cover) * blue + cover * picture
    return picture + (1 - _ramp(rng, size)) * rng.uniform(0, 60) + _grain(rng, size)


def _coloured_noise(rng: Rng, size: int) -> Picture:
    """Coloured noise with the spectrum of a photo."""
    noise = np.concatenate([_spectrum(rng, size, rng.uniform(0.8, 2)) for _ in range(3)], axis=2)
    mixed = rng.uniform(0.1, 1)
    return _any_colour(rng) + ((1 - mixed) * noise[:, :, :1] + mixed * noise) * rng.uniform(20, 70)


def _leaves(rng: Rng, size: int) -> Picture:
    """Overlapping shapes of all sizes (the dead-leaves model)."""
    base, variety, largest = _any_colour(rng), rng.uniform(0.2, 1), rng.uniform(0.1, 0.4) * size
    image = Image.new("RGB", (size, size), _whole(_any_colour(rng)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(30, 260))):
        radius = min(largest, 4 / rng.random() ** 0.7)
        fill = _whole((1 - variety) * base + variety * _any_colour(rng))
        _shape(draw, rng, rng.uniform(0, size, 2), radius, fill)
    roughness = _spectrum(rng, size, rng.uniform(0.5, 1.5)) * rng.uniform(0, 25)
    return _blurred(image, rng.uniform(0, 2.5)) + roughness


def _shape(
    draw: ImageDraw.ImageDraw, rng: Rng, centre: NDArray[np.float64], radius: float, fill: Colour
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


def _blades(rng: Rng, size: int) -> Picture:
    """Grass, twigs or hair: strokes along one direction, or along none."""
    base, variety = _any_colour(rng), rng.uniform(0.1, 0.8)
    image = Image.new("RGB", (size, size), _whole(base * 0.4))
    draw = ImageDraw.Draw(image)
    length, width = rng.uniform(6, 60), int(rng.uniform(1, 7))
    towards, spread = rng.uniform(0, np.pi), rng.choice([0.2, 0.6, 3])
    for _ in range(int(rng.integers(150, 900))):
        colour = ((1 - variety) * base + variety * _any_colour(rng)) * rng.uniform(0.4, 1.1)
        angle = towards + rng.normal(0, spread)
        along = np.array([np.cos(angle), np.sin(angle)]) * length * rng.uniform(0.4, 1.4)
        _blade(draw, rng.uniform(-5, size + 5, 2), along, width, _whole(colour))
    return _blurred(image, rng.uniform(0, 1.5))


def _blade(
    draw: ImageDraw.ImageDraw,
    root: NDArray[np.float64],
    along: NDArray[np.float64],
    width: int,
    fill: Colour,
) -> None:
    """Draw a line, or a lens shape from a width of 3 px on."""
    if width < 3:
        draw.line((*root, *(root + along)), fill=fill, width=width)
        return
    across = np.array([-along[1], along[0]]) / np.hypot(*along) * width
    middle = root + along / 2
    draw.polygon([tuple(p) for p in (root, middle + across, root + along, middle - across)], fill)


def _out_of_focus(rng: Rng, size: int) -> Picture:
    sharp = (_leaves if rng.random() < 0.6 else _coloured_noise)(rng, size)
    return _blurred(_as_image(sharp), rng.uniform(4, 25)) + _grain(rng, size)


_TEXTURES: tuple[_Maker, ...] = (_leaves, _coloured_noise, _out_of_focus, _blades, _smooth)


def _any_texture(rng: Rng, size: int) -> Picture:
    return _TEXTURES[int(rng.integers(len(_TEXTURES)))](rng, size)


_MAKERS: tuple[_Maker, ...] = (_smooth, _overcast, _objects, _blades, _view, _screen, _page, _view)
"""Used in turn; `_view`, the most varied, twice."""
