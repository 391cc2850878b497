"""Figures on a labelled folder belong to the right images, sources and thresholds."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from inspector.backends import open_backend
from inspector.bundle import verdict_of
from inspector.data.decode import decode
from inspector.data.synthesis import Kind, make_scene
from inspector.errors import DataError, UsageError
from inspector.evaluate import EvaluateConfig, evaluate, render, to_json
from inspector.types import Decoded, ImageRef


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(5)
    for source, classes in (("east", "PN"), ("west", "PN"), ("plain", "N")):
        for name in classes:
            folder = root / source / {"P": "Positive", "N": "Negative"}[name]
            folder.mkdir(parents=True)
            for k in range(5):
                scene = make_scene(rng, 70, 70, Kind.CRACK if name == "P" else Kind.STAIN)
                Image.fromarray(scene.pixels).save(folder / f"{k}.png")
    (root / "west" / "Negative" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


@pytest.fixture(scope="module")
def result(labelled, tiny_bundle_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    config = EvaluateConfig(data=labelled, model=tiny_bundle_dir, out=out, device="cpu", workers=0)
    return evaluate(config), out


def test_every_image_is_counted_once(result):
    evaluation, _ = result
    counts = {f.source: (f.cracks, f.clears) for f in evaluation.sources}
    assert counts == {"east": (5, 5), "plain": (0, 5), "west": (5, 5), "all": (10, 15)}
    assert len(evaluation.failed) == 1 and "cut.png: truncated" in evaluation.failed[0]
    for f in evaluation.sources:
        assert sum(f.confusion.values()) == f.cracks + f.clears
        assert sum(f.crack_verdicts.values()) == f.cracks
        assert sum(f.clear_verdicts.values()) == f.clears


def test_predictions_are_those_of_each_image_alone(result, tiny_bundle):
    _, out = result
    backend = open_backend(tiny_bundle, device="cpu")
    for row in pq.read_table(out / "predictions.parquet").to_pylist():
        assert ("Positive" in row["path"]) == (row["truth"] == "crack")
        decoded = decode(ImageRef(0, row["path"], "", None, None), tiny_bundle.preprocess)
        if not isinstance(decoded, Decoded):
            assert row["p_crack"] is None
            continue
        alone = backend.run(decoded.pixels_HWC[None]).p_crack_N[0]
        assert row["p_crack"] == pytest.approx(float(alone), abs=1e-5)
    backend.close()


def test_figures_follow_from_the_predictions(result, tiny_bundle):
    evaluation, out = result
    rows = [r for r in pq.read_table(out / "predictions.parquet").to_pylist() if r["p_crack"]]
    everything = evaluation.sources[-1]
    cracks = [r["p_crack"] for r in rows if r["truth"] == "crack"]
    clears = [r["p_crack"] for r in rows if r["truth"] == "clear"]
    pairs = [(a > b) + 0.5 * (a == b) for a in cracks for b in clears]
    assert everything.roc_auc == pytest.approx(np.mean(pairs))
    missed = sum(verdict_of(p, tiny_bundle.thresholds) == "clear" for p in cracks)
    assert everything.crack_verdicts.get("clear", 0) == missed
    low, high = everything.roc_auc_interval
    assert low <= everything.roc_auc <= high


def test_json_has_no_nan_and_table_fits_the_terminal(result):
    evaluation, out = result
    text = to_json(evaluation)
    assert json.loads(text) == json.loads((out / "evaluation.json").read_text())
    assert "NaN" not in text
    table = render(evaluation)
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "1 images could not be decoded" in table


def test_groups_widen_the_interval(labelled, tiny_bundle_dir, tmp_path):
    names = [f"{s}/{c}/{k}.png" for s in ("east", "west") for c in ("Positive", "Negative")
             for k in range(5)]  # fmt: skip
    csv = tmp_path / "groups.csv"
    csv.write_text("file,group\n" + "".join(f"{n},{n.split('/')[0]}\n" for n in names))
    config = EvaluateConfig(
        data=labelled, model=tiny_bundle_dir, groups=csv, device="cpu", workers=0
    )
    assert {f.source: f.groups for f in evaluate(config).sources}["east"] == 1


def test_nothing_decodable_is_an_error(tmp_path, tiny_bundle_dir):
    for name in ("Positive", "Negative"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match="could be decoded"):
        evaluate(EvaluateConfig(data=tmp_path, model=tiny_bundle_dir, device="cpu", workers=0))


def test_impossible_options(tmp_path):
    with pytest.raises(UsageError):
        EvaluateConfig(data=tmp_path, batch_size=0)
