"""`python -m bench training` on tiny walls, and the step that each variation replaces."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from bench.studies.commands import app
from bench.studies.training import trainers
from bench.studies.training.blurpool import BlurPool, antialias
from bench.studies.training.measures import Development, development, figures
from bench.studies.training.run import LINES, TrainingBenchConfig
from bench.studies.training.variations import BASELINE, VARIATIONS
from bench.studies.training.views import VIEWS
from inspector.errors import DataError, UsageError
from inspector.labelled.folder import LabelledImage
from inspector.model.network import build_network
from inspector.synthesis import CrackStyle, Kind, make_scene
from inspector.training.config import TrainConfig
from inspector.training.data import TrainBatch, augmentation, haze, rescale, white_balance
from inspector.training.loop import Trainer

SIDE = 48


@pytest.fixture(scope="module")
def walls(tmp_path_factory):
    """Two walls to learn from and judge, and one that is only judged."""
    root = tmp_path_factory.mktemp("training")
    for part, source in (("train", "seen"), ("validation", "seen"), ("validation", "new")):
        for k in range(6):
            crack = CrackStyle(width_px=4, contrast=0.9) if k % 2 else None
            rng = np.random.default_rng(k)
            scene = make_scene(rng, SIDE, SIDE, Kind.CRACK if crack else Kind.CLEAN, crack=crack)
            file = root / part / source / ("Positive" if crack else "Negative") / f"{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene.pixels).save(file)
    return root


def run(walls, out, *options):
    tiny = "--init random --epochs 1 --epoch-images 4 -b 4 --size 32 --train-size 32".split()
    few = ["--per-class", "2", "--device", "cpu"]
    args = ["training", str(walls), "--out", str(out), *tiny, *few, *options]
    return CliRunner().invoke(app, args)


@pytest.fixture(scope="module")
def finished(walls, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    ended = run(walls, out, "--variations", f"{BASELINE},label-smoothing")
    assert ended.exit_code == 0, ended.output
    return out, json.loads((out / "results.json").read_text(encoding="utf-8"))


def test_every_variation_has_figures_and_a_difference(finished):
    out, results = finished
    base, other = results["cases"]
    assert (base["name"], other["name"]) == (BASELINE, "label-smoothing")
    assert base["against_base"] is None
    away = other["unseen"]["roc_auc"] - base["unseen"]["roc_auc"]
    assert other["against_base"]["roc_auc"] == pytest.approx(away)
    assert set(base["sources"]) == {"new", "seen"}
    # The source that was learned from is only a check, and counts among no unseen figures.
    assert base["unseen"]["cracks"] == base["sources"]["new"]["cracks"] == 2
    assert "| label-smoothing |" in (out / "report.md").read_text(encoding="utf-8")


def test_a_stopped_run_goes_on_and_other_settings_are_refused(finished, walls):
    out, _ = finished
    before = (out / LINES).read_text(encoding="utf-8")
    assert run(walls, out, "--variations", f"{BASELINE},no-ema").exit_code == 0
    after = (out / LINES).read_text(encoding="utf-8")
    assert after.startswith(before) and after.count("\n") == 3
    refused = run(walls, out, "--seed", "9")
    assert isinstance(refused.exception, DataError) and "other settings" in str(refused.exception)


def test_an_unknown_variation_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UsageError, match="no variation 'magic'"):
        TrainingBenchConfig(data=tmp_path, out=tmp_path, variations=("magic",))


def test_every_variation_changes_something(tmp_path):
    config = TrainingBenchConfig(data=tmp_path, out=tmp_path)
    base = VARIATIONS[0]
    assert base.name == BASELINE and len({v.name for v in VARIATIONS}) == len(VARIATIONS)
    for variation in VARIATIONS[1:]:
        same = config.training(variation) == config.training(base)
        assert not same or variation.trainer is not base.trainer, variation.name


# --- what a variation replaces


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return TrainConfig(
        data=tmp_path_factory.mktemp("x"), out=tmp_path_factory.mktemp("y"), init="random",
        epochs=2, batch_size=4, epoch_images=8, size=32, device="cpu", workers=0,
    )  # fmt: skip


@pytest.fixture
def batch():
    pixels = torch.randint(0, 256, (4, 32, 32, 3), generator=torch.Generator().manual_seed(1))
    return TrainBatch(pixels.to(torch.uint8), torch.tensor([0, 1, 0, 1]))


def trainer_of(kind, config):
    torch.manual_seed(0)
    images = [LabelledImage(str(k), bool(k % 2), "", str(k)) for k in range(8)]
    return kind(config, build_network("random"), images, images)


def statistics(trainer):
    return trainer.model.network.layer2[0].bn1.running_mean.clone()


def test_frozen_statistics_stay_and_others_move(config, batch):
    for kind, moves in ((trainers.FrozenStatistics, False), (Trainer, True)):
        trainer = trainer_of(kind, config)
        before, scale = statistics(trainer), trainer.model.network.bn1.weight.detach().clone()
        trainer.model.train()
        trainer._step(batch)
        assert (statistics(trainer) != before).any() == moves
        assert (trainer.model.network.bn1.weight != scale).any()


def test_every_layer_learns_at_its_own_rate(config):
    trainer = trainer_of(trainers.LayerWiseRates, config)
    network = trainer.model.network
    rate = {id(p): g["initial_lr"] for g in trainer.optimizer.param_groups for p in g["params"]}
    assert rate.keys() == {id(p) for p in network.parameters()}
    chain = [network.conv1, network.layer1[0].conv1, network.layer4[1].conv2, network.fc]
    rates = [rate[id(layer.weight)] for layer in chain]
    assert rates[-1] == config.peak_rate and rates == sorted(set(rates))


def test_the_tail_of_the_weights_is_averaged_equally(config):
    trainer = trainer_of(trainers.StochasticAverage, config)
    weight = trainer.model.network.fc.bias
    values = [7.0, 1.0, 2.0, 6.0]  # of four steps the last two count
    for value in values:
        weight.data.fill_(value)
        trainer.average.update_parameters(trainer.model)
    assert float(trainer.judged.network.fc.bias[0].detach()) == pytest.approx(np.mean(values[2:]))


@pytest.mark.parametrize("kind", [trainers.Mixup, trainers.CutMix])
def test_mixing_weighs_labels_by_what_is_seen(kind, config):
    trainer = trainer_of(kind, config)
    own, other = torch.zeros(2, 32, 32, 3), torch.full((2, 32, 32, 3), 200.0)
    for seed in range(8):
        mixed, share = trainer._mix(own, other, torch.Generator().manual_seed(seed))
        assert 0 <= share <= 1
        assert float(mixed.mean()) == pytest.approx(200 * (1 - share), abs=1e-3)


def test_mixed_and_smoothed_losses_can_be_learned_from(config, batch):
    for kind in (trainers.Mixup, trainers.CutMix, trainers.LabelSmoothing):
        loss, right = trainer_of(kind, config)._step(batch)
        assert np.isfinite(loss) and 0 <= right <= 4


def test_beta_draws_lie_at_the_ends():
    rng = torch.Generator().manual_seed(0)
    draws = np.array([trainers.beta(0.2, rng) for _ in range(400)])
    assert ((draws >= 0) & (draws <= 1)).all()
    # Variance of Beta(a, a) is 1 / (4 (2 a + 1)).
    assert draws.var() == pytest.approx(1 / 5.6, rel=0.15)


def test_antialiased_network_has_the_same_weights_and_shapes():
    network = build_network("random").eval()
    kept = [p.clone() for p in network.parameters()]
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(x)
        after = antialias(network)(x)
    assert before.shape == after.shape and not torch.allclose(before, after)
    assert all(torch.equal(a, b) for a, b in zip(kept, network.parameters(), strict=True))
    flat = BlurPool(2)(torch.full((1, 2, 8, 8), 3.0))
    assert flat.shape == (1, 2, 4, 4) and torch.allclose(flat, torch.tensor(3.0))


def test_augmentations_leave_out_what_they_say():
    def names(change):
        steps = [inner for s in change.transforms for inner in getattr(s, "transforms", [s])]
        return {getattr(step, "func", type(step) if isinstance(step, nn.Module) else step)
                for step in steps}  # fmt: skip

    whole = names(augmentation(32))
    assert {white_balance, haze, rescale} <= whole
    assert names(trainers.without_shifts(32)) == whole - {white_balance, haze}
    assert rescale not in names(trainers.without_scale(32))
    assert names(trainers.wide_scale(32)) == whole
    for change in (trainers.without_scale(32), trainers.photometric(32, strength=1.5)):
        torch.manual_seed(0)
        image = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
        for _ in range(8):
            changed = change(image)
            assert changed.shape == (3, 32, 32) and changed.dtype == torch.uint8


def test_weight_space_is_half_way(config, batch):
    trainer = trainer_of(trainers.WeightSpace, config)
    start = trainer.model.network.fc.bias.detach().clone()
    trainer._step(batch)
    learned = trainer.average.module.network.fc.bias
    assert (learned != start).all()
    assert torch.allclose(trainer.judged.network.fc.bias, (start + learned) / 2)


# --- what is judged


def test_views_show_the_same_image():
    pixels = torch.randint(0, 256, (2, 4, 6, 3), generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(torch.uint8)
    for view in VIEWS:
        for seen in view.versions(pixels):
            assert seen.shape == pixels.shape and seen.dtype == torch.uint8
    views = {view.name: view.versions(pixels) for view in VIEWS}
    assert len({seen.numpy().tobytes() for seen in views["flipped"]}) == 4
    assert all(torch.equal(s.sum((1, 2)), pixels.sum((1, 2))) for s in views["flipped"])
    (grey,) = views["grey"]
    assert (grey[..., 0] == grey[..., 2]).all()


def test_the_shipped_model_can_be_looked_through(finished, walls):
    out, _ = finished
    assert run(walls, out, "--variations", "shipped,mirrored").exit_code == 0
    cases = json.loads((out / "results.json").read_text(encoding="utf-8"))["cases"]
    found = {case["name"]: case for case in cases}
    assert found["shipped"]["against_base"] is None
    assert found["mirrored"]["against_base"].keys() == {"roc_auc", "partial_roc_auc", "missed"}


def labelled(source, is_crack, count):
    return [
        LabelledImage(f"{source}/{is_crack}/{k}", is_crack, source, f"{k}") for k in range(count)
    ]


def test_images_are_spread_evenly_and_learned_sources_are_few():
    images = [*labelled("new", True, 10), *labelled("new", False, 3), *labelled("old", False, 100)]
    held = development(images, frozenset({"old"}), 4)
    kept = SimpleNamespace(**{s: [i for i in held.images if i.source == s] for s in ("new", "old")})
    assert [i.group for i in kept.new if i.is_crack] == ["0", "2", "5", "7"]
    assert len(kept.new) == 4 + 3 and len(kept.old) == 1
    assert held.unseen == {"new"}


def test_unseen_walls_must_show_both_classes():
    with pytest.raises(DataError, match="new walls"):
        development([*labelled("new", False, 3), *labelled("old", True, 3)], frozenset({"old"}), 4)


def test_figures_by_hand():
    images = (*labelled("new", True, 4), *labelled("bare", False, 4), *labelled("old", True, 1))
    margin = np.array([9, 8, 1, -1, 0, -2, -3, -4, -99], dtype=np.float32)
    logits = np.stack([np.zeros(9, np.float32), margin], axis=1)
    found = figures(logits, Development(images, frozenset({"new", "bare"})))
    # 15 of 16 pairs are in order; above the highest crack-free image lie three of four cracks.
    assert found["unseen"]["roc_auc"] == pytest.approx(15 / 16)
    assert found["unseen"]["missed"] == pytest.approx(1 / 4)
    assert found["sources"]["new"]["roc_auc"] is None
    assert found["sources"]["bare"]["alarms_at_half"] == pytest.approx(1 / 4)
    assert json.dumps(found, allow_nan=False)


def test_a_head_alone_is_no_batch_norm():
    """The stages that rates are given by are all of ResNet18's."""
    stages = {name.split(".")[0] for name, _ in build_network("random").named_parameters()}
    assert stages - set(trainers._STAGES) == {"conv1", "bn1"}
    assert isinstance(build_network("random").fc, nn.Linear)
