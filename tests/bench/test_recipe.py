"""The recipe, run whole on a few small images; and the model that it shipped."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.recipe import run as recipe
from bench.recipe.card import figures_table, read_metrics
from inspector.evaluation.page import METRICS
from inspector.model.bundle import CARD, DEFAULT_PATH, ModelBundle
from inspector.synthesis import Kind, make_scene

SOURCES = {"metu": "PN", "polyhaven": "N", "rissbilder": "PN"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = []
    for source, classes in SOURCES.items():
        for letter in classes:
            kind, name = (Kind.CRACK, "Positive") if letter == "P" else (Kind.CLEAN, "Negative")
            folder = root / "train" / source / name
            folder.mkdir(parents=True)
            for k in range(16):
                Image.fromarray(make_scene(rng, 64, 64, kind).pixels).save(folder / f"{k}.png")
                rows.append((f"train/{source}/{name}/{k}.png", f"{source}{letter}{k // 2}"))
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "group"), *rows])
    return root


def names(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*.png")}


def test_layout_separates_by_group_and_licence(data, tmp_path):
    recipe.lay_out(data, tmp_path / "w")
    train, validation, test = (names(tmp_path / "w" / p) for p in ("train", "validation", "test"))
    assert train | validation | test == names(data / "train")
    assert not (train & validation or train & test or validation & test)
    assert not any(n.startswith("rissbilder") for n in train)

    def groups(part: set[str]) -> set[str]:
        return {f"{n.rsplit('/', 1)[0]}{int(Path(n).stem) // 2}" for n in part}

    assert not groups(train) & groups(test) and not groups(validation) & groups(test)


def test_whole_recipe_makes_a_bundle_with_a_card(data, tmp_path, monkeypatch):
    for name, value in (
        ("EPOCHS", 1), ("EPOCH_IMAGES", 16), ("BATCH_SIZE", 8), ("SIZE", 64), ("TRAIN_SIZE", 48),
    ):  # fmt: skip
        monkeypatch.setattr(recipe, name, value)
    # Its gates need thousands of photos; tests/export has both halves of it.
    monkeypatch.setattr(recipe, "make_quick", lambda path, images: ModelBundle.load(path))
    out = tmp_path / "shipped"
    recipe.main(data, tmp_path / "work", init="random", out=out)
    bundle = ModelBundle.load(out)
    assert set(bundle.variants) == {"onnx-fp32", "dense-fp32"}
    card = (out / CARD).read_text()
    assert bundle.digest in card and "| rissbilder* |" in card and "## Before and after" in card
    tested = read_metrics(out / METRICS)
    assert tested.digest == bundle.digest
    assert ModelBundle.load(tmp_path / "work" / "first").digest == bundle.digest  # no photos here
    assert figures_table(tested, {"metu": 1, "polyhaven": 1}) in card


def test_the_card_tells_the_stored_figures():
    tested = read_metrics(DEFAULT_PATH / METRICS)
    card = (DEFAULT_PATH / CARD).read_text().splitlines()
    for row in figures_table(tested, dict.fromkeys(recipe.SHIPPABLE, 1)).splitlines():
        assert row in card
    assert tested.digest == ModelBundle.load(DEFAULT_PATH).digest


def test_shipped_bundle_is_whole_and_small():
    bundle = ModelBundle.load(DEFAULT_PATH)
    assert sum(file.stat().st_size for file in DEFAULT_PATH.iterdir()) < 60e6
    assert bundle.digest in (DEFAULT_PATH / CARD).read_text()
    assert bundle.variant("onnxruntime", "fp32").parity["verdict_flips"] == []
