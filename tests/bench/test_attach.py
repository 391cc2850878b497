"""A narrow pair joins a bundle with the margins it needs, or is refused and nothing changes."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from bench.recipe.card import with_first_stage
from bench.recipe.narrow.attach import attach_narrow, trouble_with, trouble_with_photos
from bench.recipe.narrow.export import PHOTOS, TILES
from bench.recipe.narrow.familiar import STRANGE
from bench.recipe.narrow.screening import FOREIGN
from export.gates import LEAST_FIRST, choose_first_margins
from inspector.engines import open_backend
from inspector.engines.combined import UncertaintyBand
from inspector.errors import ExportError
from inspector.model.bundle import OUTPUT_NAMES, DenseView, ModelBundle, Thresholds, Variant
from inspector.model.golden import read_golden
from inspector.synthesis import Kind, make_scene
from inspector.types import Scores
from tests.engines.narrow import with_narrow, write_pair

KINDS = (Kind.CRACK, Kind.CLEAN, Kind.CRACK, Kind.SHADOW)
DENSE = DenseView(
    temperature=1.0, shift=0.0, photo={"grow": 1.0, "seed": 2.0},
    thresholds=Thresholds(clear_below=0.2, crack_from=0.8),
)  # fmt: skip


def write_photos(folder, count, seed, height, width):
    rng = np.random.default_rng(seed)
    for k in range(count):
        file = folder / f"wall{k % 2}" / f"{k}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_scene(rng, height, width, KINDS[k % 4]).pixels).save(file)
    (folder / "wall0" / "broken.png").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("images"), 60, 5, 64, 64)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(("Positive", "Negative")):
        for file in write_photos(folder / "made", 4, seed, 200, 260).glob("wall*/*.png"):
            place = folder / file.parent.name / name / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            file.rename(place)
    (folder / "made" / "wall0").rmdir()
    (folder / "made" / "wall1").rmdir()
    (folder / "made").rmdir()
    return folder


@pytest.fixture
def bundle(tiny_bundle_dir, tmp_path):
    """A bundle with a dense view, and thresholds between which few images lie."""
    made = with_narrow(tiny_bundle_dir, tmp_path, dense=DENSE)
    kept = {name: v for name, v in made.variants.items() if v.precision != "narrow"}
    replace(made, variants=kept).save()
    return ModelBundle.load(made.path)


@pytest.fixture(autouse=True)
def deferring(monkeypatch):
    """A random network has no easy images."""
    monkeypatch.setattr("bench.recipe.narrow.attach.MOST_LEFT", 1.0)
    monkeypatch.setattr("bench.recipe.narrow.screening._FOREIGN_PHOTOS", 2)


def attach(bundle, pair, images, photos):
    return attach_narrow(bundle.path, pair, images=images, photos=photos, at_least=20)


def test_a_pair_joins_with_its_margins_and_evidence(bundle, images, photos, tmp_path):
    pair = write_pair(bundle, tmp_path / "pair", gain=0.9, shift=0.2)
    made = attach(bundle, pair, images, photos)
    assert made.digest == bundle.digest and made == ModelBundle.load(bundle.path)
    tiles, dense = made.variants["onnx-narrow"], made.variants["dense-narrow"]
    assert min(tiles.margin, tiles.crack_margin, dense.margin) > 0
    seen = tiles.parity
    assert set(seen["sources"]) == {"wall0", "wall1", FOREIGN}
    assert seen["images"] == sum(each["images"] for each in seen["sources"].values())
    assert all(each["missed"] == 0 for each in seen["sources"].values())
    assert 0 < seen["deferred"] <= 1 and seen["margin_chosen_on"] > 0
    assert dense.parity["tiles"]["max_difference"] < 1e-4
    assert set(dense.parity["sources"]) >= {FOREIGN} and 0 < dense.parity["deferred"] <= 1
    golden = read_golden(made)
    engine = open_backend(made, precision="narrow", device="cpu")
    found = engine.run(golden.pixels_NHWC)
    engine.close()
    assert found.stage_N.max() <= 1


def test_a_pair_that_contradicts_the_model_is_refused(bundle, images, photos, tmp_path):
    before = {file.name: file.read_bytes() for file in bundle.path.iterdir()}
    pair = write_pair(bundle, tmp_path / "pair", gain=-1.0, shift=0.0)
    with pytest.MonkeyPatch.context() as patch:  # what chooses margins would leave everything
        patch.setattr("bench.recipe.narrow.attach.choose_first_margins", lambda *_: (0.1, 0.1, 0.1))
        with pytest.raises(ExportError, match=r"onnx-narrow is of no use .*calls cracks clear"):
            attach(bundle, pair, images, photos)
    assert {file.name: file.read_bytes() for file in bundle.path.iterdir()} == before


def test_a_file_for_tiles_joins_alone(bundle, images, photos, tmp_path):
    pair = write_pair(bundle, tmp_path / "pair", gain=0.9, shift=0.2)
    (pair / "dense.narrow.onnx").unlink()
    made = attach(bundle, pair, images, photos)
    assert "onnx-narrow" in made.variants and "dense-narrow" not in made.variants


def test_a_dense_file_of_another_network_is_refused(bundle, images, photos, tmp_path):
    pair = write_pair(bundle, tmp_path / "pair")
    other = write_pair(bundle, tmp_path / "other", gain=0.8)
    shutil.copy(other / "dense.narrow.onnx", pair)
    with pytest.raises(ExportError, match=r"dense.narrow.onnx does not judge tiles as"):
        attach(bundle, pair, images, photos)
    assert "onnx-narrow" not in ModelBundle.load(bundle.path).variants


def raise_scores(file, least):
    """Let no out-of-distribution score of a narrow file for tiles be below `least`."""
    model, score = onnx.load(file), OUTPUT_NAMES[2]
    for node in model.graph.node:
        node.output[:] = [f"own_{score}" if name == score else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array(least, np.float32), "least"))
    model.graph.node.append(helper.make_node("Max", [f"own_{score}", "least"], [score]))
    onnx.save(model, file)


def test_scores_that_only_the_file_for_tiles_raises_do_not_part_a_pair(
    bundle, images, photos, tmp_path
):
    pair = write_pair(bundle, tmp_path / "pair", gain=0.9, shift=0.2)
    raise_scores(pair / "model.narrow.onnx", STRANGE)
    assert "dense-narrow" in attach(bundle, pair, images, photos).variants
    other = write_pair(bundle, tmp_path / "other", gain=0.9, shift=0.2)
    raise_scores(other / "model.narrow.onnx", 0.9 * STRANGE)
    with pytest.raises(ExportError, match="does not judge tiles as"):
        attach(bundle, other, images, photos)


def test_a_pair_that_loses_photos_joins_for_tiles_alone(
    bundle, images, photos, tmp_path, monkeypatch
):
    seen = {"sources": {"walls": {"cracked": 90, "lost": 2, "missed": 0}}, "deferred": 0.1}
    monkeypatch.setattr("bench.recipe.narrow.screening.Screening.choose", lambda *_: (1.0, 1.0))
    monkeypatch.setattr("bench.recipe.narrow.screening.Screening.gate", lambda *_: seen)
    told: list[str] = []
    pair = write_pair(bundle, tmp_path / "pair", gain=0.9, shift=0.2)
    made = attach_narrow(
        bundle.path, pair, images=images, photos=photos, at_least=20, say=told.append
    )
    assert "onnx-narrow" in made.variants and "dense-narrow" not in made.variants
    assert told == [
        "dense-narrow is left out: it calls 2 of 90 photos with a crack clear that the model does "
        "not; photos are judged by the model alone"
    ]


def test_too_few_tiles_are_refused(bundle, images, photos, tmp_path):
    pair = write_pair(bundle, tmp_path / "pair")
    with pytest.raises(ExportError, match=r"only \d+ held-back tiles, and 2000 are needed"):
        attach_narrow(bundle.path, pair, images=images, photos=photos)


def scores(logits, oods):
    p_N = (1 / (1 + np.exp(-np.asarray(logits, np.float64)))).astype(np.float32)
    return Scores(p_N, np.empty((len(p_N), 0, 0), np.float32), np.asarray(oods, np.float32))


def test_margins_are_the_least_beyond_which_nothing_is_wrong():
    thresholds = Thresholds(clear_below=0.5, crack_from=0.5, out_of_distribution=2.0)
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 4, 2000)
    narrow = truth + rng.normal(0, 1, 2000)
    oods = rng.uniform(0, 1.5, 2000)
    reference, candidate = scores(truth, oods), scores(narrow, oods)
    low, high, familiar = choose_first_margins(reference, candidate, thresholds)
    wrong = (truth >= 0) != (narrow >= 0)
    assert low == pytest.approx(1.5 * -narrow[wrong].min(), rel=1e-3)
    assert high == pytest.approx(1.5 * narrow[wrong].max(), rel=1e-3)
    assert familiar == LEAST_FIRST[2]


def test_foreign_images_that_look_familiar_narrow_what_is_familiar():
    thresholds = Thresholds(clear_below=0.5, crack_from=0.5, out_of_distribution=2.0)
    logits = np.tile([-8.0, 8.0], 500)
    candidate_oods = np.tile(np.linspace(0.2, 1.8, 500).repeat(2), 1)
    truth_oods = np.where(candidate_oods > 1.5, 3.0, 0.5)
    reference, candidate = scores(logits, truth_oods), scores(logits, candidate_oods)
    low, high, familiar = choose_first_margins(reference, candidate, thresholds)
    assert familiar >= 0.5 and (low, high) == LEAST_FIRST[:2]
    made = Variant(
        file="n.onnx", backend="onnxruntime", precision="narrow", margin=low, crack_margin=high,
        ood_margin=familiar,
    )  # fmt: skip
    decided = ~UncertaintyBand.of(made, thresholds).contains(candidate)
    assert decided.any() and (truth_oods[decided] < 2).all()


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"sources": {"a": {"missed": 1}}}, "1 of a"),
        (
            {"verdict_flips": [[0.1, 0.9]] * 3},
            "3 of 2000 verdicts differ from the model's, and 2",
        ),
        ({"deferred": 0.9}, "leaves 90% to the model"),
    ],
)
def test_the_gate_names_what_is_wrong(seen, said, monkeypatch):
    monkeypatch.undo()
    usual = {"images": 2000, "sources": {}, "verdict_flips": [], "deferred": 0.3}
    assert trouble_with(usual) == ""
    assert said in trouble_with(usual | seen)
    assert "leaves 90% to the model" in trouble_with_photos({"sources": {}, "deferred": 0.9})


@pytest.mark.parametrize(
    ("walls", "foreign", "said"),
    [
        ({"lost": 2}, 0, ""),
        ({"lost": 3}, 0, "3 of 200 photos with a crack"),
        ({"lost": 1, "missed": 1}, 0, "1 photos clear in which the model finds the crack"),
        ({}, 1, "1 foreign pictures"),
    ],
)
def test_the_gate_for_photos_counts_what_is_lost(walls, foreign, said):
    usual = {"cracked": 200, "lost": 0, "missed": 0}
    sources = {"walls": usual | walls, FOREIGN: {"cracked": 0, "lost": foreign, "missed": 0}}
    trouble = trouble_with_photos({"sources": sources, "deferred": 0.3})
    assert said in trouble and bool(trouble) == bool(said)


def test_the_card_tells_the_gates_of_a_first_stage_once(bundle):
    tiles = {"images": 2000, "deferred": 0.61, "verdict_flips": [[0.1, 0.9]],
             "sources": {"metu": {"missed": 0}}}  # fmt: skip
    counts = {"cracked": 30, "lost": 1, "other": 4, "review": 9, "review_then": 5}
    photos = {"images": 459, "deferred": 0.4, "sources": {"walls": counts, "boards": counts}}
    variants = {
        name: replace(variant, parity=seen)
        for name, variant, seen in (
            ("onnx-narrow", TILES, tiles), ("dense-narrow", PHOTOS, photos)
        )
    }  # fmt: skip
    card = "# Card\n\n## Export gates\n\n- `onnx-fp32`: alike\n\n## What it is bad at\n\n- much\n"
    told = with_first_stage(card, replace(bundle, variants={**bundle.variants, **variants}))
    assert told.count("- First stage, ") == 2
    assert "2,000 images, foreign ones among them; of the others 61% left to the model" in told
    assert "of 60 with a crack 2 called clear that the model does not; for review 18 be" in told
    assert with_first_stage(told, replace(bundle, variants=variants)) == told
    assert with_first_stage(told, bundle) == card
