"""Photos with known cracks, the same from the same seed: real ones, and surfaces with joints,
cables and shadows on which cracks are put, drawn or taken from other photos."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bench.studies.photos import hard
from bench.studies.photos.sources import (
    LEAST_SEEN,
    PARTS,
    TEST,
    Drone,
    clear_part,
    crack_gain,
    darkened,
    drone,
    mirrored,
    read,
    resized,
    textures,
    tiled,
    tiles,
)
from inspector.synthesis import CrackStyle, Kind, add_crack, add_distractor, make_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

_DISTRACTORS = (Kind.JOINT, Kind.STAIN, Kind.SHADOW, Kind.HOLES, Kind.SCRATCH, Kind.RUST)
_MARGIN = 24
"""Pixels between a crack and what is cut out as crack-free."""
_LEAST_ABOVE = 1.5
"""`LEAST_SEEN` in standard deviations of the surface's own fine texture around the crack."""

CURVE, BARE, JOINTS = "curve", "bare concrete", "among joints"
CURVE_WIDTHS = (1.0, 1.5, 2.0, 3.0, 4.5, 6.0)
CURVE_CONTRASTS = (0.25, 0.5, 0.8)
CURVE_CASES = tuple(product(CURVE_WIDTHS, CURVE_CONTRASTS, (BARE, JOINTS)))
"""Widths in pixels, contrasts (share of the light that the crack swallows) and company, each in
four photos."""


@dataclass(frozen=True, slots=True)
class Made:
    """A photo whose cracks are known."""

    name: str
    family: str
    part: str
    group: str
    """Photos of one group share a surface or a stretch of a flight."""
    pixels: Pixels
    mask: Mask
    """Crack pixels; all False where their place is not known."""
    is_crack: bool
    facts: Mapping[str, float | str] = field(default_factory=dict)
    """Of a drawn crack: `width`, `contrast`; of all, `surface`."""


class Scenes:
    """Makes photos. `data` as for the recipe, `images` laid out by it."""

    def __init__(self, data: Path, images: Path) -> None:
        self.data = data
        self.drone = [photo for photo in drone(data) if photo.part in PARTS]
        self.textures = {part: textures(data, part) for part in PARTS}
        self.tiles = {part: tiles(images, part) for part in PARTS}

    def all(
        self, counts: Mapping[str, int], parts: Sequence[str] = PARTS
    ) -> Iterator[tuple[str, Callable[[], Made | None]]]:
        """Names and makers of the photos of `parts`: every drone crop that was held back, the
        mosaics, and `counts` composed ones a family and part, every second of them cracked. A maker
        may have nothing to give."""
        for photo in self.drone:
            if photo.part in parts:
                yield f"drone-{photo.name}", partial(self._drone, photo)
                yield f"drone-{photo.name}-clear", partial(self._drone_clear, photo)
        if TEST in parts:
            for file in sorted((self.data / "photos" / "mosaic").glob("*.jpg")):
                yield f"mosaics-{file.stem}", partial(self._mosaic, file)
        makers: dict[str, Callable[[str, str, int], Made]] = {
            "boards": self._boards,
            "slabs": self._slabs,
            "walls": self._walls,
            "stones": self._stones,
            "large": self._large,
            "tiles": self._tiles,
            "patches": partial(self._side_by_side, rows=(2, 5), columns=(2, 6)),  # to 1 MP
            "sheets": partial(self._side_by_side, rows=(7, 11), columns=(10, 15)),  # to 7 MP
            CURVE: self._curve,
        }
        for family, count in counts.items():
            make = makers[family]
            for k, part in product(range(count), parts):
                if part == TEST or family != CURVE:
                    name = f"{family}-{part}-{k:03d}"
                    yield name, partial(make, name, part, k)

    def _drone(self, photo: Drone) -> Made:
        name = f"drone-{photo.name}"
        return Made(name, "drone", photo.part, photo.block, photo.pixels, photo.mask, True)

    def _drone_clear(self, photo: Drone) -> Made | None:
        """The largest part of a drone crop that shows no crack, mirrored to its size."""
        cut = clear_part(photo.mask, _MARGIN, 200)
        if cut is None:
            return None
        part = photo.pixels[cut]
        after = [(0, 448 - side) for side in part.shape[:2]]
        pixels = np.pad(part, (*after, (0, 0)), mode="symmetric")
        return _unmasked(f"drone-{photo.name}-clear", "drone", photo.part, photo.block, pixels)

    def _mosaic(self, file: Path) -> Made:
        """METU tiles side by side, 7 MP."""
        cracked = not file.stem.endswith("_00pos")
        return _unmasked(f"mosaics-{file.stem}", "mosaics", TEST, file.stem, read(file), cracked)

    def _boards(self, name: str, part: str, k: int) -> Made:
        """Hairlines of 0.8 to 2.5 px among the imprints of boards, 512 px."""
        rng = _rng(name)
        pixels, surface = self._surface(rng, part, 512, 512, concrete=1.0)
        pixels = hard.boards(pixels, rng)
        if rng.random() < 0.3:
            pixels = _distracted(pixels, rng, 1)
        return self._finish(name, "boards", part, surface, pixels, rng, k, (0.8, 2.5), 1)

    def _slabs(self, name: str, part: str, k: int) -> Made:
        """1080p photos of slabs with joints, cracks of 1 to 5 px."""
        rng = _rng(name)
        pixels, surface = self._surface(rng, part, 1080, 1920)
        pixels = hard.slabs(pixels, rng)
        pixels = _distracted(pixels, rng, int(rng.integers(0, 3)))
        return self._finish(name, "slabs", part, surface, pixels, rng, k, (1.0, 5.0), 2)

    def _walls(self, name: str, part: str, k: int) -> Made:
        """Any surface and company, 448 to 1024 px, cracks of 1 to 6 px."""
        rng = _rng(name)
        side = int(rng.choice((448, 512, 640, 800, 1024)))
        pixels, surface = self._surface(rng, part, side, side)
        for make, odds in ((hard.boards, 0.2), (hard.slabs, 0.3), (hard.cable, 0.25)):
            if rng.random() < odds:
                pixels = make(pixels, rng)
        pixels = _distracted(pixels, rng, int(rng.integers(0, 3)))
        return self._finish(name, "walls", part, surface, pixels, rng, k, (1.0, 6.0), 2)

    def _stones(self, name: str, part: str, k: int) -> Made:
        """Bonds of bricks and setts on any surface, 512 to 1024 px, cracks of 1.5 to 6 px."""
        rng = _rng(name)
        side = int(rng.choice((512, 768, 1024)))
        pixels, surface = self._surface(rng, part, side, side)
        pixels = hard.stones(pixels, rng)
        return self._finish(name, "stones", part, surface, pixels, rng, k, (1.5, 6.0), 1)

    def _curve(self, name: str, part: str, k: int) -> Made:
        """One crack of a given width and contrast on concrete, bare or among joints, 448 px;
        however faint it is there."""
        rng = _rng(name)
        place, (width, contrast, company) = k % 4, CURVE_CASES[k // 4 % len(CURVE_CASES)]
        pixels, surface = self._surface(rng, part, 448, 448, concrete=1.0)
        if company == JOINTS:
            pixels = (hard.boards if place % 2 else hard.slabs)(pixels, rng)
        style = CrackStyle(
            width_px=width,
            contrast=contrast,
            blur_px=float(rng.uniform(0.2, 1.0)),
            roughness=float(rng.uniform(0.03, 0.2)),
            through=bool(rng.random() < 0.5),
        )
        pixels, mask = add_crack(pixels, rng, style)
        facts: dict[str, float | str] = {"surface": company}
        facts |= {"width": width, "contrast": contrast}
        return Made(name, CURVE, part, surface, _jpeg(pixels, rng), mask, True, facts)

    def _large(self, name: str, part: str, k: int) -> Made:
        """12 MP of a tiled texture with joints, cracks of 1 to 6 px."""
        rng = _rng(name)
        surfaces = self.textures[part]
        surface = sorted(surfaces)[k // 2 % len(surfaces)]
        pixels = tiled(rng, surfaces[surface], 3000, 4000)
        pixels = (hard.slabs, hard.boards, hard.cable)[k // 2 % 3](pixels, rng)
        return self._finish(name, "large", part, surface, pixels, rng, k, (1.0, 6.0), 3)

    def _tiles(self, name: str, part: str, k: int) -> Made:
        """A tile of a real wall, continued by its mirror images."""
        rng = _rng(name)
        is_crack = bool(k % 2)
        sources = ("rissbilder", "volker") if is_crack else ("noncrack", "rissbilder", "volker")
        source = sources[k // 2 % len(sources)]
        pool = self.tiles[part][source, is_crack]
        file = pool[int(rng.integers(len(pool)))]
        pixels = mirrored(rng, read(file), 448, 448)
        facts = {"surface": source}
        return _unmasked(name, "tiles", part, file.stem, pixels, is_crack, facts)

    def _side_by_side(
        self, name: str, part: str, k: int, rows: tuple[int, int], columns: tuple[int, int]
    ) -> Made:
        """Crack-free METU tiles, and, where `k` is odd, one to three cracked ones among them."""
        rng = _rng(name)
        height, width = int(rng.integers(*rows)), int(rng.integers(*columns))
        clear, cracked = (self.tiles[part]["metu", is_crack] for is_crack in (False, True))
        chosen = {int(v) for v in rng.choice(height * width, int(rng.integers(1, 4)), False)}
        chosen = chosen if k % 2 else set()
        pixels = np.zeros((height * 227, width * 227, 3), np.uint8)
        for n in range(height * width):
            pool = cracked if n in chosen else clear
            tile = resized(read(pool[int(rng.integers(len(pool)))]), 227, 227)
            top, left = 227 * (n // width), 227 * (n % width)
            pixels[top : top + 227, left : left + 227] = tile
        family, facts = name.split("-")[0], {"surface": "metu"}
        return _unmasked(name, family, part, name, pixels, bool(chosen), facts)

    def _surface(
        self, rng: np.random.Generator, part: str, height: int, width: int, concrete: float = 0.6
    ) -> tuple[Pixels, str]:
        """A crack-free surface: a texture, in a share of `concrete` of that kind if the part has
        one, a tile of a wall and its mirror images, or drawn."""
        draw = rng.random()
        of_concrete = [n for n in self.textures[part] if "concrete" in n]
        names = sorted(of_concrete if rng.random() < concrete else self.textures[part])
        if draw < 0.45 and names:
            name = names[int(rng.integers(len(names)))]
            return tiled(rng, self.textures[part][name], height, width), name
        if draw < 0.85:
            source = str(rng.choice(("metu", "noncrack", "rissbilder")))
            pool = self.tiles[part][source, False]
            file = pool[int(rng.integers(len(pool)))]
            return mirrored(rng, read(file), height, width), f"{source}/{file.stem[:40]}"
        return make_scene(rng, height, width, Kind.CLEAN).pixels, "drawn"

    def _finish(
        self, name: str, family: str, part: str, surface: str, pixels: Pixels,
        rng: np.random.Generator, k: int, widths: tuple[float, float], most: int,
    ) -> Made:  # fmt: skip
        """The photo with cracks, where `k` is odd, out of a camera: soft, noisy, JPEG."""
        mask = np.zeros(pixels.shape[:2], np.bool_)
        facts: dict[str, float | str] = {"surface": surface.split("/")[0]}
        if k % 2:
            for _ in range(int(rng.integers(1, most + 1))):
                pixels, mask, drawn = self._cracked(pixels, mask, rng, part, widths)
                facts |= drawn
        return Made(name, family, part, surface, _jpeg(pixels, rng), mask, bool(k % 2), facts)

    def _cracked(
        self, pixels: Pixels, mask: Mask, rng: np.random.Generator, part: str,
        widths: tuple[float, float],
    ) -> tuple[Pixels, Mask, dict[str, float | str]]:  # fmt: skip
        """One visible crack somewhere, drawn or taken from a drone crop of the same part."""
        for _ in range(20):
            reach = int(min(*pixels.shape[:2], rng.integers(220, 900)))
            top = int(rng.integers(pixels.shape[0] - reach + 1))
            left = int(rng.integers(pixels.shape[1] - reach + 1))
            cut = np.s_[top : top + reach, left : left + reach]
            if rng.random() < 0.5:
                changed, own, facts = self._taken(pixels[cut], rng, part)
            else:
                changed, own, facts = _drawn(pixels[cut], rng, widths)
            if own.sum() < 40:
                continue
            darker, texture = darkened(pixels[cut], changed, own)
            if darker >= max(LEAST_SEEN, _LEAST_ABOVE * texture):
                out, where = pixels.copy(), mask.copy()
                out[cut], where[cut] = changed, where[cut] | own
                return out, where, facts | {"darker": darker, "texture": texture}
        raise RuntimeError("no visible crack could be put on this surface")

    def _taken(
        self, pixels: Pixels, rng: np.random.Generator, part: str
    ) -> tuple[Pixels, Mask, dict[str, float | str]]:
        """A crack of a drone crop, shrunk to 0.35 to 1 times its size."""
        pool = [photo for photo in self.drone if photo.part == part]
        photo = pool[int(rng.integers(len(pool)))]
        side = int(min(pixels.shape[0], 448 * np.exp(rng.uniform(np.log(0.35), 0))))
        turns = int(rng.integers(4))
        gain = _shrunk(np.rot90(crack_gain(photo), turns), side)
        share = _shrunk(np.rot90(photo.mask, turns).astype(np.float32), side)
        top, left = (int(v) for v in rng.integers(pixels.shape[0] - side + 1, size=2))
        cut = np.s_[top : top + side, left : left + side]
        out, mask = pixels.copy(), np.zeros(pixels.shape[:2], np.bool_)
        out[cut] = np.rint(pixels[cut] * gain[:, :, None]).clip(0, 255)
        mask[cut] = share > 0.3
        return out, mask, {"taken": photo.name}


def _jpeg(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=int(rng.integers(70, 96)))
    return np.asarray(Image.open(stream).convert("RGB"))


def _unmasked(
    name: str, family: str, part: str, group: str, pixels: Pixels, is_crack: bool = False,
    facts: Mapping[str, float | str] | None = None,
) -> Made:  # fmt: skip
    """A photo without a crack, or with one whose place is not known."""
    mask = np.zeros(pixels.shape[:2], np.bool_)
    return Made(name, family, part, group, pixels, mask, is_crack, facts or {})


def _drawn(
    pixels: Pixels, rng: np.random.Generator, widths: tuple[float, float]
) -> tuple[Pixels, Mask, dict[str, float | str]]:
    width = float(np.exp(rng.uniform(*np.log(widths))))
    style = CrackStyle(
        width_px=width,
        contrast=float(rng.uniform(max(0.2, min(0.7, 0.4 / width)), 0.9)),
        branches=int(rng.integers(1, 4)) if rng.random() < 0.3 else 0,
        blur_px=float(rng.uniform(0.2, 1.4)),
        roughness=float(rng.uniform(0.03, 0.2)),
        gaps=float(rng.uniform(0.03, 0.2)) if rng.random() < 0.3 else 0.0,
        through=bool(pixels.shape[0] < 500 and rng.random() < 0.4),
    )
    changed, mask = add_crack(pixels, rng, style)
    return changed, mask, {"width": width, "contrast": style.contrast}


def _shrunk(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX))


def _distracted(pixels: Pixels, rng: np.random.Generator, times: int) -> Pixels:
    for _ in range(times):
        pixels = add_distractor(pixels, rng, _DISTRACTORS[int(rng.integers(len(_DISTRACTORS)))])
    return pixels


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng([*name.encode()])
