"""The narrow first stage: lessons, learning, exact resume, its two ONNX files."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from bench.recipe.context.labels import CRACK
from bench.recipe.context.material import Material
from bench.recipe.narrow.export import PHOTOS, TILES, export_narrow
from bench.recipe.narrow.familiar import STRANGE, limit_to_familiar
from bench.recipe.narrow.lessons import School
from bench.recipe.narrow.network import NarrowForms, NarrowNetwork, Widths
from bench.recipe.narrow.trainer import NarrowConfig, NarrowTrainer, losses
from bench.recipe.narrow.weights import read_network
from inspector.labelled.folder import LabelledImage
from inspector.model.bundle import DENSE_OUTPUTS, INPUT_NAME, OUTPUT_NAMES
from inspector.model.network import DenseModel, DeployedModel, build_network
from inspector.model.preprocess import PreprocessSpec
from inspector.model.windows import STRIDE, USUAL

SPEC = PreprocessSpec(size=224)
TINY = Widths(stem=(16, 16), channels=(16, 16, 16), blocks=(1, 1, 2))
CONFIG = NarrowConfig(widths=TINY, steps=16, photos=1, tiles=3, warmup=2, rate=4e-3)


def dark(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A teacher that takes dark cells for cracks and loud windows for other things."""
    side = pixels.shape[0] // STRIDE
    cells = pixels.reshape(side, STRIDE, side, STRIDE, 3).mean(axis=(1, 3, 4), dtype=np.float32)
    windows = side - USUAL + 1
    return (128 - cells) / 8, np.full((windows, windows), pixels.std() / 50, np.float32)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    """One shard of noise of different brightness."""
    folder = tmp_path_factory.mktemp("lessons")
    _Noise(Material([], folder), dark, folder, photos=2, tiles=6).make(0)
    return folder


class _Noise(School):
    """Teaches with noise."""

    def photo(self, rng):
        return self._picture(rng, 448)

    def tile(self, rng, photos):
        return self._picture(rng, 224)

    def _picture(self, rng: np.random.Generator, side: int) -> np.ndarray:
        cells = rng.integers(60, 200, (side // STRIDE, side // STRIDE, 1))
        grey = cells.repeat(STRIDE, axis=0).repeat(STRIDE, axis=1)
        return (grey + rng.integers(-20, 20, (side, side, 3))).astype(np.uint8)


class _Wall(Material):
    """One grey wall."""

    def surface(self, rng, side):
        return np.full((side, side, 3), 140, np.uint8), "drawn"


def test_lessons_among_stones_can_be_made_again_and_some_show_a_crack(tmp_path):
    school = School(_Wall([], tmp_path), dark, tmp_path)
    scenes = [school._stones(np.random.default_rng(seed)) for seed in range(8)]
    assert {scene.shape for scene in scenes} == {(448, 448, 4)}
    assert np.array_equal(scenes[3], school._stones(np.random.default_rng(3)))
    cracked = [bool((scene[:, :, 3] == CRACK).any()) for scene in scenes]
    assert any(cracked) and not all(cracked)
    assert any((scene[:, :, :3] != 140).any() for scene in scenes)


def begun() -> NarrowTrainer:
    return NarrowTrainer(CONFIG, SPEC, 1.0, threads=1)


def taught(trainer: NarrowTrainer, folder, steps: int) -> list[float]:
    batches = trainer.batches(folder, lambda: False)
    return [sum(trainer.learn(next(batches)).values()) for _ in range(steps)]


def test_a_narrow_network_learns_its_teachers_answers(lessons):
    trainer = NarrowTrainer(CONFIG, SPEC, 1.0)  # photos and tiles side by side
    found = taught(trainer, lessons, CONFIG.steps)
    assert np.mean(found[-4:]) < 0.7 * np.mean(found[:4])
    assert trainer.used == {"lessons-00000.npz": CONFIG.steps // 2}


def test_a_stopped_training_goes_on_to_the_same_weights(lessons, tmp_path):
    unbroken, stopped, resumed = begun(), begun(), begun()
    taught(unbroken, lessons, 8)
    taught(stopped, lessons, 4)
    stopped.save(tmp_path / "state.safetensors")
    resumed.restore(tmp_path / "state.safetensors")
    taught(resumed, lessons, 4)
    for mine, other in ((unbroken.network, resumed.network), (unbroken.judged, resumed.judged)):
        own, theirs = mine.state_dict(), other.state_dict()
        assert all(torch.equal(own[name], theirs[name]) for name in own)
    assert resumed.step == 8 and resumed.rate == unbroken.rate


def test_batch_norm_keeps_its_statistics_while_the_rate_falls(lessons):
    trainer = begun()
    first = next(n for n in trainer.network.modules() if isinstance(n, torch.nn.BatchNorm2d))
    batch = next(trainer.batches(lessons, lambda: False))
    before = first.state_dict()["running_mean"].clone()
    trainer.learn(batch)
    assert not torch.equal(first.state_dict()["running_mean"], before)
    trainer.step = int(CONFIG.falls_from * CONFIG.steps) + 1
    before = first.state_dict()["running_mean"].clone()
    trainer.learn(batch)
    assert torch.equal(first.state_dict()["running_mean"], before)
    assert trainer.rate < CONFIG.rate


def test_without_lessons_and_anybody_who_writes_them_nothing_waits(tmp_path):
    with pytest.raises(RuntimeError, match="lessons"):
        next(begun().batches(tmp_path, lambda: False))


def test_right_answers_cost_least_and_a_crack_called_clear_most():
    cells = torch.from_numpy(np.random.default_rng(1).normal(0, 20, (2, 9, 9)))
    scores = torch.ones(2, 3, 3)

    def cost(log_odds: torch.Tensor, taught: torch.Tensor) -> dict[str, float]:
        found = losses((log_odds, scores), taught, scores, 1.0)
        return {name: float(value) for name, value in found.items()}

    right, other = cost(cells, cells), cost(cells + 1, cells)
    assert right["cells"] == right["windows"] == right["domain"] == 0
    assert all(other[name] > right[name] for name in ("cells", "windows", "sure"))
    crack, clear = torch.full((2, 9, 9), 6.0), torch.full((2, 9, 9), -6.0)
    assert cost(clear, crack)["windows"] == 2 * cost(crack, clear)["windows"]


def full_model(crack: int) -> DeployedModel:
    return DeployedModel(
        build_network("random"), SPEC, temperature=0.9, positive_index=crack
    ).eval()


def test_both_files_answer_nearly_as_the_network_in_the_forms_of_the_full_ones(tmp_path):
    torch.manual_seed(1)
    network = NarrowNetwork(TINY, SPEC).eval()
    torch.nn.init.normal_(network.uneven.weight, std=0.02)
    full = full_model(1)
    pixels = np.random.default_rng(3).integers(0, 255, (3, 224, 224, 3), np.uint8)
    export_narrow(network, full, pixels, 224, {"name": "tiny"}, tmp_path)
    tiles, photos = (
        onnxruntime.InferenceSession(tmp_path / each.file, providers=["CPUExecutionProvider"])
        for each in (TILES, PHOTOS)
    )
    with torch.no_grad():
        expected = NarrowForms(network, full)(torch.from_numpy(pixels))
    found = tiles.run(list(OUTPUT_NAMES), {INPUT_NAME: pixels})
    found += photos.run(list(DENSE_OUTPUTS), {INPUT_NAME: pixels})
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        moved = np.abs(mine - theirs.numpy()).mean()  # by its integers
        assert moved < 0.05 * max(np.abs(theirs.numpy()).mean(), 1)
    large = np.random.default_rng(4).integers(0, 255, (1, 320, 448, 3), np.uint8)
    with torch.no_grad():
        expected = DenseModel(full, 224)(torch.from_numpy(large))
    found = photos.run(list(DENSE_OUTPUTS), {INPUT_NAME: large})
    assert [f.shape for f in found] == [tuple(e.shape) for e in expected]
    assert tiles.get_modelmeta().custom_metadata_map["name"] == "tiny"


def test_a_network_learns_on_from_what_its_files_hold(lessons, tmp_path):
    torch.manual_seed(6)
    network = NarrowNetwork(TINY, SPEC)
    torch.nn.init.normal_(network.uneven.weight, std=0.02)
    pixels = torch.randint(0, 255, (4, 224, 224, 3), dtype=torch.uint8)
    with torch.no_grad():
        network(pixels)  # batch norms have statistics now
    network.eval()
    export_narrow(network, full_model(1), pixels.numpy(), 224, {}, tmp_path)
    read = read_network(tmp_path / PHOTOS.file, TINY, SPEC)
    with torch.no_grad():
        for mine, own in zip(read.eval()(pixels), network(pixels), strict=True):
            moved = float((mine - own).abs().mean())
            assert moved < 0.05 * max(float(own.abs().mean()), 1)
    trainer = NarrowTrainer(dataclasses.replace(CONFIG, falls_from=0.0), SPEC, 1.0, network=read)
    first = next(n for n in read.modules() if isinstance(n, torch.nn.BatchNorm2d))
    found = taught(trainer, lessons, CONFIG.steps)
    assert np.mean(found[-4:]) < np.mean(found[:4])
    assert not first.get_buffer("running_mean").any()
    with pytest.raises(KeyError):
        read_network(tmp_path / PHOTOS.file, dataclasses.replace(TINY, blocks=(1, 1, 1)), SPEC)


@pytest.mark.parametrize("crack", [0, 1])
def test_a_tile_is_as_probable_as_the_mean_of_its_cells_says(crack):
    network = NarrowNetwork(TINY, SPEC).eval()
    pixels = torch.randint(0, 255, (3, 224, 224, 3), dtype=torch.uint8)
    with torch.no_grad():
        p, cam, domain, *dense = NarrowForms(network, full_model(crack))(pixels)
        log_odds, scores = network(pixels)
    np.testing.assert_allclose(p[:, crack], torch.sigmoid(log_odds.mean((1, 2)) / 0.9), rtol=1e-4)
    np.testing.assert_allclose(p.sum(dim=1), 1, rtol=1e-5)
    assert torch.equal(domain, scores[:, 0, 0])
    assert torch.equal(dense[0], log_odds) and torch.equal(dense[1], scores)
    assert np.corrcoef(cam.ravel(), log_odds.ravel())[0, 1] > 0.99


def write_tiles(folder, contrast: float, count: int) -> list[LabelledImage]:
    """Noise of one contrast around shades from dark to bright; the dark ones are cracks."""
    rng = np.random.default_rng(int(contrast))
    found = []
    for k in range(count):
        shade = 60 + 140 * k / count
        pixels = shade + rng.normal(0, contrast, (224, 224, 3))
        path = folder / f"{contrast}-{k}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        found.append(LabelledImage(str(path), k < count / 2, "noise", str(k)))
    return found


def test_what_looks_unlike_the_training_tiles_is_out_of_the_narrow_networks_distribution(
    tmp_path, tiny_bundle
):
    torch.manual_seed(2)
    network = NarrowNetwork(TINY, SPEC).eval()
    learned = write_tiles(tmp_path, 5.0, 120)
    pixels = np.stack([np.asarray(Image.open(tile.path)) for tile in learned])
    with torch.no_grad():  # dark tiles become cracks to this network
        evidence = network(torch.from_numpy(pixels))[0].mean((1, 2))
        rises = evidence[-1] > evidence[0]
        gain = (-1.0 if rises else 1.0) * 8 / (evidence.max() - evidence.min())
        network.head.weight[0] *= gain
        bias = cast("torch.Tensor", network.head.bias)
        bias[0] = (bias[0] - evidence.median()) * gain
    export_narrow(network, full_model(0), pixels, 224, {}, tmp_path)
    file = tmp_path / TILES.file

    def answers(images: np.ndarray) -> list[np.ndarray]:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return list(session.run(list(OUTPUT_NAMES), {INPUT_NAME: images}))

    strange = np.stack([np.asarray(Image.open(t.path)) for t in write_tiles(tmp_path, 60.0, 20)])
    before = answers(pixels), answers(strange)
    labels = (tiny_bundle.positive, "other")
    bundle = dataclasses.replace(tiny_bundle, preprocess=SPEC, labels=labels)
    limit_to_familiar(file, learned, bundle)
    after = answers(pixels), answers(strange)
    for (p, cam, _), (p_now, cam_now, _) in zip(before, after, strict=True):
        assert np.array_equal(p, p_now) and np.array_equal(cam, cam_now)
    own, now = before[0][2], after[0][2]
    near = now == own
    assert 0.5 < near.mean() < 1 and (now[~near] >= STRANGE).all()
    assert (after[1][2] >= STRANGE).all()
    with pytest.raises(ValueError, match="squares"):
        model = onnx.load(file)
        squares = [node for node in model.graph.node if node.op_type == "Pow"]
        model.graph.node.extend(squares)
        onnx.save(model, tmp_path / "other.onnx")
        limit_to_familiar(tmp_path / "other.onnx", learned, bundle)
