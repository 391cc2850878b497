"""int8 and fp16 from photos to bundle: which photos serve what, what is refused, what is kept."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from export import ExportConfig, export_bundle
from export.photos import gather_photos
from inspector.cli import app
from inspector.core.untrusted import sha256_of
from inspector.engines import open_backend
from inspector.errors import ExportError, SourceError, UsageError
from inspector.model.bundle import ModelBundle
from inspector.model.golden import read_golden
from inspector.model.verdict import log_odds
from inspector.synthesis import Kind, make_scene

REAL_PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "train"
MINIMUM = 20
KINDS = (Kind.CRACK, Kind.CLEAN, Kind.CRACK, Kind.SHADOW)


def write_photos(folder: Path, count: int, seed: int, size: int) -> Path:
    rng = np.random.default_rng(seed)
    for k in range(count):
        kind = KINDS[k % 4]
        file = folder / ("Positive" if kind is Kind.CRACK else "Negative") / f"wall {k}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_scene(rng, size, size, kind).pixels).save(file)
    return folder


@pytest.fixture(scope="module")
def calibration(tmp_path_factory, tiny_bundle):
    folder = tmp_path_factory.mktemp("calibration")
    return write_photos(folder, 36, 5, tiny_bundle.preprocess.size)


@pytest.fixture(scope="module")
def images(tmp_path_factory, tiny_bundle):
    return write_photos(tmp_path_factory.mktemp("images"), 50, 6, tiny_bundle.preprocess.size)


@pytest.fixture(scope="module")
def reduced_dir(tiny_bundle_dir, tmp_path_factory, calibration, images):
    out = tmp_path_factory.mktemp("reduced") / "bundle"
    config = ExportConfig(
        bundle=tiny_bundle_dir,
        int8=True,
        fp16=True,
        calibration=calibration,
        images=images,
        out=out,
        held_back_minimum=MINIMUM,
    )
    with pytest.MonkeyPatch.context() as patch:
        # A random network has no easy images: nearly all of them lie near a threshold.
        patch.setattr("export.gates.MOST_DEFERRED", 1.0)
        export_bundle(config)
    return out


@pytest.fixture
def reduced_copy(reduced_dir, tmp_path):
    return shutil.copytree(reduced_dir, tmp_path / "reduced")


def contents(folder: Path) -> dict[str, str]:
    return {f.name: sha256_of(f) for f in folder.iterdir()}


def test_the_bundle_gains_two_variants(reduced_dir, tiny_bundle):
    bundle = ModelBundle.load(reduced_dir)
    assert set(bundle.whole) == {"onnx-fp32", "torchscript-fp32", "onnx-int8", "onnx-fp16"}
    assert bundle.digest == tiny_bundle.digest
    assert bundle.files["model.onnx"] == tiny_bundle.files["model.onnx"]


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_evidence_of_a_reduced_variant(reduced_dir, images, precision):
    variant = ModelBundle.load(reduced_dir).variants[f"onnx-{precision}"]
    seen = variant.parity
    assert seen["margin"] == variant.margin > 0
    assert seen["images"] >= MINIMUM
    assert seen["images"] + seen["margin_chosen_on"] == 50
    assert seen["verdict_flips"] == []
    assert 0 <= seen["deferred"] <= 1
    assert 0 < seen["golden_max_difference"] < 1
    assert set(seen["roc_auc"]) == set(seen["ece"]) == {"fp32", "alone", "with_margin"}
    assert seen["reference"].startswith("onnxruntime ") and seen["reference"].endswith("fp32")
    assert ("quantisation" in seen) == (precision == "int8")
    assert "wall" not in json.dumps(seen) and str(images) not in json.dumps(seen)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_deferring_engine_agrees_with_fp32(reduced_dir, precision):
    """On golden images, which no gate saw: margin applied, as a scan applies it."""
    bundle = ModelBundle.load(reduced_dir)
    golden = read_golden(bundle)
    backend = open_backend(bundle, device="cpu", precision=precision)
    assert backend.stages == (f"{precision}@64", "fp32@64")
    scores = backend.run(golden.pixels_NHWC)
    backend.close()
    moved = np.abs(log_odds(scores.p_crack_N) - log_odds(golden.scores.p_crack_N))
    assert np.median(moved) < 0.3


def config(**options) -> ExportConfig:
    return ExportConfig(**{"int8": True, "held_back_minimum": MINIMUM, **options})


def test_without_images_the_calibration_photos_are_dealt(calibration):
    photos = gather_photos(config(calibration=calibration, held_back_minimum=1))
    parts = (photos.calibration, photos.choosing, photos.gating)
    names = [p.name for part in parts for p in part]
    assert len(names) == len(set(names)) == 36
    assert all(parts)
    assert photos == gather_photos(config(calibration=calibration, held_back_minimum=1))


def test_calibration_photos_are_in_no_gate(calibration, tmp_path):
    """Not even under another name."""
    both = shutil.copytree(calibration, tmp_path / "both")
    for k, photo in enumerate(sorted(calibration.rglob("*.png"))):
        os.symlink(photo, both / "Negative" / f"link {k}.png")
    photos = gather_photos(config(calibration=calibration, images=both))
    assert len(photos.choosing) + len(photos.gating) == 36
    assert not any(p.is_symlink() for p in (*photos.choosing, *photos.gating))


def test_images_limit_holds(images, calibration):
    photos = gather_photos(
        config(calibration=calibration, images=images, images_limit=12, held_back_minimum=2)
    )
    assert len(photos.choosing) + len(photos.gating) == 12


def test_too_few_photos_raises_before_anything_is_done(tiny_bundle_dir, calibration, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ExportError, match=r"only \d+ held-back photos, and 2000 are needed") as no:
        export_bundle(
            ExportConfig(bundle=tiny_bundle_dir, int8=True, calibration=calibration, out=out)
        )
    assert "--images" in str(no.value) and "3200" in str(no.value) and "\n" not in str(no.value)
    assert not out.exists()


def test_photos_that_cannot_be_decoded_do_not_count(tiny_bundle_dir, images, tmp_path):
    broken = shutil.copytree(images, tmp_path / "broken")
    for photo in list(broken.rglob("*.png"))[:40]:
        photo.write_bytes(b"no photo")
    with pytest.raises(ExportError, match="held-back photos"):
        export_bundle(
            config(int8=False, fp16=True, bundle=tiny_bundle_dir, images=broken, out=tmp_path / "x")
        )
    assert not (tmp_path / "x").exists()


def test_too_few_calibration_photos_raises(tiny_bundle_dir, images, calibration, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for photo in list(calibration.rglob("*.png"))[:31]:
        shutil.copy(photo, few)
    with pytest.raises(ExportError, match="only 31 photos can set the ranges"):
        export_bundle(
            config(bundle=tiny_bundle_dir, calibration=few, images=images, out=tmp_path / "x")
        )


def test_variant_that_defers_everything_is_refused(reduced_copy, images, monkeypatch):
    before = contents(reduced_copy)
    monkeypatch.setattr("export.reduced.choose_margins", lambda *answers: (40.0, 0.0))
    with pytest.raises(ExportError, match=r"onnx-fp16 is of no use .*100% of the photos"):
        export_bundle(config(int8=False, fp16=True, bundle=reduced_copy, images=images))
    assert contents(reduced_copy) == before


def test_variant_with_other_verdicts_is_refused(reduced_copy, images, monkeypatch):
    """A file made from another model; the margin, chosen by what it does, is not what saves it."""

    def write_wrong(fp32, out, metadata):
        from export.fp16 import halve_to

        halve_to(fp32, out, metadata)
        import onnx
        from onnx import numpy_helper

        model = onnx.load(out)
        bias = next(w for w in model.graph.initializer if w.name == "network.fc.bias")
        values = numpy_helper.to_array(bias) + np.array([0, 3], np.float32)
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        onnx.save(model, out)

    before = contents(reduced_copy)
    monkeypatch.setattr("export.reduced.halve_to", write_wrong)
    monkeypatch.setattr("export.reduced.choose_margins", lambda *answers: (0.01, 0.0))
    with pytest.raises(ExportError, match=r"onnx-fp16 is of no use .*verdicts differ"):
        export_bundle(config(int8=False, fp16=True, bundle=reduced_copy, images=images))
    assert contents(reduced_copy) == before


def test_without_photos_a_variant_is_taken_over(reduced_dir, tmp_path):
    bundle = export_bundle(ExportConfig(bundle=reduced_dir, int8=True, out=tmp_path / "out"))
    original = ModelBundle.load(reduced_dir)
    assert bundle.variants["onnx-int8"] == original.variants["onnx-int8"]
    assert bundle.files["model.int8.onnx"] == original.files["model.int8.onnx"]
    assert "onnx-fp32" in bundle.variants


def test_reduced_variant_joins_an_earlier_export(reduced_dir, tiny_bundle_dir, tmp_path):
    """A directory that holds TorchScript only gains int8 and the fp32 that it falls back on."""
    out = tmp_path / "out"
    plain = ModelBundle.load(tiny_bundle_dir)
    shutil.copytree(tiny_bundle_dir, out)
    (out / "model.onnx").unlink()
    files = {n: h for n, h in plain.files.items() if n != "model.onnx"}
    script = {"torchscript-fp32": plain.variants["torchscript-fp32"]}
    replace(plain, path=out, files=files, variants=script).save()
    bundle = export_bundle(ExportConfig(bundle=reduced_dir, int8=True, out=out))
    assert set(bundle.whole) == {"onnx-fp32", "torchscript-fp32", "onnx-int8"}


def test_carried_variant_that_drifted_is_refused(reduced_copy, tmp_path):
    bundle = ModelBundle.load(reduced_copy)
    int8 = bundle.variants["onnx-int8"]
    better = replace(int8, parity={**int8.parity, "golden_max_difference": 0.0})
    replace(bundle, variants={**bundle.variants, "onnx-int8": better}).save()
    with pytest.raises(ExportError, match=r"is .* off on a golden image") as refusal:
        export_bundle(ExportConfig(bundle=reduced_copy, int8=True, out=tmp_path / "out"))
    assert "--calibration" in str(refusal.value)


def test_nothing_to_take_over_raises(tiny_bundle_dir, tmp_path):
    with pytest.raises(ExportError, match=r"has no onnx-int8 to take over.*--calibration DIR"):
        export_bundle(ExportConfig(bundle=tiny_bundle_dir, int8=True, out=tmp_path / "out"))


def test_plain_export_keeps_reduced_variants(reduced_copy):
    before = ModelBundle.load(reduced_copy)
    after = export_bundle(ExportConfig(bundle=reduced_copy, onnx=True))
    for name in ("onnx-int8", "onnx-fp16"):
        assert after.variants[name] == before.variants[name]


def test_evidence_without_labels_has_no_quality(tiny_bundle_dir, images, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for photo in images.rglob("*.png"):
        shutil.copy(photo, flat)
    bundle = export_bundle(
        config(int8=False, fp16=True, bundle=tiny_bundle_dir, images=flat, out=tmp_path / "out")
    )
    assert "roc_auc" not in bundle.variants["onnx-fp16"].parity


def test_export_config_rejects_impossible_photo_options(tmp_path):
    (tmp_path / "photos").mkdir()
    photos, missing = tmp_path / "photos", tmp_path / "missing"
    with pytest.raises(UsageError, match="not a folder with photos to calibrate on"):
        ExportConfig(int8=True, calibration=missing)
    with pytest.raises(UsageError, match="--calibration serves --int8 and --fp16 only"):
        ExportConfig(onnx=True, calibration=photos)
    with pytest.raises(UsageError, match="add --calibration DIR"):
        ExportConfig(int8=True, images=photos)
    with pytest.raises(SourceError, match="no images below"):
        gather_photos(ExportConfig(int8=True, calibration=photos))
    assert set(ExportConfig(int8=True, fp16=True).reduced) == {"onnx-int8", "onnx-fp16"}
    assert not ExportConfig(int8=True).exact


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--int8", "--images", "."], "add --calibration DIR"),
        (["--int8"], "add --calibration DIR"),
        (["--int8", "--calibration", "nowhere"], "nowhere is not a folder"),
        (["--int8", "--calibration", ".", "--images-limit", "0"], "at least one image"),
    ],
)
def test_errors_on_the_command_line(tiny_bundle_dir, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    command = ["export", str(tiny_bundle_dir), "--out", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(app, command)
    assert message in str(result.exception) and "\n" not in str(result.exception)


def test_the_command_line_says_what_was_found(reduced_dir, tmp_path):
    command = ["export", str(reduced_dir), "--int8", "--fp16", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.exception
    first, second, *_dense = result.stdout.splitlines()
    assert "model.int8.onnx" in first and "judged again in fp32, no verdicts differ" in first
    assert "model.fp16.onnx" in second


@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason="the training photos are not on this machine")
def test_the_shipped_model_in_int8_on_real_photos(tmp_path):
    from export.int8 import quantise_to
    from export.photos import pick_photos, refs_to
    from inspector.model.bundle import DEFAULT_PATH, Variant

    shipped = ModelBundle.load(DEFAULT_PATH)
    from inspector.model.stamp import model_metadata
    from inspector.workers.loader import load_batches

    refs = refs_to(pick_photos(REAL_PHOTOS, 36))
    (batch,) = load_batches(refs, shipped.preprocess, batch_size=36, workers=0)
    calibrating, others = batch.pixels_NHWC[::2], batch.pixels_NHWC[1::2]

    quantise_to(
        shipped.file("model.onnx"), tmp_path / "int8.onnx", calibrating, model_metadata(shipped)
    )
    int8 = Variant(file="int8.onnx", backend="onnxruntime", precision="int8")
    draft = replace(shipped, path=tmp_path, variants={"onnx-int8": int8})
    exact = open_backend(shipped, device="cpu").run(others)
    quick = open_backend(draft, device="cpu", precision="int8").run(others)
    moved = np.abs(log_odds(quick.p_crack_N) - log_odds(exact.p_crack_N))
    assert moved.mean() < 0.3 and moved.max() < 1.5
