"""`python -m bench engine` on a tiny real model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import bench.engine
import bench.pool
from bench.__main__ import app
from bench.engine import ROUNDS
from bench.pool import load_images
from inspector.backends import open_backend
from inspector.bundle import ModelBundle
from inspector.errors import BackendError, SourceError, UsageError
from inspector.preprocess import PreprocessSpec


def run(out, model, *args):
    options = ["--model", str(model), "--device", "cpu", "--seconds", "0.01", "--out", str(out)]
    ended = CliRunner().invoke(app, ["engine", *options, *args])
    return ended, json.loads((out / "results.json").read_text(encoding="utf-8"))


FP32 = ("--precisions", "fp32", "--cascade", "off")
ALL = ("--backends", "onnxruntime,torchscript,eager")


@pytest.fixture(scope="module", autouse=True)
def little_to_do():
    """Every turn goes over all images; threads on cores that others use wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.engine, "LEAST_IMAGES", 4)
        patch.setattr(bench.engine, "usable_cores", lambda: 1)
        patch.setattr(bench.pool, "usable_cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def whole(tiny_bundle_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("engine")
    ended, results = run(out, tiny_bundle_dir, "--batch-sizes", "1,3", *FP32, *ALL)
    return ended, results, (out / "report.md").read_text(encoding="utf-8")


def rows_of(text):
    """The first table of a report, by name of the case."""
    cells = [[c.strip() for c in x.split("|")[1:-1]] for x in text.splitlines() if x[:1] == "|"]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:] if len(row) == 6}


def test_every_case_is_measured_and_right(whole):
    ended, results, _ = whole
    assert ended.exit_code == 0, ended.output
    names = [f"{b} fp32 x{n}" for b in ("onnxruntime", "torchscript", "eager") for n in (1, 3)]
    assert [case["name"] for case in results["cases"]] == names
    for case in results["cases"]:
        assert case["status"] == "ok"
        assert case["answers"]["largest_difference"] < 1e-4
        assert case["answers"]["images"] == {1: 4, 3: 3}[case["batch_size"]]
        assert len(case["rounds_run_ms"]) == ROUNDS
    for case in results["cases"][:2]:
        assert case["ratio"] == {"median": 1, "min": 1, "max": 1}


def test_figures_follow_from_the_raw_times(whole):
    for case in whole[1]["cases"]:
        rates = [case["batch_size"] * len(t) / sum(t) * 1e3 for t in case["rounds_run_ms"]]
        assert case["images_per_second"]["median"] == pytest.approx(np.median(rates))
        assert case["images_per_second"]["max"] == pytest.approx(max(rates))
        times = np.concatenate(case["rounds_run_ms"])
        assert case["run_ms"]["p95"] == np.percentile(times, 95, method="inverted_cdf")


def test_the_report_and_the_screen_show_the_figures_of_the_json(whole):
    ended, results, report = whole
    rows = rows_of(report)
    assert rows_of(ended.stdout) == rows
    assert max(map(len, ended.stdout.splitlines()[:10])) <= 80
    assert set(rows) == {case["name"] for case in results["cases"]}
    for case in results["cases"]:
        row = rows[case["name"]]
        rate, low, high = row["images/s (range)"].rstrip(")").replace(" (", "..").split("..")
        shown = [rate, low, high, row["ms p50"], row["p95"], row["ratio"]]
        measured = [case["images_per_second"][key] for key in ("median", "min", "max")]
        measured += [case["run_ms"]["p50"], case["run_ms"]["p95"], case["ratio"]["median"]]
        assert [float(text) for text in shown] == pytest.approx(measured, rel=5.1e-3, abs=5.1e-4)
    assert results["system"]["cpu"] in report
    assert "no photos" in report


class SwappedChannels:
    """A real engine that is given BGR."""

    def __init__(self, backend):
        self.name, self.device, self.providers = backend.name, backend.device, backend.providers
        self.stages = backend.stages
        self.run = lambda pixels: backend.run(np.ascontiguousarray(pixels[..., ::-1]))
        self.close = backend.close


def test_an_engine_that_answers_wrong_fails_the_bench(tiny_bundle_dir, tmp_path, monkeypatch):
    def open_wrong(bundle, name, **options):
        backend = open_backend(bundle, name, **options)
        return SwappedChannels(backend) if name == "torchscript" else backend

    monkeypatch.setattr(bench.engine, "open_backend", open_wrong)
    args = ["--backends", "onnxruntime,torchscript", "--batch-sizes", "8", *FP32]
    ended, results = run(tmp_path, tiny_bundle_dir, *args)
    assert ended.exit_code == 1
    right, wrong = results["cases"]
    assert (right["status"], wrong["status"]) == ("ok", "failed")
    assert "probabilities are wrong" in ended.stdout
    assert "failed" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_missing_variant_is_listed_with_its_reason(tiny_bundle_dir, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_bundle_dir, copy)
    bundle = ModelBundle.load(copy)
    kept = {k: v for k, v in bundle.variants.items() if v.backend != "torchscript"}
    replace(bundle, variants=kept).save()
    args = ["--backends", "torchscript,onnxruntime", "--batch-sizes", "1", *FP32]
    ended, results = run(tmp_path / "out", copy, *args)
    missing, present = results["cases"]
    assert ended.exit_code == 0
    assert (missing["status"], present["status"]) == ("unavailable", "ok")
    assert "has no fp32 variant for torchscript" in missing["reason"]
    assert "torchscript fp32 unavailable: " in ended.stdout
    everything = json.dumps(missing) + json.dumps(results["system"])
    assert str(tmp_path) not in everything

    ended, _ = run(tmp_path / "out", copy, "--backends", "torchscript", *FP32)
    assert ended.exit_code == 1, "nothing was measured"


def test_precisions_and_cascades_that_are_missing_are_listed_once(tiny_bundle_dir, tmp_path):
    args = [
        "--backends",
        "onnxruntime,eager",
        "--precisions",
        "fp32,int8",
        "--batch-sizes",
        "8,16",
    ]
    ended, results = run(tmp_path, tiny_bundle_dir, *args)
    assert ended.exit_code == 0, ended.output
    found = {case["name"]: case["status"] for case in results["cases"]}
    able = ("onnxruntime fp32 x8", "onnxruntime fp32 x16", "eager fp32 x8", "eager fp32 x16")
    assert {name for name, status in found.items() if status == "ok"} == set(able)
    unable = set(found) - set(able)
    assert unable == {
        f"{engine} {what}"
        for engine in ("onnxruntime", "eager")
        for what in ("fp32 cascade", "int8", "int8 cascade")
    }
    assert all(found[name] == "unavailable" for name in unable)
    assert all(case["reason"] for case in results["cases"] if case["name"] in unable)


def test_a_backend_that_breaks_down_fails_the_bench(tiny_bundle_dir, tmp_path, monkeypatch):
    def open_weak(bundle, name, **options):
        backend = SwappedChannels(open_backend(bundle, name, **options))

        def run(pixels):
            raise BackendError("memory ran out; use a smaller --batch-size")

        backend.run = run
        return backend

    monkeypatch.setattr(bench.engine, "open_backend", open_weak)
    args = ["--backends", "onnxruntime", "--batch-sizes", "8", *FP32]
    ended, results = run(tmp_path, tiny_bundle_dir, *args)
    assert ended.exit_code == 1
    (case,) = results["cases"]
    assert (case["status"], case["images_per_second"]) == ("failed", None)
    assert "memory ran out" in case["reason"]


def test_photos_come_from_the_folder_and_are_repeated(tmp_path):
    for value in (10, 200):
        Image.new("RGB", (64, 64), (value, 0, 0)).save(tmp_path / f"{value:03}.png")
    (tmp_path / "020.png").write_bytes(b"no image")
    pixels_NHWC, origin = load_images(tmp_path, PreprocessSpec(size=64), 5)
    assert pixels_NHWC[:, 0, 0, 0].tolist() == [10, 200, 10, 200, 10]
    assert origin == f"2 photos from {tmp_path}, repeated to 5"


def test_mistakes_are_named(tmp_path):
    with pytest.raises(SourceError, match="no photo that can be decoded"):
        load_images(tmp_path, PreprocessSpec(size=64), 5)
    with pytest.raises(UsageError, match="onnxrumtime"):
        bench.engine.EngineConfig(backends=("onnxrumtime",))
    with pytest.raises(UsageError, match="int7"):
        bench.engine.EngineConfig(precisions=("int7",))
    with pytest.raises(UsageError, match="--cascade 'maybe'"):
        bench.engine.EngineConfig(cascade="maybe")
    assert CliRunner().invoke(app, ["engine", "--batch-sizes", "1,x"]).exit_code == 2


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from bench.__main__ import app; app(['--help'], standalone_mode=False); "
        "heavy = {'torch', 'numpy', 'onnxruntime', 'PIL', 'timm'}; "
        "print({m.split('.')[0] for m in sys.modules} & heavy)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
