"""Figures on a labelled folder belong to the right images, sources and thresholds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from inspector.engines import open_backend
from inspector.errors import DataError, OutputError, UsageError
from inspector.evaluation.page import FILES
from inspector.evaluation.run import EvaluateConfig, audit_against_training, evaluate
from inspector.evaluation.wording import evaluated_lines
from inspector.labelled.fingerprints import FINGERPRINTS, fingerprint, save
from inspector.labelled.folder import read_labelled
from inspector.photos.decode import decode
from inspector.synthesis import Kind, make_scene
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


def test_evaluate_counts_every_image_once(result):
    evaluation, _ = result
    counts = {f.source: (f.cracks, f.clears) for f in evaluation.sources}
    assert counts == {"east": (5, 5), "plain": (0, 5), "west": (5, 5), "all": (10, 15)}
    assert len(evaluation.failed) == 1 and "cut.png: truncated" in evaluation.failed[0]
    for f in evaluation.sources:
        assert sum(f.confusion.values()) == f.cracks + f.clears
        assert sum(f.verdicts["crack"].values()) == f.cracks
        assert sum(f.verdicts["clear"].values()) == f.clears


def test_predictions_equal_those_of_each_image_alone(result, tiny_bundle):
    _, out = result
    backend = open_backend(tiny_bundle, device="cpu")
    for row in pq.read_table(out / "predictions.parquet").to_pylist():
        assert ("Positive" in row["path"]) == (row["truth"] == "crack")
        decoded = decode(ImageRef.of(row["path"]), tiny_bundle.preprocess)
        if not isinstance(decoded, Decoded):
            assert row["p_crack"] is None and row["failure_code"] == "truncated"
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
    found = everything.measures["roc_auc"]
    assert found.value == pytest.approx(np.mean(pairs))
    missed = sum(np.float32(p) < np.float32(tiny_bundle.thresholds.clear_below) for p in cracks)
    assert everything.verdicts["crack"]["clear"] == missed
    assert found.low <= found.value <= found.high


def test_metrics_json_has_no_nan_and_render_fits_80_columns(result):
    evaluation, out = result
    text = (out / "metrics.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(evaluation.to_json()))
    assert "NaN" not in text
    table = "\n".join(evaluated_lines(evaluation))
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "1 image could not be decoded" in table


@pytest.fixture(scope="module")
def groups_csv(tmp_path_factory):
    """Names every image of `labelled` but the broken one."""
    lines = ["file,group,camera,crack_width_px"]
    for source, classes in (("east", "PN"), ("west", "PN"), ("plain", "N")):
        for letter in classes:
            folder = {"P": "Positive", "N": "Negative"}[letter]
            for k in range(5):
                width = f"{k + 0.5}" if letter == "P" else ""
                camera = "" if source == "plain" else f"cam{k % 2}"
                lines.append(f"{source}/{folder}/{k}.png,{source}-{k // 3},{camera},{width}")
    csv = tmp_path_factory.mktemp("groups") / "groups.csv"
    csv.write_text("\n".join(lines) + "\n")
    return csv


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("folder", ["east", "plain", "west", "all"]),
        ("group", ["east-0", "east-1", "plain-0", "plain-1", "west-0", "west-1", "all"]),
        ("camera", ["(not said)", "cam0", "cam1", "all"]),
    ],
)
def test_evaluate_splits_figures_by_folder_group_or_column(
    labelled, tiny_bundle_dir, groups_csv, by, names
):
    config = EvaluateConfig(
        data=labelled, model=tiny_bundle_dir, groups=groups_csv, by=by, device="cpu", workers=0
    )
    found = evaluate(config)
    assert [f.source for f in found.sources] == names
    assert found.overall.groups == 6
    assert [(w.from_px, w.cracks) for w in found.widths] == [(0, 2), (1, 2), (2, 4), (4, 2)]


def test_evaluate_reports_images_learned_from_as_leaks(labelled, tiny_bundle_dir, tmp_path):
    """Half of the images were learned from: both figures are given, and --strict-splits refuses."""
    learned = tmp_path / "learned"
    shutil.copytree(labelled / "east", learned / "somewhere")
    config = EvaluateConfig(
        data=labelled, model=tiny_bundle_dir, trained_on=learned, device="cpu", workers=0,
        out=tmp_path / "out",
    )  # fmt: skip
    said: list[str] = []
    steps: list[tuple[str, int, int]] = []
    found = evaluate(config, lambda *step: steps.append(step), said.append)
    assert any(step[1:] == (26, 26) for step in steps)
    assert any("WARNING" in line for line in said)
    assert found.leaks is not None and found.leaks["counts"]["same_pixels"] == 10
    table = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    leaked = {row["path"] for row in table if row["leaked"]}
    assert {path for path in leaked if "/east/" in path} == {
        str(path) for path in (labelled / "east").rglob("*.png")
    }
    clean = found.without_leaks[-1]
    assert clean.images == found.overall.images - len(leaked)
    assert "without the images that leaked" in "\n".join(evaluated_lines(found))
    with pytest.raises(DataError, match="not new to the model"):
        evaluate(replace(config, strict_splits=True))


def test_audit_counts_images_that_two_training_sides_have_once(
    labelled, tiny_bundle_copy, tmp_path
):
    """The bundle remembers the folder that --trained-on names again, with one image more."""
    learned = tmp_path / "learned"
    shutil.copytree(labelled / "west", learned / "west")
    shutil.copytree(labelled / "plain", learned / "plain")
    images = read_labelled(learned).images
    (tiny_bundle_copy.path / FINGERPRINTS).parent.mkdir()
    save(fingerprint(images), tiny_bundle_copy.path / FINGERPRINTS)
    (learned / "west" / "Negative" / "new.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    config = EvaluateConfig(data=labelled, model=tiny_bundle_copy.path, trained_on=learned)
    held_out = read_labelled(labelled).images
    found = audit_against_training(config, tiny_bundle_copy, held_out)
    assert found is not None and len(images) == 16
    assert found.training_images == 17
    assert found.undecodable == 3, "cut.png on both sides, and new.png"


def test_evaluate_refuses_a_wrong_cell_before_the_model_starts(
    labelled, tiny_bundle_dir, groups_csv, tmp_path, monkeypatch
):
    monkeypatch.setattr("inspector.evaluation.run.open_photo_engine", None)
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(groups_csv.read_text().replace("0.5", "half"))
    config = EvaluateConfig(data=labelled, model=tiny_bundle_dir, groups=wrong)
    for mistaken, said in (
        (config, "half"),
        (replace(config, groups=groups_csv, by="camra"), "camra"),
    ):
        with pytest.raises(DataError, match=said):
            evaluate(mistaken)


def test_evaluate_reads_decimal_commas(labelled, tiny_bundle_dir, groups_csv, tmp_path):
    german = tmp_path / "german.csv"
    german.write_text(groups_csv.read_text().replace(",", ";").replace(".5", ",5"))
    found = evaluate(
        EvaluateConfig(data=labelled, model=tiny_bundle_dir, groups=german, device="cpu", workers=0)
    )
    assert [(w.from_px, w.cracks) for w in found.widths] == [(0, 2), (1, 2), (2, 4), (4, 2)]


def test_strict_splits_without_known_training_images_raises(labelled, tiny_bundle_dir):
    config = EvaluateConfig(data=labelled, model=tiny_bundle_dir, strict_splits=True)
    with pytest.raises(DataError, match="--trained-on"):
        evaluate(config)


def test_evaluate_replaces_its_own_report_only(result, labelled, tiny_bundle_dir):
    _, out = result
    assert sorted(file.name for file in out.iterdir()) == sorted(FILES)
    before = (out / "metrics.json").read_bytes()
    evaluate(EvaluateConfig(data=labelled, model=tiny_bundle_dir, out=out, device="cpu", workers=0))
    assert (out / "metrics.json").read_bytes() == before
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        evaluate(EvaluateConfig(data=labelled, model=tiny_bundle_dir, out=out, device="cpu"))
    (out / "notes.txt").unlink()


def test_evaluate_without_decodable_images_raises(tmp_path, tiny_bundle_dir):
    for name in ("Positive", "Negative"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match="could be decoded"):
        evaluate(EvaluateConfig(data=tmp_path, model=tiny_bundle_dir, device="cpu", workers=0))


def test_evaluate_config_rejects_impossible_options(tmp_path):
    for wrong in ({"batch_size": 0}, {"workers": -1}, {"gallery": -1}, {"by": "camera"}):
        with pytest.raises(UsageError):
            EvaluateConfig(data=tmp_path, **wrong)
