"""What is drawn on photos lies where it belongs, and means the same on all of them."""

from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from inspector.model.windows import WindowMap
from inspector.photos.drawing import (
    HeatScale,
    Overlay,
    draw_heat,
    draw_overlay,
    draw_window_heat,
    mark_regions,
    with_legend,
)
from inspector.photos.pictures import CannotShowError
from tests.photos.turned import TURNS, save_turned


def test_draw_heat_shows_where_the_evidence_is_and_how_much():
    cam_HW = np.full((7, 7), -1, np.float32)
    cam_HW[1, 5] = 3
    scale = HeatScale(low=0.0, high=3.0)
    strong, weak, none = (np.asarray(draw_heat(cam_HW * share, scale)) for share in (1, 0.3, -1))
    row, column = np.unravel_index(strong[:, :, 3].argmax(), strong.shape[:2])
    assert (int(row) * 7 // len(strong), int(column) * 7 // len(strong)) == (1, 5)
    assert strong[-1, 0, 3] == 0
    assert strong[:, :, 3].max() > weak[:, :, 3].max() > 0, "one scale for all photos"
    assert none.shape == strong.shape
    clear = draw_heat(np.full((7, 7), -1, np.float32), scale)
    assert not np.asarray(clear)[:, :, 3].any()


def test_heat_colours_grow_lighter_with_the_evidence():
    """So that eyes that see no colours tell them apart, too."""
    cam_HW = np.tile(np.linspace(0, 1, 56, dtype=np.float32), (56, 1))
    rgba = np.asarray(draw_heat(cam_HW, HeatScale(0.0, 1.0)))
    lightness = rgba[28, :, :3] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) >= -1).all() and lightness[-1] - lightness[0] > 200


def window_map(cells_HW, left, top, size=224, stride=32):
    """Cells in their places; windows that say nothing."""
    span = size // stride - 1
    windows_HW = np.zeros((cells_HW.shape[0] - span, cells_HW.shape[1] - span), np.float32)
    return WindowMap(windows_HW, windows_HW, cells_HW, size, stride, left, top)


@pytest.mark.parametrize(("width", "height"), [(1000, 700), (333, 912), (3000, 240)])
@pytest.mark.parametrize("left", [-112, -16, 0, 9])
def test_heat_lies_on_its_cell_whatever_the_map_covers(width, height, left):
    """A map that begins beyond the photo's border or within it, and ends anywhere."""
    rows, columns = height // 32 + 6, width // 32 + 6
    cells_HW = np.full((rows, columns), -5, np.float32)
    row, column = (height // 2 - left) // 32, (width // 3 - left) // 32
    cells_HW[row, column] = 50
    heat = draw_window_heat(window_map(cells_HW, left, left), HeatScale(0, 50), width, height)
    assert heat.width / heat.height == pytest.approx(width / height, rel=0.05)
    alpha_HW = np.asarray(heat)[:, :, 3].astype(float)
    y_H, x_W = ((np.arange(n) + 0.5) / n for n in alpha_HW.shape)
    middle_x = (alpha_HW.sum(0) * x_W).sum() / alpha_HW.sum() * width
    middle_y = (alpha_HW.sum(1) * y_H).sum() / alpha_HW.sum() * height
    assert middle_x == pytest.approx(left + 32 * (column + 0.5), abs=4)
    assert middle_y == pytest.approx(left + 32 * (row + 0.5), abs=4)


def test_windows_that_were_judged_one_by_one_are_drawn_around_their_middles():
    odds_HW = np.full((4, 6), -3, np.float32)
    odds_HW[1, 4] = 5
    found = WindowMap(odds_HW, odds_HW, None, 224, 168, 0, 0)
    width, height = 224 + 5 * 168, 224 + 3 * 168
    alpha_HW = np.asarray(draw_window_heat(found, HeatScale(0, 5), width, height))[:, :, 3]
    y, x = (int(axis.mean()) for axis in np.nonzero(alpha_HW > alpha_HW.max() * 0.9))
    assert x / alpha_HW.shape[1] * width == pytest.approx(4 * 168 + 112, abs=40)
    assert y / alpha_HW.shape[0] * height == pytest.approx(168 + 112, abs=40)


def region(x, y, width, height, p_crack=0.9):
    return {"x": x, "y": y, "width": width, "height": height, "p_crack": p_crack}


@pytest.mark.parametrize("grey", [0, 120, 255])
def test_boxes_are_seen_on_any_ground_and_hide_nothing_inside(grey):
    image = Image.new("RGB", (400, 300), (grey, grey, grey))
    mark_regions(image, [region(400, 200, 200, 100)], scale=0.5)
    drawn = np.asarray(image)[:, :, 0].astype(int)
    assert (drawn[105:145, 205:295] == grey).all()
    border = drawn[125, 195:205]
    assert border.max() - border.min() == 255


def test_boxes_and_their_numbers_stay_on_the_photo():
    image = Image.new("RGB", (300, 200), (9, 9, 9))
    mark_regions(image, [region(0, 0, 40, 40), region(280, 190, 50, 50), region(290, 5, 1, 1)])
    assert image.size == (300, 200)
    assert np.asarray(image).max() == 255


def test_a_legend_stands_below_the_photo_and_leaves_it_alone():
    image = Image.new("RGB", (640, 200), (77, 77, 77))
    drawn = with_legend(image, "crack 0.97, " * 40, heat=True)
    assert drawn.width == 640 and drawn.height > 200
    assert (np.asarray(drawn)[:200] == 77).all()
    assert len(np.unique(np.asarray(drawn)[200:].reshape(-1, 3), axis=0)) > 20


def test_all_eight_orientations_give_the_same_overlay(tmp_path):
    """Looked at on 2026-11-28: heat and box on the red place, the legend below."""
    photo = Image.new("RGB", (2600, 1400), (120, 120, 120))
    photo.paste((200, 20, 20), (1600, 320, 1856, 512))
    cells_HW = np.full((50, 90), -5, np.float32)
    row, column = (320 + 48) // 32 + 2, (1600 + 48) // 32 + 3
    cells_HW[row : row + 2, column : column + 3] = 18
    box = region(1600, 320, 256, 192)
    words = "crack 0.970 (model), 1 region, dense"
    overlay = Overlay(
        window_map(cells_HW, -48, -48), HeatScale(0, 20), (-8.0, -10.0), [box], None, words
    )
    drawn = []
    for turn in TURNS:
        file = save_turned(photo, tmp_path / f"{turn}.jpg", turn)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        jpeg = Image.open(BytesIO(draw_overlay(str(file), digest, overlay)))
        drawn.append(np.asarray(jpeg, int))
    assert {picture.shape for picture in drawn} == {drawn[0].shape}
    assert drawn[0].shape[1] == 2048 and drawn[0].shape[0] > 1400 * 2048 // 2600
    for picture in drawn[1:]:
        assert np.abs(picture - drawn[0]).mean() < 1.5
    scale = 2048 / 2600
    y, x = round((320 + 96) * scale), round((1600 + 128) * scale)
    hot = drawn[0][y - 8 : y + 8, x - 8 : x + 8].mean(axis=(0, 1))
    assert hot[0] > 180 and hot[1] > 50, "heat over the red place"
    far = drawn[0][200:300, 200:300].mean(axis=(0, 1))
    assert np.abs(far - 120).max() < 4, "none where there is no evidence"


def test_other_bytes_than_those_judged_are_not_drawn(tmp_path):
    Image.new("RGB", (300, 300)).save(tmp_path / "a.png")
    overlay = Overlay(np.zeros((7, 7), np.float32), HeatScale(0, 1), (0, 0), [], (0.5, 0.5), "")
    with pytest.raises(CannotShowError, match="changed"):
        draw_overlay(str(tmp_path / "a.png"), "0" * 64, overlay)
