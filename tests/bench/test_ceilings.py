"""The machine's own ceilings: each is measured or says why not, and means what it says."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import ceilings
from bench.ceilings import TURNS, add_shares, limited_by, main, percent_of
from bench.results import ENGINE, SCAN, Case, Ceiling
from bench.run import finish
from inspector.core.machine import usable_cores
from inspector.model.preprocess import PreprocessSpec
from inspector.synthesis import Kind, make_scene

SPEC = PreprocessSpec()


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    for number in range(3):
        scene = make_scene(np.random.default_rng(number), 227, 227, Kind.CRACK).pixels
        Image.fromarray(scene).save(folder / f"{number} #%20.jpg", quality=95)
    return sorted(folder.iterdir())


def test_program_prints_every_ceiling_or_the_reason(tiles, tmp_path, monkeypatch, capsys):
    """No photos, so one is not measured."""
    monkeypatch.setattr(ceilings, "_SIDES", (64, 128))
    request = tmp_path / "request.json"
    wanted = {"tiles": list(map(str, tiles)), "photos": [], "preprocess": SPEC.to_json()}
    request.write_text(json.dumps(wanted | {"seconds": 0.2, "device": "cpu"}), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["ceilings", str(request)])
    main()
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert list(found) == ["fp32", "int8", "bf16", "jpeg_tiles", "jpeg_photos"]
    assert found["jpeg_photos"]["samples"] == []
    assert "no such image" in found["jpeg_photos"]["reason"]
    for name in set(found) - {"jpeg_photos"}:
        assert found[name]["reason"] == "" and len(found[name]["samples"]) == TURNS
    # Orders of magnitude: a figure in another unit would be a thousand times as high or low.
    assert 0.5 < median(found["fp32"]["samples"]) < 100_000
    assert 5 < median(found["jpeg_tiles"]["samples"]) < 50_000


@pytest.mark.parametrize("operator", ["MatMul", "MatMulInteger"])
def test_onnx_products_are_right(operator):
    """A kernel that multiplied less than it should would be a ceiling that nothing reaches."""
    run: Any = ceilings._onnx_product(operator, 8)
    run()
    (bound,) = run.args
    (found,) = bound.copy_outputs_to_cpu()
    left, right = np.random.default_rng(0).random((2, 8, 8), np.float32)
    if operator == "MatMulInteger":
        left, right = (255 * left).astype(np.uint8), (127 * right - 64).astype(np.int8)
        assert (found == left.astype(int) @ right.astype(int)).all()
    else:
        np.testing.assert_allclose(found, left @ right, rtol=1e-5)


def test_fastest_product_counts_and_those_without_time_are_left_out():
    ran = []

    def make(side):
        def run():
            ran.append(side)
            time.sleep(2e-9 * side**3 / 20)  # as if at 20 Gop/s

        return run

    turn = ceilings._multiplying(make, (256, 512, 2048))
    assert turn(0.05) == pytest.approx(20, rel=0.5)
    assert set(ran) == {256, 512}


def test_one_ceiling_that_fails_costs_no_other():
    def breaks():
        raise RuntimeError("/a/b/c.so broke\nin two lines")

    def ceiling():
        return Ceiling(what="", unit="x/s", samples=[], how="")

    found = ceilings._measure(
        {"good": (ceiling(), lambda: lambda seconds: 4.0), "bad": (ceiling(), breaks)}, 0.01
    )
    assert found["good"].samples == [4.0] * TURNS and found["good"].peak == 4.0
    assert (found["bad"].reason, found["bad"].peak) == ("c.so broke in two lines", None)


def test_shares_are_those_of_the_highest_samples():
    engine = Case(id="engine/a int8/8", level=ENGINE, name="a int8", input="pixels",
                  precision="int8", device="cpu", rates=[50.0, 100.0, 90.0])  # fmt: skip
    scan = Case(id="scan/a int8/tiles", level=SCAN, name="a int8", input="tiles",
                precision="int8", device="cpu", rates=[60.0, 61.0, 59.0])  # fmt: skip
    found = {
        "int8": Ceiling(what="", unit="", samples=[200.0, 360.0], how=""),
        "jpeg_tiles": Ceiling(what="", unit="", samples=[600.0], how=""),
    }
    finish([engine, scan], [])
    add_shares([engine, scan], found, per_image=2e9)
    assert engine.shares == {"int8 arithmetic": pytest.approx(90 * 2 / 360)}
    assert scan.shares["engine alone"] == pytest.approx(0.6)
    assert scan.shares["JPEG decoding"] == pytest.approx(60 / (600 * usable_cores()))
    native = replace(scan, input="native", shares={})
    add_shares([engine, native], found, per_image=2e9)
    assert "engine alone" not in native.shares, "a photo is many tiles"
    assert (limited_by(engine), limited_by(scan)) == ("int8 arithmetic", "engine alone")
    assert percent_of(1.02) == "102 % (measured too low)"
