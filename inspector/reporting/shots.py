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
from inspector.photos.pictures import CannotShowError, open_full, open_whole
from inspector.types import View
from inspector.workers.process import HelperError, Helpers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any

    from inspector.core.progress import Progress
    from inspector.photos.address import Moved
    from inspector.photos.pictures import Opened
    from inspector.types import JsonObject

THUMB, SMALL, LARGE = 320, 400, 1024
"""Longest side of a picture, pixels: in a list, of a part of it, and sharp at half a printed
page."""
CLOSE_UP = 2 / 7
"""Side of a close-up, as a share of the photo's longer side: two cells of the model's 7 x 7 grid
of evidence, so that what it saw is inside."""
NATIVE_SIDE = 384
"""Side of the close-up of a photo that was judged at its own scale, pixels of the photo."""
PATCHES = 4
"""Parts of a photo at most that come with more pixels than the whole of it has."""
NEEDS_CLOSE_UP = 2 * SMALL
"""Photos at least this long lose their thin cracks in a small picture."""
_AROUND = 0.1
"""Of a region, shown on each side of it."""
_QUALITY = 80
_SECONDS = 60.0
_MOST_PROCESSES = 4
_HEAVY = 50_000_000
"""Pixels from which one photo is opened at a time."""

_LANCZOS = Image.Resampling.LANCZOS

Box = tuple[float, float, float, float]
"""Left, top, width and height as shares of the photo's."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo as data URIs: the whole of it and, of a large one, parts of it at their places with
    more of their pixels, first the close-up of where the evidence peaks, unless a person said that
    there is no crack. Empty where there is nothing to show, for the reason `why`."""

    whole: str = ""
    parts: tuple[tuple[Box, str], ...] = ()
    width: int = 1
    height: int = 1
    why: str = ""

    @property
    def ratio(self) -> float:
        """Width by height."""
        return self.width / self.height


def take_shots(
    rows: Sequence[JsonObject], large: Sequence[bool], moved: Moved | None, progress: Progress
) -> list[Shot]:
    """A picture of each row's photo, as long as its bytes are those that were judged, with closer
    looks where it is to be `large`."""
    asked = [
        (places_of(r), LARGE) if big else ([], THUMB) for r, big in zip(rows, large, strict=True)
    ]
    taken: list[Shot] = []
    for found in ask_each(look, rows, asked, moved):
        taken.append(Shot(why=str(found)) if isinstance(found, HelperError) else found)
        progress("pictures", len(taken), len(rows))
    return taken


def ask_each(
    handler: Callable[..., Any],
    rows: Sequence[JsonObject],
    more: Sequence[tuple[Any, ...]],
    moved: Moved | None,
) -> Generator[Any]:
    """Call `handler` with the address of each row's photo, the sha256 that was judged, and `more`,
    in processes of its own, fewer where photos take much memory. Yields what it returns, or the
    HelperError that says why there is nothing."""

    def ask(row: JsonObject, more: tuple[Any, ...]) -> Any:
        if row["content_hash"] is None:
            return HelperError("the scan could not read this file")
        address = moved.apply(row["uri"]) if moved else row["uri"]
        try:
            return helpers.ask(address, row["content_hash"], *more)
        except HelperError as error:
            return error

    pixels = max(((row["width"] or 0) * (row["height"] or 0) for row in rows), default=0)
    count = 1 if pixels > _HEAVY else min(_MOST_PROCESSES, os.cpu_count() or 1, len(rows) or 1)
    with (
        closing(Helpers(handler, _SECONDS, count)) as helpers,
        ThreadPoolExecutor(count) as threads,
    ):
        yield from threads.map(ask, rows, more)


def open_judged(address: str, content_hash: str, side: int | None = None) -> Opened:
    """Open a photo whose bytes are those that were judged, with every pixel or at most `side`
    pixels long. Raises CannotShowError."""
    opened = open_full(address) if side is None else open_whole(address, side)
    if opened.content_hash != content_hash:
        raise CannotShowError("the file has changed since the scan")
    return opened


def places_of(row: JsonObject) -> list[Box]:
    """Parts of a row's photo that are worth a closer look, the close-up first; if it is large."""
    sides = row["width"], row["height"]
    if not all(sides) or max(sides) < NEEDS_CLOSE_UP:
        return []
    places = []
    if row["peak_x"] is not None and row["peak_y"] is not None:
        whole = row["view"] in (None, View.WHOLE)
        side = CLOSE_UP * max(sides) if whole else NATIVE_SIDE
        places.append(_around(row["peak_x"], row["peak_y"], side, *sides))
    for region in (row["regions"] or [])[: PATCHES - 1]:
        left, top = region["x"] / sides[0], region["y"] / sides[1]
        width, height = region["width"] / sides[0], region["height"] / sides[1]
        more_x, more_y = _AROUND * width, _AROUND * height
        left, top = max(0.0, left - more_x), max(0.0, top - more_y)
        right, bottom = min(1.0, left + width + 2 * more_x), min(1.0, top + height + 2 * more_y)
        places.append((left, top, right - left, bottom - top))
    return places


def look(address: str, content_hash: str, places: Sequence[Box], side: int) -> Shot:
    """A shot of at most `side` pixels. Raises CannotShowError."""
    opened = open_judged(address, content_hash, None if places else side)
    sides = opened.image.size
    whole = opened.image.copy() if places else opened.image
    whole.thumbnail((side, side), _LANCZOS, 2.0)
    parts: list[tuple[Box, str]] = []
    for box in places:
        left, top, width, height = box
        closer = SMALL / max(width * sides[0], height * sides[1])
        if closer < max(whole.size) / max(sides):
            continue  # the whole of it shows as much
        right, bottom = left + width, top + height
        corners = (left * sides[0], top * sides[1], right * sides[0], bottom * sides[1])
        part = opened.image.crop(tuple(map(round, corners)))  # type: ignore[arg-type]
        part.thumbnail((SMALL, SMALL), _LANCZOS, 2.0)
        parts.append((box, data_uri(part, "JPEG", quality=_QUALITY)))
    shown = data_uri(whole, "JPEG", quality=_QUALITY)
    return Shot(shown, tuple(parts), opened.width, opened.height)


def _around(x: float, y: float, side: float, width: int, height: int) -> Box:
    """A square around a place, moved so that it lies within the photo, or as much of it as fits."""
    across, down = min(1.0, side / width), min(1.0, side / height)
    left, top = (min(max(0.0, at - size / 2), 1 - size) for at, size in ((x, across), (y, down)))
    return left, top, across, down
