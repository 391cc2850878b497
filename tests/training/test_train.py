"""A whole training on small real images: what it learns, writes, repeats and refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import export
from bench.recipe.card import read_metrics
from inspector.calibration.logits import LOWEST_TEMPERATURE
from inspector.errors import BackendError, BundleError, DataError, TrainingError, UsageError
from inspector.evaluation.page import METRICS, PAGE, PREDICTIONS
from inspector.labelled.folder import LabelledImage
from inspector.model.bundle import BUNDLE_JSON, WEIGHTS, ModelBundle
from inspector.model.network import build_network, load_deployed, read_weights
from inspector.training import TrainConfig, train
from inspector.training.data import TrainBatch
from inspector.training.loop import Trainer
from inspector.training.notes import telling_what_is_left


def config(walls, out, **changes) -> TrainConfig:
    values = {
        "data": walls, "out": out, "init": "random", "epochs": 2, "batch_size": 8, "size": 64,
        "train_size": 48, "synthetic": 0.5, "seed": 3, "device": "cpu", "workers": 0,
    }  # fmt: skip
    return TrainConfig(**(values | changes))


@pytest.fixture(scope="module", autouse=True)
def without_export():
    """End trainings here before the export, which takes longer than they do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export_bundle", lambda config, *_: ModelBundle.load(config.bundle))
        yield


@pytest.fixture(scope="module")
def trained(walls, tmp_path_factory):
    return train(config(walls, tmp_path_factory.mktemp("trained") / "bundle"))


def history_of(result) -> list[dict[str, object]]:
    rows = map(asdict, result.trained.history)
    return [{k: v for k, v in r.items() if k not in ("images_per_second", "seconds")} for r in rows]


def test_trained_bundle_loads_with_calibration_and_provenance(trained):
    bundle = ModelBundle.load(trained.bundle.path)
    assert bundle.labels == ("clear", "crack")
    assert bundle.preprocess.size == 64
    assert bundle.temperature >= 0.999 * LOWEST_TEMPERATURE
    assert "validation images" in bundle.thresholds.chosen
    seen = bundle.training["validation"]
    assert seen["images"] == sum(seen["confusion_at_0.5"].values())
    assert bundle.training["broken_images"] == 1
    assert bundle.training["versions"]["torch"]


def test_trained_figures_are_those_of_the_stored_weights(trained, walls):
    """What is measured is what is shipped: half-precision kernels, the stored temperature."""
    model = load_deployed(trained.bundle)
    weights = read_weights(trained.bundle.path / WEIGHTS)
    assert weights["layer4.1.conv2.weight"].dtype == torch.float16
    assert weights["bn1.running_var"].dtype == torch.float32
    kernel = model.network.get_parameter("layer4.1.conv2.weight")
    assert torch.equal(kernel, kernel.half().float())


def test_train_keeps_history_log_and_misclassified_images(trained):
    assert [row["epoch"] for row in history_of(trained)] == [1, 2]
    log = (trained.notes / "log.txt").read_text()
    assert log.count("ROC AUC") == 2 and "validating on" in log and "Conv2d(3, 64" in log
    for row in trained.missed:
        assert (row["p_crack"] >= 0.5) != (row["truth"] == "crack")
        assert ("Positive" in row["path"]) == (row["truth"] == "crack")


def test_train_report_shows_the_validation_set_and_the_run(trained):
    figures = read_metrics(trained.notes / METRICS)
    seen = trained.bundle.training["validation"]
    assert figures.digest == trained.bundle.digest
    assert figures.overall.images == seen["images"]
    assert figures.overall.confusion == seen["confusion_at_0.5"]
    assert figures.overall.value("roc_auc") == pytest.approx(seen["roc_auc"])
    page = (trained.notes / PAGE).read_text()
    assert "Learning rate" in page and "validation loss" in page and "Leaks" in page
    table = pq.read_table(trained.notes / PREDICTIONS).to_pylist()
    wrong = {r["path"] for r in table if (r["p_crack"] >= 0.5) != (r["truth"] == "crack")}
    assert wrong == {row["path"] for row in trained.missed}


def test_train_with_the_same_seed_gives_the_same_model_with_or_without_workers(
    trained, walls, tmp_path
):
    again = train(config(walls, tmp_path / "again", workers=1))
    assert history_of(again) == history_of(trained)
    assert again.bundle.digest == trained.bundle.digest


def test_resumed_training_ends_like_an_uninterrupted_one(trained, walls, tmp_path, monkeypatch):
    real_epoch = Trainer.run_epoch

    def killed_in_second_epoch(self, epoch, progress):
        if epoch == 1:
            raise KeyboardInterrupt
        return real_epoch(self, epoch, progress)

    out = tmp_path / "resumed"
    monkeypatch.setattr(Trainer, "run_epoch", killed_in_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train(config(walls, out))
    monkeypatch.undo()
    assert (out / "training" / "checkpoint.pt").exists()
    with pytest.raises(TrainingError, match="not finished; go on with --resume"):
        train(config(walls, out))
    with pytest.raises(TrainingError, match="learning_rate"):
        train(config(walls, out, learning_rate=0.5, resume=True))
    # From another place, by another spelling of the folder.
    monkeypatch.chdir(walls.parent)
    resumed = train(config(Path(walls.name), out, resume=True))
    assert history_of(resumed) == history_of(trained)
    assert resumed.bundle.digest == trained.bundle.digest


def test_finished_training_keeps_no_checkpoint_and_cannot_be_resumed(trained, walls):
    assert not list(trained.bundle.path.rglob("*checkpoint*"))
    with pytest.raises(TrainingError, match=r"nothing to resume .it is finished"):
        train(config(walls, trained.bundle.path, resume=True))


def test_resume_without_a_checkpoint_is_refused(walls, tmp_path):
    with pytest.raises(TrainingError, match="nothing to resume"):
        train(config(walls, tmp_path / "new", resume=True))


def test_train_does_not_overwrite_a_bundle(trained, walls):
    with pytest.raises(BundleError, match="already holds a bundle"):
        train(config(walls, trained.bundle.path))


def test_frozen_backbone_is_unchanged(walls, tmp_path):
    start = build_network("random")
    torch.save(start.state_dict(), tmp_path / "start.pth")
    result = train(
        config(
            walls, tmp_path / "probe", init=str(tmp_path / "start.pth"), freeze_backbone=True,
            epochs=1,
        ),
    )  # fmt: skip
    learned = read_weights(result.bundle.path / WEIGHTS)
    for name, value in start.state_dict().items():
        stored = value.half() if value.dim() > 1 else value
        assert torch.equal(learned[name], stored) == (not name.startswith("fc.")), name


def test_loss_that_is_not_finite_stops_before_the_step(walls, tmp_path):
    from inspector.labelled.folder import find_labelled
    from inspector.labelled.split import split

    images, validation = split(find_labelled(walls), share=0.2, seed=0)
    network = build_network("random")
    with torch.no_grad():
        network.fc.weight[0, 0] = float("nan")
    trainer = Trainer(config(walls, tmp_path), network, images, validation)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    pixels = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    )
    batch = TrainBatch(pixels, torch.tensor([0, 1, 0, 1]))
    with pytest.raises(TrainingError, match="loss became nan"):
        trainer._step(batch)
    for name, value in trainer.model.named_parameters():
        assert torch.equal(value, before[name]) or torch.isnan(before[name]).any()


def test_network_learns_to_tell_wide_cracks(walls, tmp_path):
    """Not a lucky pipeline: labels swapped somewhere between disk and loss would show here."""
    result = train(
        config(
            walls, tmp_path / "learned", epochs=6, train_size=None, synthetic=0.0,
            learning_rate=2e-3, ema_decay=0.0,
        ),
    )  # fmt: skip
    assert result.bundle.training["validation"]["roc_auc"] > 0.8


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"warmup": 1.0},
        {"validation_share": 0.7}, {"synthetic": 1.5}, {"ema_decay": 1.0}, {"patience": 0},
        {"workers": -1}, {"train_size": 128}, {"epoch_images": 2}, {"synthetic": 0.9},
        {"data": None, "labels": ("out",), "groups": "groups.csv"},
        {"data": None, "labels": ("out",), "positive": "bad"},
    ],
)  # fmt: skip
def test_config_refuses_impossible_options(walls, tmp_path, changes):
    with pytest.raises(UsageError):
        config(walls, tmp_path, **changes)


def test_train_refuses_a_missing_gpu(walls, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BackendError, match="torch sees 0 CUDA GPUs"):
        train(config(walls, tmp_path / "gpu", device="cuda"))


@pytest.mark.parametrize("device", ["cpu:0", "mps", "gpu", "cuda:all"])
def test_train_refuses_a_device_that_export_and_report_would_not_take(walls, tmp_path, device):
    with pytest.raises(UsageError, match="cuda"):
        train(config(walls, tmp_path / "out", device=device))


def test_training_at_a_smaller_size_does_not_stop_before_its_last_epoch(walls, tmp_path):
    for train_size, stops in ((48, False), (None, True)):
        options = config(walls, tmp_path, train_size=train_size, epochs=9, patience=2)
        waiting = SimpleNamespace(config=options, history=[None] * 3, best_epoch=1)
        assert Trainer.should_stop(cast(Any, waiting)) is stops


def test_a_rehearsal_learns_nothing(walls, tmp_path):
    images = [LabelledImage(path="", is_crack=True, source="", group="")] * 4
    trainer = Trainer(config(walls, tmp_path), build_network("random"), images, images)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.rehearse()
    assert all(torch.equal(t, before[name]) for name, t in trainer.model.state_dict().items())
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_a_training_begun_without_loss_scaling_goes_on_with_it(walls, tmp_path):
    images = [LabelledImage(path=str(f), is_crack=True, source="", group="")
              for f in sorted(walls.rglob("Positive/*.jpg"))[:4]]  # fmt: skip
    trainer = Trainer(config(walls, tmp_path), build_network("random"), images, images)
    state = trainer.state("digest")
    trainer.scaler = torch.amp.GradScaler("cpu")  # as on a GPU that has float16 only
    scale = trainer.scaler.get_scale()
    trainer.restore(state)
    assert trainer.scaler.get_scale() == scale
    state = trainer.state("digest")
    state["scaler"]["scale"] = 8.0
    trainer.restore(state)
    assert trainer.scaler.get_scale() == 8.0


def test_a_gpu_without_room_asks_for_a_smaller_batch_and_not_for_the_same_again(walls, tmp_path):
    options = config(walls, tmp_path)
    stopped = pytest.raises(TrainingError, match=r"8 photos of 64 px.*--batch-size")
    with stopped as caught, telling_what_is_left(options, print):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert "--resume" not in str(caught.value)
    (tmp_path / BUNDLE_JSON).touch()
    kept = pytest.raises(TrainingError, match=r"model is kept.*inspector export.*--batch-size")
    with kept, telling_what_is_left(options, print):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_train_without_one_class_names_the_layout(walls, tmp_path):
    shutil.copytree(walls / "north" / "Positive", tmp_path / "data" / "Positive")
    with pytest.raises(DataError, match=r"without cracks.*Positive"):
        train(config(tmp_path / "data", tmp_path / "x"))


def test_misclassified_json_is_plain(trained):
    json.dumps(trained.missed)
