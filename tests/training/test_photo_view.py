"""What a trained model takes over for photos at their own scale, and from which one."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import export
from inspector.labelled.folder import find_labelled
from inspector.model.bundle import DEFAULT_PATH, DenseView, ModelBundle, Thresholds
from inspector.model.network import load_deployed
from inspector.training import TrainConfig, train
from inspector.training.loop import Trainer
from inspector.training.photo_view import CHOSEN, bundle_with_view, take_over_view

VIEW = DenseView(
    temperature=0.5, shift=2.0, offset_x=-8.0, photo={"grow": 1.0, "seed": 2.0},
    thresholds=Thresholds(clear_below=0.1, crack_from=0.7, out_of_distribution=3.0, chosen="so"),
)  # fmt: skip
TILES = Thresholds(out_of_distribution=2.5)


@pytest.fixture(scope="module")
def began(tiny_bundle_dir, tmp_path_factory):
    path = Path(shutil.copytree(tiny_bundle_dir, tmp_path_factory.mktemp("began") / "bundle"))
    bundle = ModelBundle.load(path)
    replace(bundle, dense=VIEW, thresholds=replace(TILES, out_of_distribution=2.0)).save()
    return ModelBundle.load(path)


def config(walls, out, **changes):
    values = {"data": walls, "out": out, "size": 64, "batch_size": 8, "workers": 0, "epochs": 1}
    return TrainConfig(**(values | {"device": "cpu"} | changes))


@pytest.fixture
def trainer(began, walls, tmp_path):
    images = find_labelled(walls)[::5]
    network = load_deployed(began).network
    return Trainer(config(walls, tmp_path), network, images, images)


def test_an_unchanged_model_has_an_unchanged_view(began, trainer):
    view = take_over_view(began, load_deployed(began), TILES, trainer)
    assert view is not None
    assert view.temperature == 0.5 and view.shift == pytest.approx(2.0, abs=1e-3)
    assert (view.photo, view.offset_x) == (VIEW.photo, VIEW.offset_x)
    assert view.thresholds == Thresholds(
        clear_below=0.1, crack_from=0.7, out_of_distribution=3.5, chosen=CHOSEN
    )


def test_log_odds_are_brought_to_the_same_scale(began, trainer):
    model = copy.deepcopy(load_deployed(began))
    model.temperature *= 4
    layer = model.network.fc
    with torch.no_grad():
        layer.weight *= 4
        layer.bias *= 4
    view = take_over_view(began, model, TILES, trainer)
    assert view is not None
    assert view.temperature == 2.0 and view.shift == pytest.approx(2.0, abs=1e-3)
    with torch.no_grad():  # of all log odds, which a window divides by less than a tile
        layer.bias[began.positive_index] += 1.5
    moved = take_over_view(began, model, TILES, trainer)
    added = 1.5 * (1 / view.temperature - 1 / model.temperature)
    assert moved is not None and moved.shift == pytest.approx(view.shift - added, abs=1e-3)


def test_models_for_other_tiles_take_nothing_over(began, trainer):
    model = load_deployed(began)
    assert take_over_view(replace(began, dense=None), model, TILES, trainer) is None
    other = replace(began, preprocess=replace(began.preprocess, size=96))
    assert take_over_view(other, model, TILES, trainer) is None


def test_the_view_comes_from_the_bundle_that_comes_along_unless_the_initial_one_has_one(
    began, tiny_bundle_dir
):
    assert bundle_with_view(str(began.path)).path == began.path
    for init in ("imagenet", "random", "default", str(tiny_bundle_dir)):
        assert bundle_with_view(init).path == DEFAULT_PATH
    assert ModelBundle.load(tiny_bundle_dir).dense is None


def test_a_training_takes_the_view_over(began, walls, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "export_bundle", lambda c, *_: ModelBundle.load(c.bundle))
    made = train(config(walls, tmp_path / "out", init=str(began.path))).bundle
    assert made.dense is not None and made.dense.thresholds.chosen == CHOSEN
    assert made.dense.temperature == pytest.approx(0.5 * made.temperature / began.temperature)
