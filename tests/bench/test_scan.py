"""`python -m bench scan` on a few real files and a tiny real model."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from dataclasses import asdict
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bench import eager_loop
from bench.__main__ import app
from bench.checks import Rule, examine
from bench.reference import Judge
from bench.report import figure
from bench.runs import read_answers
from bench.scan import ScanBenchConfig, bench_scan
from inspector.backends import open_backend
from inspector.data.source import Discovery
from inspector.data.synthesis import Kind, make_scene
from inspector.errors import SourceError

_ORIENTATION = 0x0112
_ROTATED = 6


def scene(seed: int, height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(make_scene(rng, height, width, Kind.CRACK).pixels)


def run(source, model, out, cases, *args):
    options = ["--model", str(model), "--device", "cpu", "--out", str(out), "--rounds", "1"]
    ended = CliRunner().invoke(app, ["scan", str(source), *options, "--cases", cases, *args])
    assert ended.exit_code in (0, 1), ended.output
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return ended, results, {case["name"]: case for case in results["cases"]}


def test_six_files(tiny_bundle_dir, tmp_path):
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif[_ORIENTATION] = _ROTATED
    scene(1, 81, 120).save(photos / "a rotated.jpg", exif=exif)
    scene(2, 600, 800).save(photos / "b scaled while decoded.jpg")
    scene(3, 64, 65).save(photos / "sub" / "c cropped.png")
    scene(4, 90, 70).convert("P").save(photos / "sub" / "d palette.png")
    scene(5, 90, 70).convert("L").save(photos / "z grey.jpg")
    (photos / "e broken.jpg").write_bytes((photos / "z grey.jpg").read_bytes()[:700])

    out = tmp_path / "out"
    names = "scan-fp32,scan-int8,afternoon"
    ended, results, cases = run(photos, tiny_bundle_dir, out, names, "--rounds", "2")
    assert ended.exit_code == 0, ended.output
    assert results["settings"]["files"] == 6
    assert results["settings"]["other verdicts at full size"] in range(2)
    scan, loop = cases["scan-fp32"], cases["afternoon"]
    for case in (scan, loop):
        assert case["status"] == "ok"
        assert case["answers"]["largest_difference"] < 1e-4
        assert case["answers"]["images"] == 5
        rates = [6 / wall for wall in case["rounds_wall_s"]]
        assert len(rates) == 2
        assert case["images_per_second"]["median"] == pytest.approx(np.median(rates))
        for start_up_s, wall_s in zip(
            case["rounds_start_up_s"], case["rounds_wall_s"], strict=True
        ):
            assert 0 < start_up_s < wall_s
    walls = zip(loop["rounds_wall_s"], scan["rounds_wall_s"], strict=True)
    ratios = [p / s for p, s in walls]
    assert scan["ratio_to_afternoon"]["median"] == pytest.approx(np.median(ratios))
    assert scan["ratio_to_timm"] is None
    assert_engine_alone(scan)

    missing = cases["scan-int8"]
    assert missing["status"] == "unavailable"
    assert missing["images_per_second"] is None
    assert "scan-int8 unavailable: " in ended.stdout
    report = (out / "report.md").read_text(encoding="utf-8")
    assert f" {figure(scan['ratio_to_afternoon']['median'])} " in report
    assert "plain loop that one would write in an afternoon" in " ".join(report.split())
    assert str(tmp_path) not in json.dumps(results["cases"])


def assert_engine_alone(scan):
    assert len(scan["rounds_engine_alone"]) == 2
    assert scan["engine"]["stages"] == {"fp32@64": 5}
    loops = [
        6 / (wall - start)
        for wall, start in zip(scan["rounds_wall_s"], scan["rounds_start_up_s"], strict=True)
    ]
    shares = [r / a for r, a in zip(loops, scan["rounds_engine_alone"], strict=True)]
    assert scan["share_of_engine"]["median"] == pytest.approx(np.median(shares))


def test_a_program_that_answers_wrong_fails_the_bench(tiny_bundle_dir, tmp_path):
    """Pillow's convert drops transparency and shows what lies under it; the scan does not."""
    photos = tmp_path / "photos"
    photos.mkdir()
    scene(1, 64, 64).save(photos / "a.png")
    covered = scene(2, 64, 64)
    covered.putalpha(0)
    covered.save(photos / "b.png")
    names = "scan-fp32,afternoon"
    ended, _, cases = run(photos, tiny_bundle_dir, tmp_path / "out", names, "--no-alone")
    assert ended.exit_code == 1
    assert cases["scan-fp32"]["status"] == "ok"
    assert cases["afternoon"]["status"] == "failed"
    assert "1 of 2 probabilities are wrong" in cases["afternoon"]["reason"]
    assert "1 of 2 probabilities are wrong" in ended.stdout
    assert cases["scan-fp32"]["ratio_to_afternoon"] is None


@pytest.mark.skipif(find_spec("timm") is None, reason="timm, of the bench extra, is missing")
def test_timm_judges_the_same_tiles(tiny_bundle_dir, sample_tiles, tmp_path):
    args = ["--limit", "8", "--no-tune-peers"]
    ended, results, cases = run(sample_tiles, tiny_bundle_dir, tmp_path, "timm", *args)
    assert ended.exit_code == 0, ended.output
    assert results["settings"]["files"] == 8
    assert results["settings"]["timm setting"] == "not tuned"
    assert cases["timm"]["answers"]["rule"] == "own pixels"
    assert cases["timm"]["answers"]["images"] == 8
    assert cases["timm"]["ratio_to_timm"] == {"median": 1, "min": 1, "max": 1}


@pytest.mark.skipif(find_spec("timm") is None, reason="timm, of the bench extra, is missing")
def test_the_fastest_setting_of_timm_is_found(tmp_path):
    from bench.timm_loop import TimmSetting, tune

    class Machine:
        """On which contiguous pixels, a large batch and no worker are fast."""

        device = SimpleNamespace(type="cpu")

        def run(self, source, setting):
            slow = (setting.workers > 0) + setting.channels_last + (setting.batch_size < 128)
            return ["photo"] * 8, [], time.perf_counter() - 1 - slow

    found = tune(Machine(), tmp_path)  # type: ignore[arg-type]
    best = TimmSetting(workers=0, channels_last=False, batch_size=128)
    assert {**found["best"], "prefetcher": False} == asdict(best)
    assert len(found["tried"]) == len({json.dumps(t, sort_keys=True) for t in found["tried"]})


def test_eager_torch_in_a_loop(tiny_bundle, sample_tiles, tmp_path, monkeypatch, capsys):
    table = tmp_path / "table.parquet"
    monkeypatch.setattr(sys, "argv", ["", str(sample_tiles), str(tiny_bundle.path), str(table)])
    eager_loop.main()
    assert json.loads(capsys.readouterr().out)["loop_seconds"] > 0
    with closing(open_backend(tiny_bundle, device="cpu")) as engine:
        judge = Judge(engine, tiny_bundle.thresholds)
        refs = list(Discovery([str(sample_tiles)]))
        expected = judge.answers(refs, tiny_bundle.preprocess)
    found, rows = read_answers(table)
    assert rows == len(refs) > 10
    outcome = examine(expected, found, rows, Rule.PROBABILITIES, tiny_bundle.thresholds)
    assert outcome.trouble == ""


def test_nothing_to_measure_is_said(tiny_bundle_dir, tmp_path):
    config = ScanBenchConfig(source=tmp_path, model=tiny_bundle_dir)
    with pytest.raises(SourceError, match="holds no photos"):
        bench_scan(config)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(SourceError, match="no photo that can be decoded"):
        bench_scan(config)
