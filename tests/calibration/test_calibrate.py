"""`inspector calibrate` from labelled photos to a copy of the bundle that scans with them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from contextlib import closing

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from export.fp16 import halve_to
from export.gates import LEAST_FIRST
from export.restamp import with_dense_thresholds, with_thresholds, write_copy
from inspector.calibration.run import CalibrateConfig, Calibrated, calibrate, calibrated_lines
from inspector.calibration.thresholds import Costs, Rule
from inspector.cli import app
from inspector.engines import open_backend
from inspector.errors import DataError, OutputError, UsageError
from inspector.labelled.fingerprints import FINGERPRINTS, fingerprint, save, trained_on_of
from inspector.labelled.folder import find_labelled
from inspector.model.bundle import DenseView, ModelBundle, Thresholds, Variant
from inspector.model.golden import read_golden
from inspector.model.stamp import model_metadata
from inspector.scanning import RejudgeConfig, ScanConfig, rejudge, scan
from inspector.types import Scores
from tests.engines.narrow import with_narrow

PHOTOS = 40


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, tiny_bundle):
    """Photos of two walls, labelled by what the model says of them, some wrongly; a broken one."""
    root = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    size = tiny_bundle.preprocess.size
    golden = read_golden(tiny_bundle).pixels_NHWC
    shots = np.stack([golden[k % len(golden)] for k in range(2 * PHOTOS)]).astype(float)
    shots = np.clip(shots + rng.normal(0, 12, shots.shape), 0, 255).astype(np.uint8)
    with closing(open_backend(tiny_bundle, device="cpu")) as backend:
        p_N = backend.run(shots).p_crack_N
    is_crack_N = (p_N > np.median(p_N)) ^ (rng.random(len(p_N)) < 0.05)
    for k, pixels in enumerate(shots):
        name = "Positive" if is_crack_N[k] else "Negative"
        file = root / f"wall{k % 2}" / name / f"{k:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    (root / "wall0" / "Negative" / "broken.jpg").write_bytes(b"no photo")
    assert size == shots.shape[1]
    return root


@pytest.fixture
def full_bundle(tiny_bundle_copy):
    """With every kind of file that thresholds are written into or that depends on them."""
    bundle, path = tiny_bundle_copy, tiny_bundle_copy.path
    exact = path / "model.onnx"
    halve_to(exact, path / "model.fp16.onnx", model_metadata(bundle))
    (path / "MODEL_CARD.md").write_text("# Card\n", encoding="utf-8")
    half = Variant(
        file="model.fp16.onnx", backend="onnxruntime", precision="fp16", margin=0.05,
        parity={"deferred": 0.01},
    )  # fmt: skip
    variants = {**bundle.variants, "onnx-fp16": half}
    bundle.with_files("model.fp16.onnx", "MODEL_CARD.md", variants=variants).save()
    return ModelBundle.load(path)


@pytest.fixture
def unsure_bundle(full_bundle):
    """With an fp16 variant whose margin covers every probability."""
    half = dataclasses.replace(full_bundle.variants["onnx-fp16"], margin=50.0)
    dataclasses.replace(full_bundle, variants={**full_bundle.variants, "onnx-fp16": half}).save()
    return ModelBundle.load(full_bundle.path)


def run(bundle, labelled, out, **changes):
    config = CalibrateConfig(
        data=labelled, model=bundle.path, out=out, device="cpu", workers=0, **changes
    )
    return calibrate(config)


def answered(p_N):
    count = len(p_N)
    known = np.zeros((count, 2, 2), np.float32), np.ones(count, np.float32)
    return Scores(p_N.astype(np.float32), *known)


def test_the_copy_has_the_thresholds_everywhere(full_bundle, labelled, tmp_path):
    result = run(full_bundle, labelled, tmp_path / "out", rule=Rule(target_recall=0.8))
    copy = ModelBundle.load(tmp_path / "out")
    assert copy.thresholds == result.thresholds != full_bundle.thresholds
    assert copy.digest != full_bundle.digest
    assert len(result.failed) == 1 and result.failed[0].endswith("not_an_image")
    assert "on 80 labelled photos" in copy.thresholds.chosen
    images = read_golden(copy)
    copy = dataclasses.replace(copy, trusted=True)
    # Each engine compares what its file says about itself with the bundle.
    for engine, precision in (
        ("onnxruntime", "fp32"), ("torchscript", "fp32"), ("onnxruntime", "fp16"),
    ):  # fmt: skip
        with closing(open_backend(copy, engine, device="cpu", precision=precision)) as backend:
            answers = backend.run(images.pixels_NHWC).p_crack_N
        assert np.abs(answers - images.scores.p_crack_N).max() < 0.02
    assert full_bundle.digest in copy.file("MODEL_CARD.md").read_text(encoding="utf-8")
    full_bundle.verify()


def test_a_table_goes_on_with_a_variant_that_defers_nearly_everything(
    unsure_bundle, labelled, tmp_path
):
    asked = {"sources": (str(labelled),), "out": tmp_path / "table", "workers": 0, "device": "cpu"}
    before = scan(ScanConfig(**asked, model=unsure_bundle.path, precision="fp16"))
    result = run(unsure_bundle, labelled, tmp_path / "out", rule=Rule(target_recall=0.92))
    assert (result.useless, result.left_out) == (("fp16",), ())
    done = rejudge(RejudgeConfig(out=tmp_path / "table", model=tmp_path / "out"))
    assert done.again == 0
    assert done.thresholds["clear_below"] == result.thresholds.clear_below
    after = scan(ScanConfig(**asked, model=tmp_path / "out"))
    assert after.already_done == before.table.rows == 81 and after.run.rows == 0


def test_a_table_whose_variant_the_model_lacks_is_told_a_way_out(full_bundle, labelled, tmp_path):
    out = tmp_path / "table"
    asked = {"sources": (str(labelled),), "out": out, "workers": 0, "device": "cpu"}
    scan(ScanConfig(**asked, model=full_bundle.path, precision="fp16", limit=4))
    copy = run(full_bundle, labelled, tmp_path / "copy", rule=Rule(target_recall=0.8)).bundle
    copy.without({"model.fp16.onnx"}).save()
    with pytest.raises(OutputError, match=r"no fp16 variant.*inspector scan PHOTOS --model"):
        rejudge(RejudgeConfig(out=out, model=copy.path))


def test_a_margin_is_widened_to_what_the_photos_need(full_bundle):
    reference = np.array([0.19, 0.5] * 100, np.float32)
    thresholds = Thresholds(clear_below=0.2, crack_from=0.9)
    for moved, kept in ((0.19, 0.05), (0.25, None)):
        candidate = np.where(reference < 0.3, np.float32(moved), reference)
        answers = {"fp32": answered(reference), "fp16": answered(candidate)}
        changed, _ = with_thresholds(full_bundle, thresholds, answers)
        margin = changed.variants["onnx-fp16"].margin
        assert margin == kept if kept else margin > np.log(0.25 / 0.75) - np.log(0.2 / 0.8)
    far = {"fp32": answered(np.full(100, 0.19)), "fp16": answered(np.full(100, 0.25))}
    changed, useless = with_thresholds(full_bundle, thresholds, far)
    assert useless == ("fp16",)
    assert changed.variants["onnx-fp16"].parity["deferred"] == 1.0


def test_calibrate_counts_groups(tiny_bundle, labelled, tmp_path):
    table = tmp_path / "groups.csv"
    rows = [f"{p.relative_to(labelled)},{int(p.stem) // 8}" for p in labelled.rglob("*.png")]
    table.write_text("\n".join(["file,group", *rows]), encoding="utf-8")
    rule = Rule(target_recall=0.7, target_specificity=0.7)
    result = run(tiny_bundle, labelled, None, groups=table, rule=rule)
    assert "on average over groups" in result.thresholds.chosen
    assert result.thresholds.evidence["missed"]["counted"] == "groups"
    assert result.thresholds.evidence["missed"]["parts"][0]["units"] == 10
    assert result.bundle == tiny_bundle


def test_calibrate_by_costs(tiny_bundle, labelled):
    dear = run(tiny_bundle, labelled, None, rule=Rule(costs=Costs(miss=500, false_alarm=1)))
    cheap = run(tiny_bundle, labelled, None, rule=Rule(costs=Costs(miss=2, false_alarm=1)))
    assert dear.thresholds.clear_below <= cheap.thresholds.clear_below
    assert dear.before == cheap.before
    assert dear.before["all"]["cracks"] + dear.before["all"]["clears"] == 80


def test_calibrate_rejects_impossible_input(tiny_bundle, labelled, tmp_path):
    with pytest.raises(OutputError, match="not empty"):
        run(tiny_bundle, labelled, tiny_bundle.path)
    broken = tmp_path / "broken"
    for name in ("Positive", "Negative"):
        (broken / name).mkdir(parents=True)
        (broken / name / "x.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 2 images"):
        run(tiny_bundle, broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="batch size"):
        CalibrateConfig(data=broken, batch_size=0)


def invoke(*arguments):
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)])


def test_the_command_says_what_it_chose_and_what_is_slower_now(unsure_bundle, labelled, tmp_path):
    out = tmp_path / "mine"
    done = invoke(
        labelled, "--model", unsure_bundle.path, "--device", "cpu", "--target-recall", "0.92",
        "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "with 95 % confidence at most" in done.stdout
    assert "wall0/Positive" in done.stderr and "measuring" in done.stderr
    assert "fp16 leaves nearly all of these photos to the next precision" in done.stdout
    assert f"inspector export {out} --fp16 --calibration PHOTOS" in done.stdout
    assert f"inspector scan /photos --model {out}" in done.stdout
    saved = json.loads((out / "bundle.json").read_text(encoding="utf-8"))
    assert saved["thresholds"]["evidence"]["rule"]["target_recall"] == 0.92


def test_too_few_photos_change_nothing_and_say_how_many_it_takes(tiny_bundle, labelled, tmp_path):
    out = tmp_path / "mine"
    done = invoke(
        labelled, "--model", tiny_bundle.path, "--device", "cpu", "--target-recall", "0.99",
        "--out", out,
    )  # fmt: skip
    assert isinstance(done.exception, DataError) and done.exception.exit_code == 1
    words = str(done.exception)
    assert "for 1 % it takes 299" in words and "stay as they are" in words
    assert "clear below 0.3, crack from 0.7" in words
    assert not out.exists()


def test_clear_is_never_laxer_without_the_flag(tiny_bundle_copy, labelled, tmp_path):
    own = Thresholds(clear_below=0.01, crack_from=0.99)
    strict, _ = with_thresholds(tiny_bundle_copy, own, {})
    write_copy(tiny_bundle_copy, strict, tmp_path / "strict")
    lax = ("--model", tmp_path / "strict", "--device", "cpu", "--target-recall", "0.7")
    held = invoke(labelled, *lax, "--out", tmp_path / "held")
    assert held.exit_code == 0, held.output
    assert ModelBundle.load(tmp_path / "held").thresholds.clear_below == 0.01
    assert "clear is kept below the model's own 0.01" in held.stdout
    assert "WARNING" not in held.stderr
    allowed = invoke(labelled, *lax, "--allow-laxer", "--out", tmp_path / "laxer")
    assert allowed.exit_code == 0, allowed.output
    assert ModelBundle.load(tmp_path / "laxer").thresholds.clear_below > 0.01
    assert "WARNING: laxer than the model's own" in allowed.stderr


def test_calibrate_rejects_a_target_that_is_no_share():
    done = invoke("nowhere", "--target-recall", "99")
    assert isinstance(done.exception, UsageError) and "not between 0 and 1" in str(done.exception)


def test_a_narrow_pair_follows_its_thresholds_or_stays_behind(tiny_bundle_dir, tmp_path):
    dense = DenseView(temperature=1.0, shift=0.0, thresholds=Thresholds(clear_below=0.2))
    bundle = with_narrow(tiny_bundle_dir, tmp_path, dense=dense)
    logits = np.linspace(-9, 9, 400)
    near = np.where(np.abs(logits - 2) < 0.3, -logits, logits)  # some answers are very wrong
    reference, candidate = (answered(1 / (1 + np.exp(-x))) for x in (logits, near))
    thresholds = Thresholds(clear_below=0.5, crack_from=0.5)
    changed, useless = with_thresholds(bundle, thresholds, {"fp32": reference, "narrow": candidate})
    tiles = changed.variants["onnx-narrow"]
    assert not useless and "dense-narrow" in changed.variants
    assert tiles.margin > 2.2 and tiles.crack_margin == LEAST_FIRST[1]
    changed, useless = with_thresholds(
        bundle, thresholds, {"fp32": reference, "narrow": answered(1 / (1 + np.exp(logits)))}
    )
    assert useless == ("narrow",) and changed.variants.keys() == bundle.variants.keys()
    for clear_below, left_out in ((0.2, ()), (0.3, ()), (0.1, ("dense-narrow",))):
        own = Thresholds(clear_below=clear_below)
        changed, told = with_dense_thresholds(bundle, own)
        assert told == left_out
        assert changed.variants.keys() == bundle.variants.keys() - set(left_out)


def test_what_the_new_thresholds_cost_is_told(tiny_bundle, tmp_path):
    own = Thresholds(clear_below=0.02)
    result = Calibrated(
        bundle=tiny_bundle, own=own, before={}, failed=(), out=tmp_path / "my walls",
        thresholds=Thresholds(clear_below=0.01, evidence={"claims": (), "counts": {}}),
        left_out=("dense-narrow",), useless=("int8", "narrow"),
    )  # fmt: skip
    told = "\n".join(calibrated_lines(result))
    assert "left out: dense-narrow" in told and "below 0.02 or more" in told
    assert "narrow leaves nearly all of these photos" in told
    assert f"inspector export '{tmp_path}/my walls' --int8 --calibration PHOTOS" in told
    assert "--narrow" not in told


def said_of(bundle, labelled):
    said: list[str] = []
    rule = Rule(target_recall=0.7, target_specificity=0.7)
    config = CalibrateConfig(data=labelled, model=bundle.path, device="cpu", workers=0, rule=rule)
    calibrate(config, say=said.append)
    return "\n".join(said)


def test_photos_that_a_scan_judges_at_their_own_scale_are_counted(
    tiny_bundle, tiny_bundle_dir, labelled, tmp_path
):
    data = shutil.copytree(labelled, tmp_path / "data")
    for file in sorted(data.rglob("*.png"))[:2]:
        with Image.open(file) as image:
            larger = image.resize((128, 97))
        larger.save(file)
    warning = "WARNING: 2 of 80 photos are larger than 96 px; a scan judges those "
    assert f"{warning}tile by tile" in said_of(tiny_bundle, data)
    dense = DenseView(temperature=1.0, shift=0.0)
    bundle = with_narrow(tiny_bundle_dir, tmp_path, dense=dense)
    told = said_of(bundle, data)
    assert f"{warning}at their own scale" in told and "--view dense" in told
    assert "WARNING" not in said_of(bundle, labelled)


def test_photos_that_the_model_has_learned_from_are_told(tiny_bundle_copy, labelled, tmp_path):
    learned = [image for image in find_labelled(labelled) if image.is_crack]
    (tiny_bundle_copy.path / FINGERPRINTS).parent.mkdir()
    save(fingerprint(learned, workers=0), tiny_bundle_copy.path / FINGERPRINTS)
    told = said_of(tiny_bundle_copy, labelled)
    assert "of 81 calibration images" in told and "WARNING" in told
    assert f"same_pixels: {len(learned)}" in told
    assert "what the thresholds promise" in told
    run(tiny_bundle_copy, labelled, tmp_path / "copy", rule=Rule(target_recall=0.7))
    known = trained_on_of(ModelBundle.load(tmp_path / "copy"))
    assert known is not None and len(known) == len(learned)
