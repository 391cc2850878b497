from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.recipe.photos import told
from bench.studies.photos import hard
from bench.studies.photos.fit import (
    PHOTO_WEIGHTS,
    WEIGHTS,
    fit_dense,
    fit_view,
    is_inside,
    labelled_windows,
)
from bench.studies.photos.measure import FIRST, Measured, load, measure, save
from bench.studies.photos.report import (
    families_table,
    figures,
    markdown,
    recall_table,
    rules_table,
)
from bench.studies.photos.run import RESULTS, PhotosConfig
from bench.studies.photos.scenes import CURVE, Made
from bench.studies.photos.sources import CHOOSE, FIT, TEST, Drone, clear_part, crack_gain
from inspector.errors import UsageError
from inspector.model.bundle import CARD, DEFAULT_PATH, ModelBundle
from inspector.model.bundle import WEIGHTS as WEIGHTS_FILE
from inspector.model.windows import WindowMap
from inspector.synthesis import Kind, make_scene

DOCS = Path(bench.__file__).parents[1] / "docs" / "explanation"
ROWS, COLUMNS = 14, 16
SIDES = (ROWS * 32, COLUMNS * 32)


def measured(number: int, part: str, *, is_crack: bool, family: str = "boards") -> Measured:
    """A photo whose crack lies in row 6, with more evidence there than elsewhere."""
    rng = np.random.default_rng(number)
    cells_HW = rng.normal(-3, 1.5, (ROWS, COLUMNS)).astype(np.float32)
    mask_HW = np.zeros(SIDES, np.bool_)
    if is_crack:
        cells_HW[6, 4:12] = rng.normal(14, 5, 8)
        mask_HW[6 * 32 + 5 : 6 * 32 + 8, 4 * 32 : 12 * 32] = True
    view = np.lib.stride_tricks.sliding_window_view(cells_HW, (7, 7))
    odds_HW = view.mean(axis=(2, 3)).astype(np.float32)
    raw = WindowMap(odds_HW, np.full_like(odds_HW, 1.5), cells_HW, 224, 32, 0, 0)
    facts = {"width": 1.2, "contrast": 0.5, "surface": "metu"} if is_crack else {"surface": "metu"}
    photo = Measured(f"{number}", family, part, f"{number}", is_crack, facts, mask_HW, raw)
    for found in photo.candidates(FIRST):
        photo.tiles[found.tile_x, found.tile_y] = 2.0 if is_crack else -2.0
    return photo


def photos(count: int = 30) -> list[Measured]:
    return [
        measured(3 * k + place, part, is_crack=k % 2 == 0)
        for k in range(count)
        for place, part in enumerate((FIT, CHOOSE, TEST))
    ]


@pytest.mark.parametrize("draw", [hard.boards, hard.slabs, hard.stones, hard.cable])
def test_lines_are_drawn_on_a_copy(draw: Callable[..., Any]) -> None:
    for seed in range(3):
        pixels = np.full((960, 1000, 3), 140, np.uint8)
        drawn = draw(pixels, np.random.default_rng(seed))
        again = draw(pixels, np.random.default_rng(seed))
        assert drawn.dtype == np.uint8
        assert drawn.shape == pixels.shape
        assert np.array_equal(drawn, again)
        assert (pixels == 140).all()
        assert (drawn != 140).any()


def test_the_clear_part_is_as_large_as_can_be_and_shows_no_crack() -> None:
    mask = np.zeros((448, 448), np.bool_)
    mask[:, 100:103] = True
    found = clear_part(mask, 24, 200)
    assert found is not None
    rows, columns = found
    assert not mask[rows, columns].any()
    assert rows.stop - rows.start == 448
    assert columns.start >= 127
    assert columns.stop == 448
    assert clear_part(np.ones((448, 448), np.bool_), 24, 200) is None


def test_a_taken_crack_darkens_where_it_was_and_nowhere_else() -> None:
    pixels = np.full((64, 64, 3), 150, np.uint8)
    mask = np.zeros((64, 64), np.bool_)
    mask[30:33, 10:50] = True
    pixels[mask] = 60
    gain = crack_gain(Drone("slide1", FIT, "slide0", pixels, mask))
    assert gain[31, 30] < 0.55
    assert np.abs(gain[:20] - 1).max() < 0.05


def test_answers_are_kept_as_they_are(tmp_path: Path) -> None:
    photo = measured(4, FIT, is_crack=True)
    save(photo, tmp_path / "4.npz")
    found = load(tmp_path / "4.npz")
    assert np.array_equal(found.mask_HW, photo.mask_HW)
    assert np.array_equal(np.asarray(found.raw.cells_HW), np.asarray(photo.raw.cells_HW))
    assert np.allclose(found.raw.log_odds_HW, photo.raw.log_odds_HW, atol=1e-5)
    assert found.tiles == photo.tiles
    assert found.facts == photo.facts


def test_windows_are_labelled_by_the_crack_pixels_in_them() -> None:
    odds_N, is_crack_N = labelled_windows([measured(1, FIT, is_crack=True)])
    assert 0 < is_crack_N.sum() < len(odds_N)
    assert odds_N[is_crack_N].mean() > odds_N[~is_crack_N].mean()


def test_a_crack_counts_as_found_within_a_margin() -> None:
    photo = measured(2, FIT, is_crack=True)
    below = 6 * 32 + 8
    assert is_inside(photo, (200, below + 31, 260, below + 60), 32)
    assert not is_inside(photo, (200, below + 33, 260, below + 60), 32)


def test_a_rule_is_fitted_and_keeps_its_signs() -> None:
    everything = photos()
    dense = fit_dense(everything, replace(fit_view(everything), temperature=1.1, shift=0.5))
    weights = dense.photo["candidate"]
    assert set(weights) == {"bias", *WEIGHTS}
    for name, sign in WEIGHTS.items():
        assert weights[name] * sign >= 0
    assert set(dense.photo["photo"]) == {"bias", *PHOTO_WEIGHTS}
    assert dense.thresholds.clear_below <= dense.thresholds.crack_from
    assert "30 composed" in dense.thresholds.chosen

    tested = [photo for photo in everything if photo.part == TEST]
    tested += [measured(1000 + k, TEST, is_crack=True, family=CURVE) for k in range(4)]
    found = figures(tested, dense)
    boards = found["families"]["boards"]
    assert boards["cracked"] == boards["clear"] == 15
    assert boards["roc_auc"] > 0.95
    assert boards["pixels_touched"] > 0.9
    assert boards["regions_off"] < 0.2
    assert {rule["rule"] for rule in found["rules"]} >= {"candidates", "maximum", "mean"}
    (cell,) = found["recall"]
    assert (cell["width"], cell["contrast"], cell["photos"]) == (1.2, 0.5, 4)
    assert "| metu | 1.2 | " in markdown(found)
    assert "this model's rule" in markdown(found)


def test_the_page_and_the_card_tell_the_shipped_figures() -> None:
    found = json.loads((DEFAULT_PATH / RESULTS).read_text(encoding="utf-8"))
    page = (DOCS / "photos.md").read_text(encoding="utf-8")
    for table in (families_table, rules_table, recall_table):
        assert "\n".join(table(found)) in page
    card = (DEFAULT_PATH / CARD).read_text(encoding="utf-8")
    assert "\n".join(families_table(found)) in card
    assert found["settings"]["model"] == ModelBundle.load(DEFAULT_PATH).digest


def test_the_card_tells_of_photos_once() -> None:
    bundle = ModelBundle.load(DEFAULT_PATH)
    found = json.loads((DEFAULT_PATH / RESULTS).read_text(encoding="utf-8"))
    card = (DEFAULT_PATH / CARD).read_text(encoding="utf-8")
    assert told(card, bundle, bundle, found) == card


def test_photos_are_measured_in_the_precision_of_a_scan(tmp_path: Path) -> None:
    pixels = make_scene(np.random.default_rng(4), 384, 352, Kind.CRACK).pixels
    made = Made("one", "walls", TEST, "", pixels, np.zeros(pixels.shape[:2], np.bool_), True)
    bundle = ModelBundle.load(DEFAULT_PATH)
    found = {}
    for precision in ("fp32", "int8", "narrow"):
        scenes = [("one", lambda: made)]
        (photo,) = measure(scenes, bundle, tmp_path, bundle.dense, 1, precision)
        found[precision] = photo.raw.log_odds_HW.max()
    assert 0 < abs(found["int8"] - found["fp32"]) < 1
    key = bundle.files[WEIGHTS_FILE][:12]
    kept = {folder.name.removeprefix(key) for folder in tmp_path.iterdir()}
    assert kept == {"", "-int8", "-narrow"}
    with pytest.raises(UsageError, match="fitted in fp32"):
        PhotosConfig(data=tmp_path, images=tmp_path, out=tmp_path, fit=tmp_path, precision="int8")
