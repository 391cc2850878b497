"""What is drawn on photos: heat, boxes around regions, and what both mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inspector.model.windows import WindowMap
from inspector.photos.pictures import CannotShowError, as_jpeg, open_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    Box = tuple[float, float, float, float]
    """Left, top, right, bottom."""

SIDE = 56
"""Pixels of a drawn map's longer side: who shows it smooths it up to the photo's size."""
PER_CELL = 4
"""Pixels of a drawn map per cell of a large photo's map."""
OPACITY = 0.85
"""Opacity where the evidence is strongest."""
_INFERNO = np.array(
    [(0, 0, 3), (32, 12, 74), (87, 15, 109), (137, 34, 105), (187, 55, 84), (228, 90, 49),
     (249, 142, 8), (248, 203, 52), (252, 254, 164)],
    np.float64,
)  # fmt: skip
"""Every eighth of Matplotlib's `inferno`, whose colours are ordered by lightness for every kind of
eye (S. van der Walt and N. Smith, CC0)."""
_INK, _PAPER = (0, 0, 0), (255, 255, 255)
_FOOT = (24, 24, 24)


@dataclass(frozen=True, slots=True)
class HeatScale:
    """Activations (logit units) drawn as nothing and as the full colour. One scale for all photos
    that are looked at together: a pale map means little evidence."""

    low: float
    high: float

    @classmethod
    def of(cls, cam_NHW: NDArray[np.float32]) -> HeatScale:
        """Span from the typical cell to the strongest cell of a typical crack."""
        strongest_N = cam_NHW.max(axis=(1, 2))
        low, high = float(np.median(cam_NHW)), float(np.quantile(strongest_N, 0.9))
        return cls(low, max(high, low + 1e-6))


CELLS = HeatScale(0.0, 20.0)
"""For the cells of photos judged at their own scale (log odds): a hairline's reach 10 to 30."""
WINDOWS = HeatScale(0.0, 6.0)
"""For windows that were judged one by one (log odds)."""
OVERLAY_SIDE = 2048
"""Pixels of an overlay's longer side at most."""
_QUALITY = 88
VEIL = 0.65
"""Opacity of the heat over a photo."""
_NARROW = 400
"""Pixels below which a legend has room for words alone."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is drawn over a photo: `evidence` is that of its windows, moved by `offset` pixels (x,
    y) where it is that of cells, or the activation map of a photo judged whole; `regions` are boxes
    in its pixels, `peak` the place of the strongest evidence as shares of its sides, and `words`
    stand below it."""

    evidence: WindowMap | NDArray[np.float32]
    scale: HeatScale
    offset: tuple[float, float]
    regions: Sequence[Mapping[str, Any]]
    peak: tuple[float, float] | None
    words: str


def draw_overlay(address: str, content_hash: str, overlay: Overlay) -> bytes:
    """Draw an overlay as a JPEG, upright, at most `OVERLAY_SIDE` pixels wide and not much higher.
    Raises CannotShowError, also for a photo with other bytes than `content_hash`."""
    opened = open_whole(address, OVERLAY_SIDE)
    if opened.content_hash != content_hash:
        raise CannotShowError("the file has changed since it was judged")
    drawn = drawn_over(opened.image.convert("RGB"), opened.width, opened.height, overlay)
    return as_jpeg(drawn, _QUALITY)


def drawn_over(image: Image.Image, width: int, height: int, overlay: Overlay) -> Image.Image:
    """Draw an overlay and its legend on an upright RGB photo of `width` x `height` pixels, which
    `image` shows smaller or as it is, and which is changed."""
    heat = heat_of(overlay, width, height).resize(image.size, Image.Resampling.BICUBIC)
    # The crack itself is to be seen below it.
    image.paste(heat.convert("RGB"), mask=heat.getchannel("A").point(lambda a: round(a * VEIL)))
    if overlay.regions:
        mark_regions(image, overlay.regions, image.width / width)
    elif overlay.peak is not None:
        _ring(image, overlay.peak)
    return with_legend(image, overlay.words, heat=image.width >= _NARROW)


def heat_of(overlay: Overlay, width: int, height: int) -> Image.Image:
    """Draw an overlay's evidence as RGBA, to be stretched over the photo of `width` x `height`
    pixels."""
    found = overlay.evidence
    if isinstance(found, WindowMap):
        return draw_window_heat(found, overlay.scale, width, height, offset=overlay.offset)
    return draw_heat(found, overlay.scale)


def _ring(image: Image.Image, place: tuple[float, float]) -> None:
    x, y = place[0] * image.width, place[1] * image.height
    radius = max(image.size) / 28
    box = (x - radius, y - radius, x + radius, y + radius)
    _outline(ImageDraw.Draw(image).ellipse, box, image.size)


def _outline(draw: Callable[..., None], box: Box, size: tuple[int, int]) -> None:
    """Draw a shape white within black: seen on any photo, by any eye."""
    line = max(1, round(max(size) / 700))
    for width, colour in ((3 * line, _INK), (line, _PAPER)):
        grown = (width - line) / 2
        around = (box[0] - grown, box[1] - grown, box[2] + grown, box[3] + grown)
        draw(around, outline=colour, width=width)


def draw_heat(
    cam_HW: NDArray[np.float32],
    scale: HeatScale,
    size: tuple[int, int] | None = None,
    box: Box | None = None,
) -> Image.Image:
    """Draw an activation map (h, w; logit units) with transparency where there is no evidence, to
    be stretched over the photo. `box` is the part of it that lies on the photo, in cells, all of it
    if not given; `size` that of the drawing."""
    share_HW = np.clip((cam_HW - scale.low) / (scale.high - scale.low), 0, 1).astype(np.float32)
    rows, columns = share_HW.shape
    if size is None:
        factor = SIDE / max(rows, columns)
        size = (round(columns * factor), round(rows * factor))
    smooth = Image.fromarray(share_HW).resize(size, Image.Resampling.BICUBIC, box=box)
    share_HW = np.clip(np.asarray(smooth), 0, 1)
    return Image.fromarray(_coloured(share_HW))


def draw_window_heat(
    found: WindowMap,
    scale: HeatScale,
    width: int,
    height: int,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Image.Image:
    """Draw the windows of a photo of `width` x `height` pixels as `draw_heat` does: the evidence
    of each cell, moved by `offset` pixels (x, y), or where windows were judged one by one, theirs
    around their middles."""
    values_HW, left, top = found.cells_HW, found.left + offset[0], found.top + offset[1]
    if values_HW is None:
        values_HW = found.log_odds_HW
        left, top = (side + (found.size - found.stride) / 2 for side in (found.left, found.top))
    begin = np.array([-left, -top]) / found.stride
    end = begin + np.array([width, height]) / found.stride
    rows, columns = values_HW.shape
    before = np.ceil(np.maximum(-begin, 0)).astype(int)
    after = np.ceil(np.maximum(end - (columns, rows), 0)).astype(int)
    # Beyond the outermost cells the photo goes on with their evidence.
    padded_HW = np.pad(values_HW, ((before[1], after[1]), (before[0], after[0])), mode="edge")
    left_c, top_c, right_c, bottom_c = map(float, (*(begin + before), *(end + before)))
    cells = max(right_c - left_c, bottom_c - top_c)
    factor = max(SIDE, round(cells * PER_CELL)) / max(width, height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return draw_heat(padded_HW, scale, size, (left_c, top_c, right_c, bottom_c))


def _coloured(share_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Shares from 0 to 1 as uint8 RGBA (H, W, 4)."""
    steps = np.linspace(0, 1, len(_INFERNO))
    channels = [np.interp(share_HW, steps, _INFERNO[:, channel]) for channel in range(3)]
    rgba = np.stack([*channels, 255 * OPACITY * np.sqrt(share_HW)], axis=2)
    return rgba.round().astype(np.uint8)


def mark_regions(
    image: Image.Image, regions: Sequence[Mapping[str, Any]], scale: float = 1.0
) -> None:
    """Draw a box around each region, with its probability or `mark`, on an upright RGB photo of
    which `scale` pixels are one of the original's."""
    draw = ImageDraw.Draw(image)
    font = _font(image)
    for region in reversed(regions):  # the likeliest one above the others
        left, top = region["x"] * scale, region["y"] * scale
        right, bottom = left + region["width"] * scale, top + region["height"] * scale
        box = (left, top, max(right, left + 1), max(bottom, top + 1))
        _outline(draw.rectangle, box, image.size)
        _chip(draw, box[:2], chance(region), font, image.size)


def chance(region: Mapping[str, Any]) -> str:
    """How likely a region shows a crack, in two digits; of a person's mark, that it is one."""
    return "mark" if region["p_crack"] is None else f"{region['p_crack']:.2f}"


def _chip(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Write black on white above a corner, or below it where there is no room."""
    _, _, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = max(2, int(bottom) // 5)
    width, height = right + 2 * pad, bottom + 2 * pad
    x = min(max(0.0, corner[0]), max(0.0, size[0] - width))
    y = corner[1] - height if corner[1] >= height else max(0.0, corner[1])
    draw.rectangle((x, y, x + width, y + height), fill=_PAPER, outline=_INK)
    draw.text((x + pad, y + pad), text, font=font, fill=_INK)


def with_legend(image: Image.Image, words: str, *, heat: bool) -> Image.Image:
    """Put a line below a photo that says what is drawn: the colours of the heat from weak to
    strong, and `words`, cut where there is no room for more."""
    font = _font(image)
    probe = ImageDraw.Draw(image)
    _, _, _, text_height = probe.textbbox((0, 0), "Ag", font=font)
    height = round(text_height * 1.8)
    drawn = Image.new("RGB", (image.width, image.height + height), _FOOT)
    drawn.paste(image)
    draw = ImageDraw.Draw(drawn)
    pad, y = height // 3, image.height + (height - text_height) / 2
    x: float = pad
    if heat:
        bar = max(8, min(height * 5, image.width // 5))
        colours = _coloured(np.tile(np.linspace(0, 1, bar, dtype=np.float32), (height // 2, 1)))
        draw.text((x, y), "weak", font=font, fill=_PAPER)
        x += draw.textlength("weak", font=font) + pad
        strip = Image.fromarray(colours).convert("RGB")
        drawn.paste(strip, (round(x), image.height + height // 4))
        x += bar + pad
        draw.text((x, y), "strong evidence", font=font, fill=_PAPER)
        x += draw.textlength("strong evidence", font=font) + 2 * pad
    while words and x + draw.textlength(words, font=font) > image.width:
        words = words[:-1]
    draw.text((x, y), words, font=font, fill=_PAPER)
    return drawn


def _font(image: Image.Image) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(11, round(max(image.size) / 75)))
