"""Tiles of photos that were judged at their own scale, from the places that people labelled: what
the network can learn from such photos."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from PIL import Image

from export.photos import native_pixels, spread_evenly
from inspector.core.durable import replacing
from inspector.core.progress import Progress, no_progress
from inspector.engines.photo import cut_tile
from inspector.labelled.folder import LabelledImage
from inspector.model.windows import pushed_into

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from inspector.labelled.reviewed import LargePhoto
    from inspector.results.labels import Box

TILES = "tiles"
"""Folder in the training's notes."""
MOST = 12
"""Tiles of each label that a photo gives at most: one wall must not outweigh all others."""
ELSEWHERE = ((0.2, 0.6), (0.4, 0.2), (0.6, 0.8), (0.8, 0.4))
"""Middles of further tiles of a photo without a crack, as shares of its width and height."""
SHRUNK = 2
"""How many times the side of a tile a place may be in both directions: it becomes one tile then,
shrunk, since nobody has said where in it the crack runs."""


def cut_tiles(
    photos: Sequence[LargePhoto], folder: Path, size: int, *, progress: Progress = no_progress
) -> list[LabelledImage]:
    """Write the tiles of `size` px that photos give as PNG to `folder`, unless they are there;
    photos that cannot be read give none. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    tiles: list[LabelledImage] = []
    for done, photo in enumerate(photos, 1):
        tiles += _tiles_of(photo, folder, size)
        progress("cutting tiles out of large photos", done, len(photos))
    return tiles


def _tiles_of(photo: LargePhoto, folder: Path, size: int) -> Iterator[LabelledImage]:
    pixels_HWC = native_pixels(photo.image.path)
    if pixels_HWC is None:
        return
    sides = pixels_HWC.shape[:2]
    cracks = [place for box in photo.cracks for place in squares(box, size, sides)]
    clear = [
        place
        for box in photo.clear
        for place in squares(box, size, sides)
        if not any(_touches(place, other) for other in (*photo.cracks, *photo.unsaid))
    ]
    if photo.is_clear:
        points = [(round(x * sides[1]), round(y * sides[0]), 0, 0) for x, y in ELSEWHERE]
        clear += [place for point in points for place in squares(point, size, sides)]
    name = sha256(photo.image.path.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    for places, is_crack in ((cracks, True), (clear, False)):
        for x, y, side in spread_evenly(places, MOST) if places else ():
            file = folder / f"{name}-{x}-{y}-{side}-{'crack' if is_crack else 'clear'}.png"
            if not file.exists():
                tile_HWC = cut_tile(pixels_HWC, x, y, side)
                with replacing(file) as draft, draft.open("xb") as stream:
                    Image.fromarray(tile_HWC).save(stream, "PNG")
            yield LabelledImage(str(file), is_crack, photo.image.source, photo.image.group)


def _touches(square: tuple[int, int, int], box: Box) -> bool:
    (left, top, side), (x, y, width, height) = square, box
    return left < x + width and x < left + side and top < y + height and y < top + side


def squares(box: Box, size: int, sides: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """The squares (left, top, side) that show a labelled place, pushed into a photo of `sides`
    (height, width): one around it, or, of a long thin one, one beside the other along it, each of
    which it crosses; none of a broad one, of which most squares would show something else."""
    x, y, width, height = box
    side, down, across = size, 1, 1
    if min(width, height) <= size:
        down, across = (max(1, -(-length // size)) for length in (height, width))
    elif (side := max(width, height)) > SHRUNK * size:
        return []
    lefts = [round(x + (k + 0.5) * width / across - side / 2) for k in range(across)]
    tops = [round(y + (k + 0.5) * height / down - side / 2) for k in range(down)]
    return [(*pushed_into(sides, left, top, side), side) for top in tops for left in lefts]
