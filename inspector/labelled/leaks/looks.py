"""What a picture looks like, in few bytes: for the same picture, and for the same series.

Shapes: N images, H and W pixels, C channels (RGB), F figures.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint8]
    """(N, HASH_BYTES): see `picture_hashes`."""

SIDE = 224
"""Pixels per side of the images that all functions here take."""
HASH_BYTES = 32
TRAITS = 12
"""Figures of `traits`."""
_THUMBNAIL = 32
_COARSE = 28
_FREQUENCIES = 16
_LOW = 8
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma of ITU-R BT.601, as in JPEG."""
_SCALES = (1, 2, 4, 8)
"""Pixels over which `traits` takes differences."""


def pixel_hashes(
    pixels_NHWC: NDArray[np.uint8], sides: Sequence[tuple[int | None, int | None]]
) -> NDArray[np.uint64]:
    """(N,): the same number for equal pixels of photos of equal `sides` (width, height)."""
    found = np.empty(len(sides), np.uint64)
    for k, (pixels_HWC, side) in enumerate(zip(pixels_NHWC, sides, strict=True)):
        digest = hashlib.blake2b(pixels_HWC.tobytes(), digest_size=8)
        digest.update(repr(side).encode())
        found[k] = int.from_bytes(digest.digest(), "little")
    return found


def looks(pixels_NHWC: NDArray[np.uint8]) -> tuple[Hashes, NDArray[np.float16]]:
    """`picture_hashes` and `traits` (N, F) of images (N, SIDE, SIDE, 3)."""
    colour_NHWC = pixels_NHWC.astype(np.float32)
    grey_NHW = colour_NHWC @ _GREY
    return picture_hashes(grey_NHW), traits(colour_NHWC, grey_NHW)


def picture_hashes(grey_NHW: NDArray[np.float32]) -> Hashes:
    """A perceptual hash: signs of the 16 x 16 lowest frequencies of a 32 x 32 thumbnail's discrete
    cosine transform, after pHash (Zauner 2010); the 8 x 8 lowest are the first 8 bytes. The mean
    has no sign, so 255 bits say something.

    Signs, where pHash compares with the median: mirroring then only negates the odd frequencies of
    one axis and transposing swaps the axes, so that `orientations` needs no pixels. The blocks of
    7 x 7 pixels behind the thumbnail leave little of JPEG's noise, which matters on plain grey.
    """
    cosines = _cosines()
    spectrum = cosines @ _shrunk(grey_NHW[..., None], _THUMBNAIL)[..., 0] @ cosines.T
    signs = spectrum.reshape(len(grey_NHW), -1) > 0
    signs[:, 0] = False
    return np.packbits(signs[:, _order()], axis=1)


def _shrunk(values_NHWC: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Sums (N, side, side, C) over square blocks, rows first: those lie together in memory."""
    count, _, _, channels = values_NHWC.shape
    rows = values_NHWC.reshape(count, side, SIDE // side, -1).sum(axis=2)
    sums: NDArray[np.float32] = rows.reshape(count, side, side, -1, channels).sum(axis=3)
    return sums


@cache
def _cosines() -> NDArray[np.float32]:
    """DCT-II (frequencies, positions), not normalised: only signs are used."""
    place = (np.arange(_THUMBNAIL) + 0.5) / _THUMBNAIL
    return np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), place)).astype(np.float32)


@cache
def _order() -> NDArray[np.intp]:
    """Frequencies as they stand in a hash: the low block first."""
    down, across = np.divmod(np.arange(_FREQUENCIES**2), _FREQUENCIES)
    return np.argsort(np.maximum(down, across) >= _LOW, kind="stable")


def orientations(hashes: Hashes) -> Iterator[Hashes]:
    """The hashes of the pictures as they are, then in the seven ways to mirror or turn them."""
    bits = np.empty((len(hashes), _FREQUENCIES**2), bool)
    bits[:, _order()] = np.unpackbits(hashes, axis=1)
    bits_NUV = bits.reshape(-1, _FREQUENCIES, _FREQUENCIES)
    odd = np.arange(_FREQUENCIES) % 2 == 1
    for turned in (bits_NUV, bits_NUV.transpose(0, 2, 1)):
        for down in (False, True):
            for across in (False, True):
                negated = (odd[:, None] & down) ^ (odd & across)
                yield np.packbits((turned ^ negated).reshape(bits.shape)[:, _order()], axis=1)


def traits(colour_NHWC: NDArray[np.float32], grey_NHW: NDArray[np.float32]) -> NDArray[np.float16]:
    """(N, F) figures that tiles of one photo share: light, colour casts, contrast, and how rough
    the surface is at four scales. In grey levels or their logarithms: compare them in units of
    their spread."""
    coarse = _shrunk(colour_NHWC, _COARSE).reshape(len(colour_NHWC), -1, 3)
    coarse /= (SIDE // _COARSE) ** 2
    light = coarse @ _GREY
    casts = coarse[..., [0, 2]] - coarse[..., 1:2]
    figures = [
        *np.percentile(light, (10, 50, 90), axis=1),
        *np.median(casts, axis=1).T,
        np.log(light.std(1) + 0.1),
        *np.log(casts.std(1) + 0.1).T,
        *_roughness(grey_NHW),
    ]
    return np.stack(figures, axis=1).astype(np.float16)


def _roughness(grey_NHW: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Per scale, log of the median difference between neighbours, which a crack hardly moves."""
    for scale in _SCALES:
        if scale > 1:
            halved = grey_NHW[:, ::2] + grey_NHW[:, 1::2]
            grey_NHW = (halved[:, :, ::2] + halved[:, :, 1::2]) * np.float32(0.25)
        step = max(2, 4 // scale)  # a part of the finest differences says as much
        rows = grey_NHW[:, ::step]
        steps = np.abs(rows[:, :, 1::step] - rows[:, :, :-1:step])
        yield np.log(np.median(steps.reshape(len(steps), -1), axis=1) + 0.1)
