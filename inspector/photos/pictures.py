"""Photos as a screen can show them.

Photos are opened in processes of their own (`workers.process.Helpers`).
"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from inspector.photos import tiff, tiff_windows
from inspector.photos.decode import open_image
from inspector.photos.exif import orientation_of
from inspector.photos.opened import Bytes, DecodeLimits, Refused
from inspector.photos.pixels import to_rgb, upright, upright_sides
from inspector.photos.reading import Contents, read
from inspector.types import Failure, ImageRef

if TYPE_CHECKING:
    from numpy.typing import NDArray


SCREEN_SIDE = 1600
"""Longest side of the picture that is shown first, pixels."""
THUMB_SIDE = 128
_LOSSLESS_PIXELS = 512 * 512
"""Small photos keep every pixel: they are shown enlarged, where JPEG's own marks would show."""
_QUALITY = 90
LIMITS = DecodeLimits(max_pixels=500_000_000, max_bytes=1 << 34)
"""Bounds for one photo that a person asks for, whatever those of its scan were: it takes 1.5 GB of
memory at most, decoded."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the upright photo's width and height."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture of a photo, whose sides upright, in pixels, are `width` and `height`;
    `mtime_us` as in `ImageRef`."""

    width: int
    height: int
    content_hash: str
    size_bytes: int | None
    mtime_us: int | None
    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Opened:
    """An upright photo, perhaps reduced; `width` and `height` as in `Picture`."""

    image: Image.Image
    width: int
    height: int
    ref: ImageRef
    content_hash: str

    def encoded(self) -> Picture:
        small = self.image.width * self.image.height <= _LOSSLESS_PIXELS
        if small and self.image.size == (self.width, self.height):
            stream = BytesIO()
            self.image.save(stream, "PNG", compress_level=1)
            content, media_type = stream.getvalue(), "image/png"
        else:
            content, media_type = as_jpeg(self.image, _QUALITY), "image/jpeg"
        about = self.width, self.height, self.content_hash, self.ref.size, self.ref.mtime_us
        return Picture(*about, content, media_type)


def as_jpeg(image: Image.Image, quality: int) -> bytes:
    """Encode an image as JPEG."""
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


class CannotShowError(Exception):
    """There is nothing to look at; the message says why."""


_last: tuple[str, str, Image.Image] | None = None
"""The photo that was zoomed into last, decoded: its address, sha256 and upright pixels."""


def screen(address: str) -> Picture:
    """The whole photo, upright, at most `SCREEN_SIDE` pixels long; of a damaged one, as much as
    there is. Raises CannotShowError."""
    return open_whole(address).encoded()


def thumb(address: str) -> Picture:
    """The whole photo, upright, `THUMB_SIDE` pixels long, for a list. Raises CannotShowError."""
    return open_whole(address, THUMB_SIDE).encoded()


def open_whole(address: str, side: int = SCREEN_SIDE) -> Opened:
    """Open a photo at most `side` pixels long; `screen` shows it so. Raises CannotShowError."""
    with read_whole(address) as contents:
        image, orientation = _open(contents.data)
        sides = upright_sides(image.size, orientation)
        image.draft(None, (side, side))
        whole = upright(_rgb(image), orientation)
    whole.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return Opened(whole, *sides, contents.ref, contents.content_hash)


def open_full(address: str) -> Opened:
    """Open a photo with every pixel it has, upright. Raises CannotShowError."""
    with read_whole(address) as contents:
        full = _full(contents)
    return Opened(full, *full.size, contents.ref, contents.content_hash)


def region(address: str, box: Box, width: int) -> Picture:
    """A part of the photo, `width` pixels wide or as many as it has. Raises CannotShowError."""
    global _last
    with read_whole(address) as contents:
        if _last is None or _last[:2] != (address, contents.content_hash):
            _last = None  # before the next one is decoded: two of 100 megapixels are much
            _last = address, contents.content_hash, _full(contents)
    photo = _last[2]
    corners = [round(share * side) for share, side in zip(box, photo.size * 2, strict=True)]
    left, top = (min(max(0, c), side - 1) for c, side in zip(corners[:2], photo.size, strict=True))
    right = min(max(left + 1, corners[2]), photo.width)
    bottom = min(max(top + 1, corners[3]), photo.height)
    part = photo.crop((left, top, right, bottom))
    if part.width > width:
        height = max(1, round(part.height * width / part.width))
        part = part.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return Opened(part, *photo.size, contents.ref, contents.content_hash).encoded()


def read_whole(address: str) -> Contents:
    """Read a photo's bytes. Raises CannotShowError."""
    contents = read(ImageRef.of(address), LIMITS)
    if isinstance(contents, Failure):
        raise CannotShowError(f"{contents.code}: {contents.detail}")
    return contents


def _full(contents: Contents) -> Image.Image:
    image, orientation = _open(contents.data)
    return upright(_rgb(image), orientation)


def _open(data: Bytes) -> tuple[Image.Image, int]:
    """An opened image, and its orientation; a sound TIFF decoded, as a scan decodes it."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True  # in this process only: a person sees what is missing
    warnings.simplefilter("ignore")
    try:
        Image.MAX_IMAGE_PIXELS = -(-LIMITS.max_pixels // 2)  # Pillow refuses twice that number
        image = open_image(data, LIMITS)
        if image.width * image.height > LIMITS.max_pixels:
            raise CannotShowError(f"{image.width} x {image.height} is too large to be shown")
        if image.format == "PNG":
            image.load()  # its EXIF may stand behind the pixels
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            with contextlib.suppress(Exception):  # of many types; a person sees what Pillow makes
                tiff.refuse_unreadable(data)
                return Image.fromarray(tiff_windows.read_pixels(data)), 1
        return image, orientation_of(image)
    except Image.DecompressionBombError as error:
        raise CannotShowError("it has too many pixels to be shown") from error
    except (OSError, Refused) as error:
        raise CannotShowError(str(error)) from error


def _rgb(image: Image.Image) -> Image.Image:
    """Any pixel type as 8-bit RGB, for the eye alone."""
    image.load()
    if image.mode in ("I", "F"):
        image = Image.fromarray(_spread(np.asarray(image, np.float64)))
    return to_rgb(image)


def _spread(values_HW: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Numbers of no known range (H, W) from black to white."""
    finite_HW = np.nan_to_num(values_HW, posinf=0, neginf=0)
    low, high = finite_HW.min(), finite_HW.max()
    scaled_HW: NDArray[np.float64] = (finite_HW - low) * (255 / max(high - low, 1e-12))
    return scaled_HW.astype(np.uint8)
