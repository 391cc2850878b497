"""Real material for photos with known cracks, in four parts: the network learns from one, a rule is
fitted on the next, thresholds are chosen on another, the last tests. Drone crops are divided by
blocks of frame numbers, textures by name, tiles by group within what the recipe holds back from
training."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage

from inspector.labelled.folder import find_labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

LEARN = "learn"
FIT, CHOOSE, TEST = PARTS = ("fit", "choose", "test")
"""What the network has not learned from, by use."""
UNUSED = "unused"
_DRONE = {
    FIT: ((160, 200),),
    CHOOSE: ((650, 720),),
    TEST: ((1010, 1070), (1395, 1465)),
}
"""Ranges of frame numbers of the drone's flight, from and to below; the rest is learned from."""
_GUARD = 20
"""Frames so near to such a range are not used: neighbours overlap."""
_SINGLES = 1700
"""The drone's single photos test from this number on; those before are learned from."""
_TEXTURES = {
    FIT: ("asphalt_07",),
    CHOOSE: ("brick_floor_003",),
    TEST: ("anti_slip_concrete", "brick_wall_08"),
}
_TILE = 227
LEAST_SEEN = 9.0
"""Grey levels by which a crack darkens its pixels on average, at least: nobody can be asked to see
fainter ones."""


@dataclass(frozen=True, slots=True)
class Drone:
    """A drone crop: its name, part, block of neighbouring frames, pixels and crack mask."""

    name: str
    part: str
    block: str
    pixels: Pixels
    mask: Mask


def drone(data: Path) -> list[Drone]:
    """All drone crops, in a fixed order."""
    folder = data / "photos" / "uavcrack"
    masks = {file.stem: file for file in (folder / "masks").iterdir()}
    found = []
    for file in sorted((folder / "images").iterdir()):
        kind, digits = re.fullmatch(r"([A-Za-z]+)(\d+)", file.stem).groups()  # type: ignore[union-attr]
        frame = int(digits)
        part = _drone_part(kind, frame)
        mask = np.asarray(Image.open(masks[file.stem]).convert("L")) > 127
        found.append(Drone(file.stem, part, f"{kind}{frame // 20}", read(file), mask))
    return found


def _drone_part(kind: str, frame: int) -> str:
    if kind == "DJI":
        return TEST if frame >= _SINGLES else LEARN
    for part, ranges in _DRONE.items():
        if any(low <= frame < high for low, high in ranges):
            return part
    held = [of for ranges in _DRONE.values() for of in ranges]
    near = any(low - _GUARD < frame < high + _GUARD for low, high in held)
    return UNUSED if near else LEARN


def textures(data: Path, part: str) -> dict[str, Pixels]:
    """Poly Haven's seamless crack-free textures by name."""
    found = {}
    for file in sorted((data / "photos" / "no_crack").glob("polyhaven_*.jpg")):
        name = file.stem.removeprefix("polyhaven_").removesuffix("_2k")
        if part == next((p for p, names in _TEXTURES.items() if name in names), LEARN):
            found[name] = read(file)
    return found


def tiles(images: Path, part: str) -> dict[tuple[str, bool], list[Path]]:
    """Tiles by source and whether they are cracked, of what `bench.recipe.run.lay_out` holds back:
    the test half tests, the validation half is divided by group."""
    found: dict[tuple[str, bool], list[Path]] = {}
    for image in find_labelled(images / ("test" if part == TEST else "validation")):
        even = hashlib.sha256(image.group.encode()).digest()[0] % 2 == 0
        if part == TEST or even == (part == CHOOSE):
            found.setdefault((image.source, image.is_crack), []).append(Path(image.path))
    return found


def read(file: Path) -> Pixels:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


class CrackPixels:
    """Numbers of crack pixels of a photo in boxes."""

    def __init__(self, mask_HW: NDArray[np.bool_]) -> None:
        running = mask_HW.astype(np.int64).cumsum(axis=0).cumsum(axis=1)
        self.running = np.pad(running, ((1, 0), (1, 0)))

    def __call__(self, left: Any, top: Any, right: Any, bottom: Any) -> Any:
        """In boxes from (`left`, `top`) to below (`right`, `bottom`), which may reach beyond."""
        height, width = (side - 1 for side in self.running.shape)
        x0, x1 = np.clip(left, 0, width), np.clip(right, 0, width)
        y0, y1 = np.clip(top, 0, height), np.clip(bottom, 0, height)
        sums = self.running
        return sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]


def clear_part(mask: Mask, margin: int, least: int) -> tuple[slice, slice] | None:
    """The largest rectangle at least `margin` from any crack, unless a side is below `least`."""
    taken = ndimage.binary_dilation(mask, iterations=margin)
    coarse = ndimage.maximum_filter(taken, 8)[4::8, 4::8]
    rows, columns = coarse.shape
    run = np.zeros(columns, np.int64)
    best, place = 0, None
    for bottom in range(rows):
        run = np.where(coarse[bottom], 0, run + 1)
        for left in range(columns):
            height = int(run[left])
            for right in range(left, columns):
                height = min(height, int(run[right]))
                width = right - left + 1
                if height * 8 < least:
                    break
                if width * 8 >= least and height * width > best:
                    best = height * width
                    place = (
                        slice((bottom - height + 1) * 8, (bottom + 1) * 8),
                        slice(left * 8, (right + 1) * 8),
                    )
    return place


def crack_gain(photo: Drone) -> NDArray[np.float32]:
    """What a photographed crack does to the light, 0 to 1.1 a pixel, without its surface: 1 off the
    crack. Put on another surface, it is a crack that no generator has drawn."""
    grey = photo.pixels.astype(np.float32).mean(axis=2) + 1
    near = ndimage.binary_dilation(photo.mask, iterations=3)
    weight = (~ndimage.binary_dilation(photo.mask, iterations=5)).astype(np.float32)
    level = ndimage.gaussian_filter(grey * weight, 12) / (
        ndimage.gaussian_filter(weight, 12) + 1e-3
    )
    soft = ndimage.gaussian_filter(near.astype(np.float32), 1)
    gain = np.clip(grey / np.maximum(level, 1), 0.15, 1.1)
    return np.asarray(1 + soft * (gain - 1), np.float32)


def darkened(before: Pixels, after: Pixels, mask: Mask) -> tuple[float, float]:
    """Grey levels by which a crack darkens its pixels, and deviation of the texture around it."""
    grey = before.astype(np.float32).mean(axis=2)
    fine = grey - ndimage.uniform_filter(grey, 9)
    near = ndimage.binary_dilation(mask, iterations=6)
    darker = grey - after.astype(np.float32).mean(axis=2)
    return float(darker[mask].mean()), float(fine[near].std())


def tiled(rng: np.random.Generator, texture: Pixels, height: int, width: int) -> Pixels:
    """A cut of a seamless texture, across its borders, seen from near or far."""
    scale = float(np.exp(rng.uniform(np.log(0.6), np.log(1.4))))
    size = round(height / scale), round(width / scale)
    first = rng.integers(texture.shape[0]), rng.integers(texture.shape[1])
    rows, columns = (
        (start + np.arange(n)) % side
        for start, n, side in zip(first, size, texture.shape[:2], strict=True)
    )
    return resized(np.ascontiguousarray(texture[rows][:, columns]), height, width)


def mirrored(rng: np.random.Generator, tile: Pixels, height: int, width: int) -> Pixels:
    """A photo of a tile that its mirror images continue."""
    tops = [int(rng.integers(0, _TILE // 2)) for _ in range(2)]
    after = [
        max(0, side - n - top)
        for side, n, top in zip((height, width), tile.shape[:2], tops, strict=True)
    ]
    pixels = np.pad(tile, ((tops[0], after[0]), (tops[1], after[1]), (0, 0)), mode="symmetric")
    return np.ascontiguousarray(pixels[:height, :width])


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
