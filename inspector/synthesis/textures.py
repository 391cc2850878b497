"""Synthetic textures that fill a picture: fading colours, clouds, leaves, blades of grass, blur.

Of the kind that Baradad et al. 2021 ("Learning to see by looking at noise") teach networks with:
they share the statistics of photographs and belong to nobody.
"""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable

Picture = NDArray[np.float64]
"""(size, size, 3), grey levels, not clipped yet."""
Colour = tuple[int, int, int]


def any_colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Three grey levels that are seldom grey."""
    return (
        np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.15, 1), rng.uniform(0.1, 1))) * 255
    )


def whole(colour: NDArray[np.float64]) -> Colour:
    """As Pillow wants it."""
    red, green, blue = (int(value) for value in colour.clip(0, 255))
    return red, green, blue


def as_image(picture: Picture) -> Image.Image:
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def blurred(image: Image.Image, radius: float) -> Picture:
    """`radius` in pixels."""
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float64)


def spectrum(rng: np.random.Generator, size: int, slope: float) -> NDArray[np.float64]:
    """Noise whose amplitude falls as frequency to the power of `slope`, (size, size, 1); mean 0,
    deviation 1."""
    steps = np.fft.fftfreq(size)
    frequency = np.hypot(*np.meshgrid(steps, steps))
    frequency[0, 0] = 1
    phase = np.exp(2j * np.pi * rng.random((size, size)))
    noise: NDArray[np.float64] = np.fft.ifft2(phase / frequency**slope).real[:, :, None]
    normal: NDArray[np.float64] = (noise - noise.mean()) / noise.std()
    return normal


def grain(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """A sensor's noise."""
    return rng.normal(0, rng.uniform(0, 2), (size, size, 1))


def ramp(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """From 0 to 1 in some direction, or away from some point, (size, size, 1)."""
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    right, down = rng.normal(0, 1, 2)
    if rng.random() < 0.4:
        left, top = rng.uniform(-0.2, 1.2, 2)
        far = np.hypot(x - left, y - top)
    else:
        far = right * x + down * y
    rising: NDArray[np.float64] = ((far - far.min()) / np.ptp(far))[:, :, None]
    return rising


def smooth(rng: np.random.Generator, size: int) -> Picture:
    """A colour that fades into a near one or does not: sky, haze, a backdrop, one colour."""
    coloured = rng.random() < 0.6
    near = any_colour(rng) if coloured else rng.uniform(40, 255) + rng.normal(0, 8, 3)
    far = near + rng.normal(0, 25) + rng.normal(0, 12, 3)
    share = ramp(rng, size) ** rng.uniform(0.5, 2) * rng.choice([0, 0.3, 1])
    picture: Picture = (1 - share) * near + share * far
    if rng.random() < 0.4:
        picture = picture + spectrum(rng, size, rng.uniform(1.8, 2.6)) * rng.uniform(1, 8)
    if rng.random() < 0.7:
        picture = picture + grain(rng, size)
    return picture


def overcast(rng: np.random.Generator, size: int) -> Picture:
    """Clouds in greys, with blue between them or without, brighter towards a sun."""
    grey = rng.uniform(90, 230) + rng.normal(0, 6, 3)
    picture = grey + spectrum(rng, size, rng.uniform(1.7, 2.4)) * rng.uniform(3, 30)
    if rng.random() < 0.5:
        blue = np.array([rng.uniform(20, 150), rng.uniform(80, 190), rng.uniform(150, 255)])
        density = spectrum(rng, size, rng.uniform(1.6, 2.3)) - rng.uniform(-1, 1)
        cover = 1 / (1 + np.exp(-density * rng.uniform(1, 5)))
        picture = (1 - cover) * blue + cover * picture
    return picture + (1 - ramp(rng, size)) * rng.uniform(0, 60) + grain(rng, size)


def coloured_noise(rng: np.random.Generator, size: int) -> Picture:
    """With a photo's spectrum."""
    noise = np.concatenate([spectrum(rng, size, rng.uniform(0.8, 2)) for _ in range(3)], axis=2)
    mixed = rng.uniform(0.1, 1)
    return any_colour(rng) + ((1 - mixed) * noise[:, :, :1] + mixed * noise) * rng.uniform(20, 70)


def leaves(rng: np.random.Generator, size: int) -> Picture:
    """Shapes of all sizes one upon the other, as the things in a photo hide each other."""
    base, variety, largest = any_colour(rng), rng.uniform(0.2, 1), rng.uniform(0.1, 0.4) * size
    image = Image.new("RGB", (size, size), whole(any_colour(rng)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(30, 260))):
        radius = min(largest, 4 / rng.random() ** 0.7)
        fill = whole((1 - variety) * base + variety * any_colour(rng))
        _shape(draw, rng, rng.uniform(0, size, 2), radius, fill)
    roughness = spectrum(rng, size, rng.uniform(0.5, 1.5)) * rng.uniform(0, 25)
    return blurred(image, rng.uniform(0, 2.5)) + roughness


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


def blades(rng: np.random.Generator, size: int) -> Picture:
    """Grass, twigs, hair: strokes that follow a direction, or none."""
    base, variety = any_colour(rng), rng.uniform(0.1, 0.8)
    image = Image.new("RGB", (size, size), whole(base * 0.4))
    draw = ImageDraw.Draw(image)
    length, width = rng.uniform(6, 60), int(rng.uniform(1, 7))
    towards, spread = rng.uniform(0, np.pi), rng.choice([0.2, 0.6, 3])
    for _ in range(int(rng.integers(150, 900))):
        colour = ((1 - variety) * base + variety * any_colour(rng)) * rng.uniform(0.4, 1.1)
        angle = towards + rng.normal(0, spread)
        along = np.array([np.cos(angle), np.sin(angle)]) * length * rng.uniform(0.4, 1.4)
        _blade(draw, rng.uniform(-5, size + 5, 2), along, width, whole(colour))
    return blurred(image, rng.uniform(0, 1.5))


def _blade(
    draw: ImageDraw.ImageDraw,
    root: NDArray[np.float64],
    along: NDArray[np.float64],
    width: int,
    fill: Colour,
) -> None:
    """A line, or from 3 pixels on a lens."""
    if width < 3:
        draw.line((*root, *(root + along)), fill=fill, width=width)
        return
    across = np.array([-along[1], along[0]]) / np.hypot(*along) * width
    middle = root + along / 2
    draw.polygon([tuple(p) for p in (root, middle + across, root + along, middle - across)], fill)


def out_of_focus(rng: np.random.Generator, size: int) -> Picture:
    sharp = (leaves if rng.random() < 0.6 else coloured_noise)(rng, size)
    return blurred(as_image(sharp), rng.uniform(4, 25)) + grain(rng, size)


_TEXTURES: tuple[Callable[[np.random.Generator, int], Picture], ...] = (
    leaves,
    coloured_noise,
    out_of_focus,
    blades,
    smooth,
)


def any_texture(rng: np.random.Generator, size: int) -> Picture:
    return _TEXTURES[int(rng.integers(len(_TEXTURES)))](rng, size)
