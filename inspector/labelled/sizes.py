"""Sizes of labelled images, by their headers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import IO, cast

from PIL import Image

from inspector.core.progress import Progress, no_progress
from inspector.photos.decode import open_image
from inspector.photos.formats import MAGIC_BYTES, PLAIN, sniff
from inspector.photos.opened import OpenBytes
from inspector.photos.raw import is_camera_raw
from inspector.photos.source import source_of

_EVERY = 100
"""Images between two words on how far it is."""


def longer_sides(paths: Sequence[str], progress: Progress = no_progress) -> list[int]:
    """The longer side in pixels of each image; 0 for one that cannot be opened."""
    sides = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow says of odd files
        for done, path in enumerate(paths):
            if done % _EVERY == 0:
                progress("looking at the sizes of the photos", done, len(paths))
            sides.append(_longer_side(path))
    return sides


def _longer_side(path: str) -> int:
    try:
        with source_of(path).open(path) as file, _opened(OpenBytes(file, file.facts())) as image:
            return max(image.size)
    except Exception:  # of many types; what cannot be opened is told of where it is decoded
        return 0


def _opened(data: OpenBytes) -> Image.Image:
    head = data[:MAGIC_BYTES]
    if sniff(head) in PLAIN and not is_camera_raw(data, head):
        return Image.open(cast("IO[bytes]", data), formats=PLAIN)
    return open_image(data[: len(data)])
