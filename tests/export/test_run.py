"""A whole export: what is refused, what is kept, what is published."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from export import ExportConfig, export_bundle
from export.gates import gate_exact
from export.run import _WRITERS
from inspector.core.untrusted import sha256_of
from inspector.engines.parity import Answers, ParityReport, parity
from inspector.errors import BundleError, ExportError, OutputError, SourceError, UsageError
from inspector.model.bundle import (
    BUNDLE_JSON,
    DEFAULT_PATH,
    GOLDEN,
    WEIGHTS,
    ModelBundle,
)
from inspector.model.golden import read_golden
from inspector.model.network import DeployedModel, load_deployed
from inspector.synthesis import Kind, make_scene

REAL_PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "train"


@pytest.fixture
def plain_dir(tiny_bundle, tmp_path):
    """The tiny bundle as training leaves it: weights only."""
    path = tmp_path / "plain"
    path.mkdir()
    shutil.copy(tiny_bundle.file(WEIGHTS), path)
    files = {WEIGHTS: tiny_bundle.files[WEIGHTS]}
    replace(tiny_bundle, path=path, files=files, variants={}).save()
    return path


@pytest.fixture
def full_dir(tiny_bundle_dir, tmp_path):
    return shutil.copytree(tiny_bundle_dir, tmp_path / "full")


@pytest.fixture
def photos(tmp_path):
    """A nested folder of photos of several sizes and formats, one of them broken."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "photos"
    for place, kind in enumerate([Kind.CRACK, Kind.CLEAN, Kind.STAIN, Kind.CRACK, Kind.SHADOW]):
        file = folder / f"day {place % 2}" / f"wall {place}.{('jpg', 'png')[place % 2]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_scene(rng, 150 + 40 * place, 200, kind).pixels).save(file)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    (folder / "notes.txt").write_text("no photo either")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        os.fspath(f.relative_to(folder)): sha256_of(f) for f in folder.rglob("*") if f.is_file()
    }


def torchscript(path: Path, **options) -> ExportConfig:
    return ExportConfig(bundle=path, torchscript=True, **options)


class SwappedChannels(DeployedModel):
    """Takes BGR for RGB."""

    def forward(self, images):
        return super().forward(images.flip(3))


def wrong_channels(bundle):
    right = load_deployed(bundle)
    return SwappedChannels(right.network, bundle.preprocess, bundle.temperature, 1).eval()


def wrong_normalisation(bundle):
    spec = replace(bundle.preprocess, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return DeployedModel(load_deployed(bundle).network, spec, bundle.temperature, 1).eval()


def wrong_temperature(bundle):
    return DeployedModel(load_deployed(bundle).network, bundle.preprocess, 1.3, 1).eval()


def wrong_labels(bundle):
    model = load_deployed(bundle)
    for tensor in (model.network.fc.weight, model.network.fc.bias):
        tensor.data = tensor.data.flip(0)
    return model


def wrong_map(bundle):
    network = load_deployed(bundle).network
    return DeployedModel(network, bundle.preprocess, bundle.temperature, 0).eval()


WRONG = [
    wrong_channels,
    wrong_normalisation,
    wrong_temperature,
    wrong_labels,
    wrong_map,
]


@pytest.mark.parametrize("make_wrong", WRONG)
def test_the_gate_stops_a_wrong_model(plain_dir, monkeypatch, make_wrong):
    before = contents(plain_dir)
    monkeypatch.setattr("export.run.load_deployed", make_wrong)
    with pytest.raises(ExportError, match="torchscript-fp32 does not predict like") as refusal:
        export_bundle(torchscript(plain_dir))
    assert "nothing was written" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert contents(plain_dir) == before


def test_the_gate_stops_a_wrong_onnx_and_makes_no_target(
    plain_dir, tiny_bundle_dir, tmp_path, monkeypatch
):
    """An exporter that gets one constant of the normalisation wrong."""

    def write_wrong(model, size, metadata, file):
        proto = onnx.load(tiny_bundle_dir / "model.onnx")
        scale = next(w for w in proto.graph.initializer if w.name == "scale")
        values = numpy_helper.to_array(scale) * np.float32(1.1)
        scale.CopyFrom(numpy_helper.from_array(values, scale.name))
        onnx.save(proto, file)

    monkeypatch.setitem(_WRITERS, "onnxruntime", write_wrong)
    target = tmp_path / "not" / "yet"
    with pytest.raises(ExportError, match="onnx-fp32 does not predict like") as refusal:
        export_bundle(ExportConfig(bundle=plain_dir, onnx=True, out=target))
    assert "instead of" in str(refusal.value)
    assert not target.parent.exists()


def report(**changes) -> ParityReport:
    worst = Answers("wall.jpg", 0.25, 0.25 + changes.get("max_difference", 0.0))
    values = {
        "images": 3,
        "max_difference": 0.0,
        "mean_difference": 0.0,
        "max_cam_difference": 0.0,
        "max_ood_difference": 0.0,
        "worst": worst,
        "verdict_flips": (),
    }
    return ParityReport(**{**values, **changes})


def test_gate_names_the_image_and_both_answers():
    gate_exact("onnx-fp32", report(max_difference=9e-5, max_cam_difference=9e-4))
    with pytest.raises(ExportError, match=r"wall\.jpg has p_crack 0\.251000 instead of 0\.250000"):
        gate_exact("onnx-fp32", report(max_difference=1e-3))
    with pytest.raises(ExportError, match=r"out-of-distribution scores differ by 0\.002"):
        gate_exact("onnx-fp32", report(max_ood_difference=2e-3))
    flip = Answers("edge.jpg", 0.5, 0.4999999)
    with pytest.raises(ExportError, match=r"1 of 3 verdicts differ; edge\.jpg"):
        gate_exact("onnx-fp32", report(max_difference=1e-7, verdict_flips=(flip,)))


def test_export_compares_the_users_photos(plain_dir, photos):
    bundle = export_bundle(torchscript(plain_dir, images=photos))
    parity = bundle.variants["torchscript-fp32"].parity
    assert parity["images"] - parity["golden_images"] == 5
    assert "photos" not in str(bundle.variants)


def test_a_flip_on_a_photo_is_named(plain_dir, photos, monkeypatch):
    """Grey golden images do not show exchanged channels; concrete, which is not grey, does."""
    monkeypatch.setattr("export.run.load_deployed", wrong_channels)
    monkeypatch.setattr("export.run.golden_inputs", lambda size: (("g",), grey(size)))
    with pytest.raises(ExportError, match=r"wall \d\.(jpg|png) has p_crack"):
        export_bundle(torchscript(plain_dir, images=photos))


def grey(size):
    return np.full((1, size, size, 3), 128, np.uint8)


def test_photos_are_picked_evenly(photos):
    from export.photos import pick_photos

    assert [f.name for f in pick_photos(photos, 3)] == ["broken.jpg", "wall 2.jpg", "wall 1.png"]
    assert len(pick_photos(photos, 99)) == 6


def test_folder_without_photos_raises(plain_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no images below"):
        export_bundle(torchscript(plain_dir, images=tmp_path / "empty"))


@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason="the training photos are not on this machine")
def test_engines_agree_on_real_photos(tiny_bundle):
    from export.photos import pick_photos, refs_to
    from inspector.engines import open_backend
    from inspector.predict import predict_each

    names = ("torchscript", "onnxruntime", "eager")
    engines = {n: open_backend(tiny_bundle, n, device="cpu") for n in names}
    photos = pick_photos(REAL_PHOTOS, 16)
    found = predict_each(refs_to(photos), tiny_bundle, engines)
    for name in names[:2]:
        report = parity(
            list(map(str, photos)), found["eager"].scores, found[name].scores,
            tiny_bundle.thresholds,
        )  # fmt: skip
        assert report.images == 16
        gate_exact(name, report)


def test_an_export_repairs_what_it_replaces_and_repeats_its_bytes(full_dir, capfd):
    whole = contents(full_dir)
    golden = read_golden(ModelBundle.load(full_dir))
    (full_dir / "model.onnx").write_bytes(b"damaged")
    (full_dir / "golden.npz").unlink()
    again = read_golden(export_bundle(ExportConfig(bundle=full_dir, onnx=True)))
    # torch's own sums are not the same to the last bit in every run of a process.
    assert (again.names, again.pixels_NHWC.tobytes()) == (
        golden.names,
        golden.pixels_NHWC.tobytes(),
    )
    np.testing.assert_allclose(again.scores.p_crack_N, golden.scores.p_crack_N, atol=1e-6)
    now = contents(full_dir)
    answers = {GOLDEN, BUNDLE_JSON}
    assert {n: now[n] for n in now.keys() - answers} == {
        n: whole[n] for n in whole.keys() - answers
    }
    assert capfd.readouterr() == ("", ""), "the exporter's chatter reached the terminal"


def test_an_export_does_not_repair_what_it_keeps(full_dir):
    (full_dir / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        export_bundle(torchscript(full_dir))


def test_damaged_weights_are_never_exported(full_dir):
    (full_dir / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"weights\.safetensors was changed"):
        export_bundle(ExportConfig(bundle=full_dir))


def test_another_directory_gets_everything(full_dir, tmp_path):
    (full_dir / "MODEL_CARD.md").write_text("# Card")
    ModelBundle.load(full_dir).with_files("MODEL_CARD.md").save()
    before = contents(full_dir)
    target = tmp_path / "a" / "b"
    bundle = export_bundle(torchscript(full_dir, out=target))
    assert bundle.path == target
    assert set(contents(target)) == set(before)
    assert contents(full_dir) == before
    assert ModelBundle.load(target).digest == ModelBundle.load(full_dir).digest


def test_a_second_variant_joins_the_first(plain_dir, full_dir, tmp_path):
    """`--onnx` once and `--torchscript` later, into the same directory."""
    only_onnx = ModelBundle.load(full_dir)
    files = {n: h for n, h in only_onnx.files.items() if n != "model.ts"}
    replace(only_onnx, files=files, variants={"onnx-fp32": only_onnx.variants["onnx-fp32"]}).save()
    (full_dir / "model.ts").unlink()
    bundle = export_bundle(torchscript(plain_dir, out=full_dir))
    assert set(bundle.whole) == {"onnx-fp32", "torchscript-fp32"}


def test_a_directory_with_another_model_is_not_overwritten(full_dir, plain_dir):
    replace(ModelBundle.load(plain_dir), temperature=3.0).save()
    before = contents(full_dir)
    with pytest.raises(OutputError, match="holds another model"):
        export_bundle(torchscript(plain_dir, out=full_dir))
    assert contents(full_dir) == before


def test_a_directory_with_other_things_is_not_written_to(plain_dir, photos):
    before = contents(photos)
    with pytest.raises(OutputError, match="is not empty and no model bundle"):
        export_bundle(torchscript(plain_dir, out=photos))
    assert contents(photos) == before


def test_target_that_is_a_file_raises(plain_dir, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        export_bundle(torchscript(plain_dir, out=tmp_path / "file"))


def test_the_shipped_bundle_is_not_written_to():
    assert ExportConfig().source == DEFAULT_PATH
    assert ExportConfig().target == Path("inspector-model")
    assert ExportConfig(bundle=DEFAULT_PATH).target == Path("inspector-model")
    assert ExportConfig(bundle=Path("mine")).target == Path("mine")


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({}, {"onnx-fp32", "torchscript-fp32"}),
        ({"onnx": True}, {"onnx-fp32"}),
        ({"torchscript": True}, {"torchscript-fp32"}),
        ({"onnx": True, "torchscript": True}, {"onnx-fp32", "torchscript-fp32"}),
    ],
)
def test_no_flag_exports_onnx_and_torchscript(chosen, names):
    assert set(ExportConfig(**chosen).exact) == names


def test_export_config_rejects_impossible_options(tmp_path):
    with pytest.raises(UsageError, match="at least one image"):
        ExportConfig(images_limit=0)
    with pytest.raises(UsageError, match="not a folder"):
        ExportConfig(images=tmp_path / "missing")


def test_importing_the_package_loads_no_torch():
    import subprocess
    import sys

    code = "import sys, export; assert not {'torch', 'onnx', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
