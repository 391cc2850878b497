"""The committed picture of what the generator makes, and the tool that draws it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from inspector.synthesis import HARD_NEGATIVES
from samples import synthesis
from samples.synthesis import COLUMNS, PICTURE, TILE_PX, Tile, main, page

_CLOSE = 6.0
"""Mean difference in grey levels: JPEG costs about 3, another drawing of a wall about 20."""


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Tile]]:
    return dict(synthesis._rows())


def test_the_committed_picture_is_what_the_command_draws(rows, monkeypatch, tmp_path):
    monkeypatch.setattr(synthesis, "_rows", lambda: iter(rows.items()))
    drawn = np.asarray(page(), dtype=float)
    with Image.open(PICTURE) as committed:
        assert np.abs(np.asarray(committed, dtype=float) - drawn).mean() < _CLOSE
    main(["--out", str(tmp_path / "again.jpg")])
    assert (tmp_path / "again.jpg").stat().st_size < 400_000
    assert PICTURE.stat().st_size < 400_000


def test_every_row_is_full_and_every_kind_is_shown(rows):
    shown = {tile.caption for tiles in rows.values() for tile in tiles}
    assert set(HARD_NEGATIVES) <= shown
    for tiles in rows.values():
        assert [tile.pixels.shape for tile in tiles] == [(TILE_PX, TILE_PX, 3)] * COLUMNS


def test_wider_and_darker_to_the_right(rows):
    contrasts = [tile.pixels.mean() for tile in rows["Contrast, 2 px wide"]]
    assert contrasts == sorted(contrasts, reverse=True)
    # Width decides how long the pieces of the path are, so neighbours may differ by their course.
    widths = [tile.pixels.mean() for tile in rows["Width, contrast 0.75"]][::2]
    assert widths == sorted(widths, reverse=True)


def test_the_page_about_it_names_every_kind_and_shows_the_picture():
    text = PICTURE.with_suffix(".md").read_text(encoding="utf-8")
    assert f"]({PICTURE.name})" in text
    for kind in HARD_NEGATIVES:
        assert re.search(rf"^\| `{kind}` \|", text, re.MULTILINE), kind
