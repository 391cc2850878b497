"""The full-length training on tiny material: labels, scenes, views, batches, exact resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.recipe.context import batches, things, trainer
from bench.recipe.context.labels import CLEAR, CRACK, IGNORED, UNCLEAR, window_labels
from bench.recipe.context.material import Material
from bench.recipe.context.mosaic import crack_pixels
from bench.recipe.context.scenes import KINDS, SIDE, draw_crack, draw_kind, make_with_truth
from bench.recipe.context.shards import Odds, Shards, shards_of
from bench.recipe.context.trainer import ContextTrainer, window_logits
from bench.recipe.context.views import scene_view, tile_view
from inspector.labelled.folder import LabelledImage, find_labelled
from inspector.model.network import DeployedModel, build_network
from inspector.model.preprocess import PreprocessSpec
from inspector.synthesis import CrackStyle, Kind, make_scene
from inspector.training import TrainConfig

CENTRE = CrackStyle(width_px=5, contrast=0.9, through=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two walls to learn from, one that only validates, a drone's crops and a texture."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)

    def save(pixels, *place: str) -> None:
        file = root.joinpath(*place)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)

    for part, source in (("train", "wall"), ("validation", "wall"), ("validation", "other")):
        for k in range(2):
            crack = make_scene(rng, 227, 227, Kind.CRACK, crack=CENTRE)
            save(crack.pixels, part, source, "Positive", f"{k}.png")
            clear = make_scene(rng, 227, 227, Kind.CLEAN)
            save(clear.pixels, part, source, "Negative", f"{k}.png")
    save(make_scene(rng, 227, 227, Kind.CLEAN).pixels, "train", "textures", "Negative", "0.png")
    for frame in (100, 170, 400):  # the second is held back
        scene = make_scene(rng, SIDE, SIDE, Kind.CRACK, crack=CENTRE)
        save(scene.pixels, "photos", "uavcrack", "images", f"slide{frame}.png")
        mask = (scene.mask * 255).astype(np.uint8)
        save(mask, "photos", "uavcrack", "masks", f"slide{frame}.png")
    for name in ("brushed_concrete", "asphalt_07"):  # the second is held back
        save(make_scene(rng, 300, 300, Kind.CLEAN).pixels,
             "photos", "no_crack", f"polyhaven_{name}.jpg")  # fmt: skip
    return root


@pytest.fixture(scope="module")
def images(data) -> list[LabelledImage]:
    return find_labelled(data / "train")


@pytest.fixture(scope="module")
def material(data, images) -> Material:
    return Material(images, data)


def truth(side: int = 320) -> np.ndarray:
    return np.zeros((side, side), np.uint8)


def test_bare_wall_is_clear_in_all_windows():
    assert (window_labels(truth()) == np.zeros((4, 4))).all()


def test_a_crack_makes_the_windows_cracked_that_hold_enough_of_it():
    map_HW = truth()
    map_HW[30, 20:200] = CRACK
    labels = window_labels(map_HW)
    assert labels[0, 0] == 1
    assert labels[1, 0] == IGNORED  # begins at 32, two pixels below the crack
    assert labels[2, 0] == 0  # begins at 64: out of reach


def test_little_of_a_crack_teaches_nothing():
    map_HW = truth()
    map_HW[100, 100:130] = CRACK
    assert (window_labels(map_HW) == IGNORED).all()


def test_doubt_keeps_a_window_from_being_clear_but_not_from_being_cracked():
    map_HW = truth()
    map_HW[150:160, 150:160] = UNCLEAR
    assert (window_labels(map_HW) == IGNORED).all()
    map_HW[120, 100:220] = CRACK
    assert (window_labels(map_HW) == 1).all()


def test_what_is_held_back_is_not_learned_from(material):
    assert len(material.drone) == 2
    assert list(material.textures) == ["brushed_concrete"]
    assert len(material.clear) == len(material.cracked) == 2
    assert len(material.crops) == 1


def test_every_kind_of_scene_is_made_again_from_its_seed(material):
    seen = set()
    for seed in range(24):
        kind = draw_kind(np.random.default_rng(seed))
        if kind not in seen:
            seen.add(kind)
            scene = make_with_truth(material, np.random.default_rng(seed))
            assert scene.shape == (SIDE, SIDE, 4) and scene.dtype == np.uint8
            assert set(np.unique(scene[:, :, 3])) <= {CLEAR, CRACK, UNCLEAR}
            assert np.array_equal(scene, make_with_truth(material, np.random.default_rng(seed)))
    assert len(seen) == len(KINDS)


@pytest.mark.parametrize(
    "thing", [things.writing, things.gauge, things.spall, things.plant, things.brink]
)
def test_things_stand_out_from_the_wall_and_leave_it_as_it_was(thing):
    wall = np.full((300, 420, 3), 150, np.uint8)
    shares = []
    for seed in range(5):
        pixels = thing(wall, np.random.default_rng(seed))
        assert pixels.shape == wall.shape and pixels.dtype == np.uint8
        assert np.array_equal(pixels, thing(wall, np.random.default_rng(seed)))
        shares.append(float((np.abs(pixels.astype(int) - 150).max(axis=2) > 9).mean()))
    assert (wall == 150).all()
    assert max(shares) > 0.01


def test_a_crack_that_nobody_sees_is_unclear():
    wall = np.full((SIDE, SIDE, 3), 150, np.uint8)
    for contrast, value in ((0.9, CRACK), (0.02, UNCLEAR)):
        marked = truth(SIDE)
        style = replace(CENTRE, contrast=contrast)
        draw_crack(wall, marked, np.random.default_rng(1), style)
        assert set(np.unique(marked)) == {CLEAR, value}


def test_a_tile_of_which_only_the_label_is_known_shows_where_its_crack_is():
    tile = np.random.default_rng(0).normal(150, 2, (227, 227, 3)).astype(np.uint8)
    assert crack_pixels(tile) is None
    tile[110:114, 20:200] = 60
    found = crack_pixels(tile)
    assert found is not None
    assert found[111, 30:190].all()
    assert not found[:90].any()


def test_views_have_the_size_asked_for_and_truth_follows(material):
    scene = np.zeros((SIDE, SIDE, 4), np.uint8)
    scene[200:208, :, :3], scene[200:208, :, 3] = 255, CRACK
    for seed in range(8):
        pixels, marked = scene_view(scene, np.random.default_rng(seed), 320)
        assert pixels.shape == (320, 320, 3)
        inside = pixels[:, :, 0] > 200
        assert (marked[inside] == CRACK).all()
        tile = tile_view(pixels[:227, :227], np.random.default_rng(seed), 224)
        assert tile.shape == (224, 224, 3)


def test_scenes_that_went_wrong_come_more_often_and_old_ones_are_forgotten(tmp_path):
    odds = Odds(Shards(tmp_path, 6, seed=1))
    before = odds.of_epoch(0)
    assert len(before) == 6 * len(shards_of(0))
    wall = int(np.flatnonzero(~odds.shards.is_drone(0))[0])
    odds.note(np.array([wall, -1]), np.array([3.0, 3.0], np.float32))
    after = odds.of_epoch(0)
    assert after[wall] > before[wall]
    assert 0 not in (odds.of_epoch(9), odds.losses)[1]


def test_windows_of_a_lone_tile_are_the_tile_itself():
    torch.manual_seed(0)
    network = build_network("random")
    model = DeployedModel(network, PreprocessSpec(size=224), temperature=1.0, positive_index=1)
    pixels = torch.randint(0, 255, (2, 224, 224, 3), dtype=torch.uint8)
    with torch.no_grad():
        model.eval()
        features = model.features(model.normalise(pixels)).mean(dim=(2, 3))
        expected = network.fc(features)
        assert torch.allclose(window_logits(model, pixels)[:, :, 0, 0], expected, atol=1e-4)


def test_a_stopped_training_goes_on_to_the_same_weights(data, images, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "CONTEXTS", ((256, 1),))
    monkeypatch.setattr(trainer, "SCENES_PER_STEP", 2)
    validation = find_labelled(data / "validation")

    def begun(name: str) -> ContextTrainer:
        torch.manual_seed(3)
        config = TrainConfig(
            data=data / "train", out=tmp_path / name, init="random", epochs=2, batch_size=2,
            epoch_images=4, seed=4, workers=0, device="cpu",
        )  # fmt: skip
        return ContextTrainer(data, config, build_network("random"), images, validation)

    unbroken = begun("unbroken")
    results = [unbroken.run_epoch(0)]
    state = tmp_path / "state.pt"
    torch.save(unbroken.state("digest"), state)
    results.append(unbroken.run_epoch(1))
    resumed = begun("resumed")
    resumed.restore(torch.load(state, weights_only=True))
    again = resumed.run_epoch(1)
    assert again.train_loss == results[1].train_loss
    assert again.validation_roc_auc == results[1].validation_roc_auc
    for mine, theirs in ((unbroken.model, resumed.model), (unbroken.judged, resumed.judged)):
        own, other = mine.state_dict(), theirs.state_dict()
        assert all(torch.equal(own[name], other[name]) for name in own)
    assert not list((tmp_path / "unbroken").rglob("scenes-*"))
    rates = [unbroken._rate_at(step) for step in range(4)]
    assert rates[0] < rates[1] == rates[2] > rates[3]


def test_frozen_parts_keep_their_weights_and_statistics(data, images, tmp_path):
    config = TrainConfig(data=data / "train", out=tmp_path, init="random", device="cpu", workers=0)
    made = ContextTrainer(data, config, build_network("random"), images, images)
    rates = {group["initial_lr"] for group in made.optimizer.param_groups}
    assert rates == {config.peak_rate * share for share in (1.0, 0.5, 0.25)}
    frozen = [n for n, p in made.model.network.named_parameters() if not p.requires_grad]
    assert {name.split(".")[0] for name in frozen} == set(trainer.FROZEN)


def test_a_clear_label_that_the_network_does_not_believe_is_left_out(images, monkeypatch, data,
                                                                     tmp_path):  # fmt: skip
    network = build_network("random")
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.copy_(torch.tensor([0.0, 2.0]))  # calls everything cracked
    config = TrainConfig(data=data / "train", out=tmp_path, init="random", device="cpu", workers=0)
    monkeypatch.setattr(trainer, "MOST_DOUBTED", 0.4)  # one of the three clear ones
    made = ContextTrainer(data, config, network, images, images)
    assert len(made.images) == len(images) - 1
    assert sum(image.is_crack for image in made.images) == sum(image.is_crack for image in images)
    monkeypatch.setattr(trainer, "DOUBTED", 0.95)
    made = ContextTrainer(data, config, network, images, images)
    assert made.images == images
