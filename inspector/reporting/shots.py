"""Pictures of photos for a page, made by processes of their own: what ends one of those ends
nothing else."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from inspector.core.pages import data_uri
from inspector.photos.pictures import CannotShowError, open_whole
from inspector.workers.process import HelperError, Helpers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inspector.photos.address import Moved
    from inspector.types import JsonObject

SIDE = 400
"""Longest side of a picture, pixels: sharp on screens and at a third of a printed page."""
CLOSE_UP = 2 / 7
"""Side of a close-up, as a share of the photo's longer side: two cells of the model's 7 x 7 grid
of evidence, so that what it saw is inside."""
NEEDS_CLOSE_UP = 2 * SIDE
"""Photos at least this long lose their thin cracks in a small picture."""
_QUALITY = 80
_SECONDS = 60.0
_MOST_PROCESSES = 4

Box = tuple[float, float, float, float]
"""Left, top, width and height as shares of the photo's."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo as data URIs: the whole of it and, of a large one, what is inside `box`. Empty where
    there is nothing to show, for the reason `why`. `ratio` is width by height."""

    whole: str = ""
    close_up: str = ""
    box: Box | None = None
    ratio: float = 1.0
    why: str = ""


def take_shots(
    rows: Sequence[JsonObject], moved: Moved | None, progress: Callable[[str, int, int], None]
) -> list[Shot]:
    """A picture of each row's photo, as long as its bytes are those that were judged."""
    if not rows:
        return []

    def shot(row: JsonObject) -> Shot:
        if row["content_hash"] is None:
            return Shot(why="the scan could not read this file")
        try:
            address = moved.apply(row["uri"]) if moved else row["uri"]
            answer = helpers.ask(address, row["content_hash"], row["peak_x"], row["peak_y"])
        except HelperError as error:
            return Shot(why=str(error))
        return Shot(*answer)

    count = min(_MOST_PROCESSES, os.cpu_count() or 1, len(rows))
    with closing(Helpers(look, _SECONDS, count)) as helpers, ThreadPoolExecutor(count) as threads:
        taken = []
        for found in threads.map(shot, rows):
            taken.append(found)
            progress("pictures", len(taken), len(rows))
    return taken


def look(
    address: str, content_hash: str, peak_x: float | None, peak_y: float | None
) -> tuple[str, str, Box | None, float]:
    """The values of a `Shot`. Raises CannotShowError."""
    whole = open_whole(address)
    if whole.content_hash != content_hash:
        raise CannotShowError("the file has changed since the scan")
    box, close_up = None, ""
    if peak_x is not None and peak_y is not None and max(whole.image.size) >= NEEDS_CLOSE_UP:
        box = _around(peak_x, peak_y, *whole.image.size)
        left, top, width, height = box
        across, down = whole.image.size
        corners = (left * across, top * down, (left + width) * across, (top + height) * down)
        close_up = _encoded(whole.image.crop(tuple(map(round, corners))))  # type: ignore[arg-type]
    ratio = whole.width / whole.height
    return _encoded(whole.image), close_up, box, ratio


def _around(x: float, y: float, width: int, height: int) -> Box:
    """A square around a place, moved so that it lies within the photo, or as much of it as fits."""
    side = CLOSE_UP * max(width, height)
    across, down = min(1.0, side / width), min(1.0, side / height)
    left, top = (min(max(0.0, at - size / 2), 1 - size) for at, size in ((x, across), (y, down)))
    return left, top, across, down


def _encoded(image: Image.Image) -> str:
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return data_uri(small, "JPEG", quality=_QUALITY)
