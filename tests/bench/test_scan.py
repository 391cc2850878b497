"""`python -m bench scan` on a few real files and a tiny real model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bench.__main__ import app
from bench.report import figure
from bench.scan import compare
from inspector.data.synthesis import Kind, make_scene

_ORIENTATION = 0x0112
_ROTATED = 6


def scene(seed: int, height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(make_scene(rng, height, width, Kind.CRACK).pixels)


def run(source, model, out, *args):
    options = ["--model", str(model), "--device", "cpu", "--out", str(out)]
    ended = CliRunner().invoke(app, ["scan", str(source), *options, *args])
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return ended, results


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
    ended, results = run(photos, tiny_bundle_dir, out, "--rounds", "2")
    assert ended.exit_code == 0, ended.output
    assert results["settings"]["files"] == 6
    scan, loop = results["cases"]
    for case in (scan, loop):
        assert case["status"] == "ok"
        assert case["largest_difference"] < 1e-4
        rates = [6 / wall for wall in case["rounds_wall_s"]]
        assert len(rates) == 2
        assert case["images_per_second"]["median"] == pytest.approx(np.median(rates))
        assert all(
            0 < s < w for s, w in zip(case["rounds_start_up_s"], case["rounds_wall_s"], strict=True)
        )
    walls = zip(loop["rounds_wall_s"], scan["rounds_wall_s"], strict=True)
    assert scan["ratio"]["median"] == pytest.approx(np.median([p / s for p, s in walls]))
    report = (out / "report.md").read_text(encoding="utf-8")
    for value in (scan["ratio"]["median"], loop["start_up_s"]["median"]):
        assert f" {figure(value)} " in report
    assert "plain loop that one would write in an afternoon" in " ".join(report.split())
    assert max(map(len, ended.stdout.splitlines()[:4])) <= 80


def test_a_program_that_answers_wrong_fails_the_bench(tiny_bundle_dir, tmp_path):
    """Pillow's convert drops transparency and shows what lies under it; the scan does not."""
    photos = tmp_path / "photos"
    photos.mkdir()
    scene(1, 64, 64).save(photos / "a.png")
    covered = scene(2, 64, 64)
    covered.putalpha(0)
    covered.save(photos / "b.png")
    ended, results = run(photos, tiny_bundle_dir, tmp_path / "out", "--rounds", "1")
    scan, loop = results["cases"]
    assert ended.exit_code == 1
    assert (scan["status"], loop["status"]) == ("ok", "failed")
    assert "1 of 2 probabilities are wrong" in loop["reason"]
    assert "1 of 2 probabilities are wrong" in ended.stdout


@pytest.mark.parametrize(
    ("found", "rows", "wrong"),
    [
        ({"a": 0.1, "b": 0.9, "c": None}, 3, ""),
        ({"a": 0.10005, "b": 0.9, "c": None}, 3, ""),
        ({"a": 0.9, "b": 0.1, "c": None}, 3, "2 of 3 probabilities"),
        ({"a": 0.1, "b": float("nan"), "c": None}, 3, "1 of 3 probabilities"),
        ({"a": None, "b": 0.9, "c": 0.1}, 3, "judged or refused 2 files"),
        ({"a": 0.1, "b": 0.9}, 2, "2 rows"),
        ({"a": 0.1, "b": 0.9, "c": None}, 4, "4 rows"),
        ({"a": 0.1, "b": 0.9, "d": None}, 3, "not one for each"),
    ],
)
def test_what_is_wrong_is_found(found, rows, wrong):
    said = compare({"a": 0.1, "b": 0.9, "c": None}, found, rows)[1]
    assert wrong in said
    assert bool(said) == bool(wrong)
