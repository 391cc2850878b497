"""A training looks at its own split first: warns, writes, refuses when asked to."""

from __future__ import annotations

import json
import shutil

import pytest

from inspector.errors import DataError, UsageError
from inspector.labelled.fingerprints import FINGERPRINTS, load
from inspector.labelled.folder import find_labelled
from inspector.training import TrainConfig
from inspector.training.images import FOUND, audit_split


@pytest.fixture(scope="module")
def copied(walls, tmp_path_factory):
    """Training and validation images, with two validation images copied from training."""
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(walls / "south", other / "south")
    shutil.copy(walls / "north" / "Positive" / "03.jpg", other / "south" / "Positive" / "x.jpg")
    shutil.copy(walls / "north" / "Negative" / "04.jpg", other / "south" / "Negative" / "y.jpg")
    north = [image for image in find_labelled(walls) if image.source == "north"]
    return north, find_labelled(other)


def config(out, **changes) -> TrainConfig:
    return TrainConfig(data=out, out=out, workers=0, **changes)


def test_audit_split_writes_leaks_and_keeps_fingerprints(copied, tmp_path):
    (tmp_path / "training").mkdir()
    training, validation = copied
    notes = tmp_path / "training"
    found = audit_split(config(tmp_path), training, validation, notes)
    assert found is not None and found.counts["same_pixels"] == 2
    assert "WARNING: 2 of 26 validation images" in found.lines()[0]
    assert any("x.jpg" in line for line in found.lines())
    written = json.loads((tmp_path / "training" / FOUND).read_text())
    assert written["counts"]["same_pixels"] == 2 and len(written["leaks"]) == 2
    assert len(load(tmp_path / FINGERPRINTS)) == len(copied[0])


def test_audit_split_refuses_leaks_under_strict_splits(copied, tmp_path):
    (tmp_path / "training").mkdir()
    training, validation = copied
    strict = config(tmp_path, strict_splits=True)
    with pytest.raises(DataError, match="2 same_pixels") as caught:
        audit_split(strict, training, validation, tmp_path / "training")
    for way in ("--groups", "--validation", "--strict-splits", FOUND):
        assert way in str(caught.value)
    assert (tmp_path / "training" / FOUND).exists() and not (tmp_path / FINGERPRINTS).exists()


def test_audit_split_accepts_a_clean_split_under_strict_splits(copied, tmp_path):
    north, _ = copied
    (tmp_path / "training").mkdir()
    strict = config(tmp_path, strict_splits=True)
    found = audit_split(strict, north[:12], north[12:], tmp_path / "training")
    assert found is not None and not found.leaks


def test_audit_split_touches_nothing_when_switched_off(tmp_path):
    nothing = config(tmp_path, leak_audit=False)
    assert audit_split(nothing, [], [], tmp_path / "training") is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="leak audit"):
        config(tmp_path, leak_audit=False, strict_splits=True)
