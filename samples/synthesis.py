"""Draw `docs/explanation/synthesis.jpg`, an overview of the synthetic images.

Usage: `python -m samples.synthesis [--out FILE]`.

Every tile is synthetic and seeded by its place, walls included, so that anyone can draw it again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torchvision.transforms import v2

from inspector.synthesis import (
    HARD_NEGATIVES,
    CrackStyle,
    Kind,
    SurfaceStyle,
    add_crack,
    add_distractor,
    make_scene,
)
from inspector.training.data import haze, jpeg_artifacts, rescale, sensor_noise, white_balance

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "synthesis.jpg"

TILE_PX = 128
COLUMNS = 8
_GAP_PX = 4
_CAPTION_PX = 15
_QUALITY = 68
_SEED = 3
_PAPER, _INK = (250, 250, 248), (32, 33, 36)
_EACH = COLUMNS // 2
"""Tiles of each hard negative: two kinds share a row."""

Pixels = NDArray[np.uint8]
_WALL = SurfaceStyle(brightness=152, mottle=0.03, grain=0.03, aggregate=0.05)


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of the page and what stands below it."""

    caption: str
    pixels: Pixels


def page() -> Image.Image:
    """The whole picture: titled rows of `COLUMNS` tiles, RGB."""
    rows = list(_rows())
    row_px = TILE_PX + 2 * _CAPTION_PX + _GAP_PX
    side_px = TILE_PX + _GAP_PX
    sheet = Image.new("RGB", (COLUMNS * side_px + _GAP_PX, len(rows) * row_px + _GAP_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for number, (title, tiles) in enumerate(rows):
        top = number * row_px + _GAP_PX
        draw.text((_GAP_PX, top), title, fill=_INK, font=font)
        for column, tile in enumerate(tiles):
            left = _GAP_PX + column * side_px
            sheet.paste(Image.fromarray(tile.pixels), (left, top + _CAPTION_PX))
            below = (left, top + _CAPTION_PX + TILE_PX)
            draw.text(below, tile.caption, fill=_INK, font=font)
    return sheet


def _rows() -> Iterator[tuple[str, list[Tile]]]:
    yield (
        "Bare walls (random styles)",
        [
            Tile("", make_scene(_rng(0, k), TILE_PX, TILE_PX, Kind.CLEAN).pixels)
            for k in range(COLUMNS)
        ],
    )
    for number, (title, captions, styles) in enumerate(_CRACKS, start=1):
        yield (
            title,
            [
                Tile(caption, _crack(number, k, style))
                for k, (caption, style) in enumerate(zip(captions, styles, strict=True))
            ],
        )
    for first in range(0, len(HARD_NEGATIVES), 2):
        kinds = HARD_NEGATIVES[first : first + 2]
        yield (
            "Hard negatives: " + ", ".join(kinds),
            [
                Tile(kind if k == 0 else "", _distractor(kind, k))
                for kind in kinds
                for k in range(_EACH)
            ],
        )
    yield (
        "One crack in other light and through other cameras",
        [Tile(caption, _seen(change)) for caption, change in _SHIFTS],
    )


_PLAIN = CrackStyle(width_px=2.0, contrast=0.75, direction_deg=60.0)
_WIDTHS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
_CONTRASTS = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.8, 0.92)
_FORMS = (
    ("straight", replace(_PLAIN, roughness=0.05)),
    ("rough", replace(_PLAIN, roughness=0.2)),
    ("1 branch", replace(_PLAIN, branches=1)),
    ("3 branches", replace(_PLAIN, branches=3)),
    ("8 branches", replace(_PLAIN, branches=8)),
    ("ends inside", replace(_PLAIN, through=False)),
    ("a tenth closed", replace(_PLAIN, gaps=0.1)),
    ("a third closed", replace(_PLAIN, gaps=0.33)),
)
_EDGES = (
    ("no blur", replace(_PLAIN, blur_px=0.0)),
    ("blur 1 px", replace(_PLAIN, blur_px=1.0)),
    ("blur 2 px", replace(_PLAIN, blur_px=2.0)),
    ("blur 4 px", replace(_PLAIN, blur_px=4.0)),
    ("lit edge 0.3", replace(_PLAIN, rim=0.3, width_px=3.5)),
    ("lit edge 0.7", replace(_PLAIN, rim=0.7, width_px=3.5)),
    ("lit edge 1", replace(_PLAIN, rim=1.0, width_px=3.5)),
    ("lit edge, 8 px", replace(_PLAIN, rim=1.0, width_px=8.0)),
)
_CRACKS = (
    (
        "Width, contrast 0.75",
        [f"{px:g} px" for px in _WIDTHS],
        [replace(_PLAIN, width_px=px) for px in _WIDTHS],
    ),
    (
        "Contrast, 2 px wide",
        [f"{share:g}" for share in _CONTRASTS],
        [replace(_PLAIN, contrast=share) for share in _CONTRASTS],
    ),
    (
        "Course, branches, tips and closed parts",
        [name for name, _ in _FORMS],
        [style for _, style in _FORMS],
    ),
    (
        "Blurred, and with a broken edge that catches the light",
        [name for name, _ in _EDGES],
        [style for _, style in _EDGES],
    ),
)


def _rng(row: int, column: int) -> np.random.Generator:
    return np.random.default_rng([_SEED, row, column])


def _wall(row: int, column: int) -> Pixels:
    return make_scene(_rng(row, column), TILE_PX, TILE_PX, Kind.CLEAN, surface=_WALL).pixels


def _crack(row: int, column: int, style: CrackStyle) -> Pixels:
    # One path for the whole row, on one wall: the style is what differs.
    return add_crack(_wall(row, 0), _rng(row, 0), style)[0]


def _distractor(kind: Kind, column: int) -> Pixels:
    rng = _rng(30 + HARD_NEGATIVES.index(kind), column)
    return add_distractor(make_scene(rng, TILE_PX, TILE_PX, Kind.CLEAN).pixels, rng, kind)


def _seen(change: Callable[[Tensor], Tensor]) -> Pixels:
    """The change (torch draws it) of one and the same crack."""
    pixels = _crack(50, 0, replace(_PLAIN, branches=1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        changed = change(torch.from_numpy(pixels).permute(2, 0, 1))
    return changed.permute(1, 2, 0).contiguous().numpy()


_SHIFTS: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("as it is", nn.Identity()),
    ("exposure, contrast", v2.ColorJitter(0.3, 0.35, 0.3, 0.03)),
    ("white balance", white_balance),
    ("haze", haze),
    ("sensor noise", sensor_noise),
    ("JPEG quality 30", partial(jpeg_artifacts, worst=30, best=30)),
    ("blur", v2.GaussianBlur(5, (1.6, 1.6))),
    ("further away", partial(rescale, size=TILE_PX, smallest=0.45, largest=0.45)),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m samples.synthesis", description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURE, metavar="FILE")
    out: Path = parser.parse_args(arguments).out
    page().save(out, "JPEG", quality=_QUALITY, optimize=True)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
