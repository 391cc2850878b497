"""A training looks at its own split first: warns, writes, refuses when asked to."""

from __future__ import annotations

import json
import shutil

import pytest

from inspector.errors import DataError, UsageError
from inspector.labelled.folder import find_labelled
from inspector.labelled.leaks import FINGERPRINTS, load
from inspector.training import TrainConfig
from inspector.training.leaks import FOUND, check_split


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


def test_leaks_are_told_written_and_kept(copied, tmp_path, capsys):
    (tmp_path / "training").mkdir()
    training, validation = copied
    notes = tmp_path / "training"
    found = check_split(config(tmp_path), training, validation, notes, quiet=True)
    assert found is not None and found.counts["same_pixels"] == 2
    said = capsys.readouterr()
    assert "WARNING: 2 of 26 validation images" in said.err and not said.out
    assert "x.jpg" in said.err
    written = json.loads((tmp_path / "training" / FOUND).read_text())
    assert written["counts"]["same_pixels"] == 2 and len(written["leaks"]) == 2
    assert len(load(tmp_path / FINGERPRINTS)) == len(copied[0])


def test_strict_splits_refuse_with_counts_and_ways_out(copied, tmp_path, capsys):
    (tmp_path / "training").mkdir()
    training, validation = copied
    strict = config(tmp_path, strict_splits=True)
    with pytest.raises(DataError, match="2 same_pixels") as caught:
        check_split(strict, training, validation, tmp_path / "training", quiet=True)
    for way in ("--groups", "--validation", "--strict-splits", FOUND):
        assert way in str(caught.value)
    assert (tmp_path / "training" / FOUND).exists() and not (tmp_path / FINGERPRINTS).exists()


def test_a_clean_split_passes_strictly(copied, tmp_path, capsys):
    north, _ = copied
    (tmp_path / "training").mkdir()
    strict = config(tmp_path, strict_splits=True)
    found = check_split(strict, north[:12], north[12:], tmp_path / "training", quiet=True)
    assert found is not None and not found.leaks
    assert not capsys.readouterr().err


def test_no_audit_reads_and_writes_nothing(tmp_path):
    nothing = config(tmp_path, leak_audit=False)
    assert check_split(nothing, [], [], tmp_path / "training", quiet=True) is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="leak audit"):
        config(tmp_path, leak_audit=False, strict_splits=True)
