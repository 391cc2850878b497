"""Tiles and photos, from what the user has or made for the purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench.inputs
from bench.inputs import TILE, make_inputs
from inspector.errors import SourceError


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def sizes(images):
    return {pixels_of(ref.path).shape[1::-1] for ref in images.refs}


def pixels_of(file):
    with Image.open(file) as opened:
        return np.asarray(opened.convert("RGB"), np.float32)


def test_without_photos_scenes_are_made_and_their_truth_is_known(small, tmp_path):
    tiles, photos = make_inputs(None, tmp_path, 6, 2)
    assert (tiles.name, photos.name) == ("tiles", "photos")
    assert (len(tiles.refs), len(photos.refs)) == (6, 2)
    assert sizes(tiles) == {(TILE, TILE)} and sizes(photos) == {(500, 400)}
    assert sorted(tiles.truth.values()) == [False] * 3 + [True] * 3
    assert "no photos" in tiles.origin and "no photos" in photos.origin
    assert tiles.facts().width == TILE


def test_large_photos_are_taken_as_they_are_and_cut_into_tiles(tmp_path):
    source = tmp_path / "bridge"
    source.mkdir()
    for k in range(3):
        noise(1300, 1000 + k, k).save(source / f"{k}.jpg")
    (source / "broken.jpg").write_bytes(b"no image")
    tiles, photos = make_inputs(source, tmp_path / "made", 10, 4)
    assert len(photos.refs) == 4, "broken files are part of a folder"
    assert 8 <= len(tiles.refs) <= 10 and sizes(tiles) == {(TILE, TILE)}
    assert tiles.truth == photos.truth == {}
    first = pixels_of(tiles.refs[0].path)
    of_photo = pixels_of(source / "0.jpg")[:TILE, :TILE]
    assert np.abs(first - of_photo).mean() < 12, "at full resolution, from the photo itself"


def test_tiles_are_taken_as_they_are_and_laid_out_as_photos(small, tmp_path):
    for first, name in enumerate(("Positive", "Negative")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for k in range(3):
            noise(200, 180, 3 * first + k).save(tmp_path / "data" / name / f"{k}.png")
    tiles, photos = make_inputs(tmp_path / "data", tmp_path / "made", 4, 1)
    assert len(tiles.refs) == 4 and sizes(tiles) == {(200, 180)}
    assert set(tiles.truth.values()) == {True, False}
    assert len(photos.refs) == 1 and "mosaics" in photos.origin
    assert str(tmp_path) not in tiles.origin + photos.origin


def test_a_folder_without_photos_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(SourceError, match="no photo that can be read"):
        make_inputs(tmp_path, tmp_path / "made", 4, 1)
    with pytest.raises(SourceError):
        make_inputs(tmp_path / "nowhere", tmp_path / "made", 4, 1)


def test_a_mosaic_is_laid_out_of_many_tiles(sample_tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.inputs, "WIDTH", 4000)
    monkeypatch.setattr(bench.inputs, "HEIGHT", 3000)
    _, photos = make_inputs(sample_tiles, tmp_path, 50, 1)
    pixels = pixels_of(photos.refs[0].path)
    assert pixels.shape == (3000, 4000, 3)
    tiles = pixels[:224, : 224 * 17].reshape(224, 17, 224, 3)
    assert len({tiles[:, k].mean().round(1) for k in range(17)}) > 3, "one tile over and over"


def test_generated_images_are_the_same_every_time_and_differ_from_each_other(small, tmp_path):
    made = [make_inputs(None, tmp_path / name, 4, 2)[1].refs for name in ("one", "two")]
    one, two = ([Path(ref.path).read_bytes() for ref in refs] for refs in made)
    assert one == two
    assert one[0] != one[1]
