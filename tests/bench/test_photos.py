"""Photos laid out of tiles."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import bench.photos
from bench.photos import make_photos
from inspector.errors import SourceError, UsageError


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(bench.photos, "WIDTH", 500)
    monkeypatch.setattr(bench.photos, "HEIGHT", 400)
    monkeypatch.setattr(bench.photos, "_SCENES", 4)


def test_a_photo_has_12_megapixels_of_real_tiles(sample_tiles, tmp_path):
    said = make_photos(tmp_path / "photos", 1, sample_tiles)
    (file,) = (tmp_path / "photos").iterdir()
    with Image.open(file) as photo:
        assert (photo.format, photo.size) == ("JPEG", (4000, 3000))
        pixels = np.asarray(photo)
    tiles = pixels[:224, : 224 * 17].reshape(224, 17, 224, 3)
    assert len({tiles[:, k].mean().round(1) for k in range(17)}) > 3, "one tile over and over"
    assert said.startswith("1 JPEGs of 4000 x 3000 px") and str(sample_tiles) in said


def test_photos_are_the_same_every_time_and_differ_from_each_other(small, tmp_path):
    for name in ("one", "two"):
        said = make_photos(tmp_path / name, 2, None)
    assert "no photos" in said
    one, two = ([f.read_bytes() for f in sorted((tmp_path / n).iterdir())] for n in ("one", "two"))
    assert one == two
    assert one[0] != one[1]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UsageError, match="--photos 0"):
        make_photos(tmp_path / "photos", 0, None)
    with pytest.raises(SourceError, match="no tile that can be decoded"):
        make_photos(tmp_path / "photos", 1, tmp_path)
