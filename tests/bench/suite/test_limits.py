"""The machine's own ceilings: each is measured or says why not, and means what it says."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from statistics import median

import numpy as np
import pytest
from PIL import Image

from bench.suite import limits_files, limits_memory, limits_products
from bench.suite.limits import main
from bench.suite.limits_ceiling import TURNS, Ceiling, UnmeasurableError, fastest, measure
from bench.suite.limits_cuda import cuda_ceilings
from bench.suite.limits_files import decode_ceiling, disk_ceiling
from bench.suite.limits_memory import memory_ceiling
from inspector.model.preprocess import PreprocessSpec
from inspector.synthesis import Kind, make_scene

NAMES = ["memory_copy", "fp32", "bf16", "int8", "jpeg_tiles", "jpeg_photos", "disk_read"]
SPEC = PreprocessSpec()


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    for number in range(3):
        scene = make_scene(np.random.default_rng(number), 227, 227, Kind.CRACK).pixels
        Image.fromarray(scene).save(folder / f"{number} #%20.jpg", quality=95)
    return sorted(folder.iterdir())


def ceiling(prepare, **changes):
    return Ceiling(name="any", what="", unit="x/s", how="", prepare=prepare, **changes)


def test_all_of_them_as_a_program(tiles, tmp_path, monkeypatch, capsys):
    """No photos, so one is not measured."""
    monkeypatch.setattr(limits_products, "IMAGES", (1,))
    monkeypatch.setattr(limits_memory, "memory_bytes", lambda: 2**30)
    request = tmp_path / "request.json"
    wanted = {"tiles": list(map(str, tiles)), "photos": [], "preprocess": SPEC.to_json()}
    request.write_text(json.dumps(wanted | {"seconds": 0.2, "device": "cpu"}), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["limits", str(request)])
    main()
    limits = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert list(limits) == NAMES
    assert limits["jpeg_photos"]["median"] is None
    assert "no such image" in limits["jpeg_photos"]["reason"]
    for name in set(NAMES) - {"jpeg_photos", "disk_read"}:
        found = limits[name]
        assert found["reason"] == ""
        assert len(found["samples"]) == TURNS
        assert found["median"] == pytest.approx(median(found["samples"]))
    # Orders of magnitude: a figure in another unit would be a thousand times as high or low.
    assert 0.1 < limits["memory_copy"]["median"] < 5000
    assert 0.5 < limits["fp32"]["median"] < 100_000
    assert 5 < limits["jpeg_tiles"]["median"] < 50_000
    disk = limits["disk_read"]
    assert bool(disk["reason"]) != bool(disk["samples"])


def test_a_gpu_that_is_not_there_is_listed_with_the_reason():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    found = measure(cuda_ceilings(), 0.01)
    assert list(found) == ["cuda_fp32", "cuda_fp16", "cuda_int8", "cuda_copy"]
    for limit in found.values():
        assert limit["median"] is None
        assert "no CUDA device" in limit["reason"]


def test_every_product_is_right():
    """A kernel that multiplied less than it should would be a ceiling that nothing reaches."""
    shape = (6, 40, 8)
    left, right = limits_products._bytes(shape)
    expected = left.astype(int) @ right.astype(int)
    (found,) = answers(limits_products._onnx_matmul_integer(shape))
    np.testing.assert_array_equal(found, expected)
    (found,) = answers(limits_products._onnx_qlinear_matmul(shape))
    np.testing.assert_allclose(found, np.clip(expected * 0.01, 0, 255), atol=0.51)
    for make in limits_products._float_ways()[:1], limits_products._bfloat_ways():
        for way in make:
            assert tuple(getattr(way(shape)(), "shape", ())) == (6, 8)
    (found,) = answers(limits_products._onnx_matmul(shape))
    assert found.shape == (6, 8)


def answers(run):
    """Of the graph that `run` calls."""
    run()
    (bound,) = run.args
    return bound.copy_outputs_to_cpu()


def test_the_products_are_those_of_the_network():
    """All of ResNet18's 3 x 3 convolutions but the first of each later stage, which halve the side:
    4 of 231 million multiply-adds, then 3 of 231 and one of 116 in each of three stages."""
    work = [limits_products.operations(shape) for shape in limits_products.layer_shapes(1)]
    assert work == pytest.approx([2 * 0.1156] * 4, rel=1e-3)


def test_slow_ways_and_shapes_are_left_out(monkeypatch):
    ran = []

    def way(rate):
        def make(shape):
            def run():
                ran.append((rate, shape))
                time.sleep(limits_products.operations(shape) / rate)

            return run

        return make

    monkeypatch.setattr(limits_products, "IMAGES", (1,))
    turn = limits_products._prepare(lambda: (way(20.0), way(2.0)))
    assert len({shape for rate, shape in ran if rate == 2.0}) == 1
    assert len({shape for rate, shape in ran if rate == 20.0}) == 5
    ran.clear()
    assert turn(0.0) == pytest.approx(20, rel=0.5)
    assert {rate for rate, _ in ran} == {20.0}


def test_fastest_counts_each_kind_of_work():
    slow, fast = (1.0, lambda: time.sleep(0.02)), (10.0, lambda: time.sleep(0.02))
    assert 250 < fastest([slow, fast], 0) <= 500
    assert 25 < fastest([slow], 0.05) <= 50


def test_one_that_fails_costs_no_other():
    def breaks(seconds):
        raise RuntimeError("/a/b/c.so broke\nin two lines")

    def refuses():
        raise UnmeasurableError("not here")

    good = ceiling(lambda: lambda seconds: 4.0)
    never = ceiling(lambda: lambda seconds: math.inf)
    cases = (good, ceiling(lambda: breaks), ceiling(refuses), never)
    for number, one in enumerate(cases):
        one.name = str(number)
    found = measure(cases, 0.01)
    assert found["0"]["samples"] == [4.0] * TURNS
    assert found["1"] | {"samples": []} == found["1"]
    assert found["1"]["reason"] == "it failed with: c.so broke in two lines"
    assert found["2"]["reason"] == "not here"
    assert found["3"]["reason"] == "it measured inf x/s"
    assert [limit["median"] for limit in found.values()] == [4.0, None, None, None]


def test_memory_counts_what_is_read_and_written(monkeypatch):
    """A machine with little memory: 64 MiB of arrays, and a clock that says how long it took."""
    monkeypatch.setattr(limits_memory, "memory_bytes", lambda: 2**29)
    assert limits_memory._size() == 2**25
    turn = memory_ceiling().prepare()
    times = iter([0.0, 0.0, 2.0, 9.0])
    monkeypatch.setattr("bench.suite.limits_ceiling.time.perf_counter", lambda: next(times))
    assert turn(1.0) == pytest.approx(2 * 2**25 / 1e9 / 2.0)


def test_a_tiny_machine_says_so(monkeypatch):
    monkeypatch.setattr(limits_memory, "memory_bytes", lambda: 2**24)
    with pytest.raises(UnmeasurableError, match="too little memory"):
        memory_ceiling().prepare()


def test_decoding_leaves_out_what_is_no_image(tiles, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"junk")
    assert decode_ceiling("tiles", [broken, *tiles], SPEC).prepare()(0.0) > 5
    with pytest.raises(UnmeasurableError, match="no such image"):
        decode_ceiling("photos", [broken], SPEC).prepare()


def test_reading_asks_the_disk(tmp_path, monkeypatch):
    """Every turn drops the files first; one that stays in memory all the same is refused."""
    file = tmp_path / "big.bin"
    file.write_bytes(os.urandom(3 * 2**20))
    try:
        turn = disk_ceiling([file]).prepare()
    except UnmeasurableError as error:
        pytest.skip(f"not here: {error}")
    limits_files._drop(file)
    assert not limits_files._in_memory(file)
    assert turn(0.0) > 0
    assert limits_files._in_memory(file)
    monkeypatch.setattr(limits_files, "_drop", lambda file: file.read_bytes())
    with pytest.raises(UnmeasurableError, match="keeps these files"):
        disk_ceiling([file]).prepare()


def test_reading_takes_as_many_files_as_fit(tmp_path):
    files = [tmp_path / name for name in ("empty", "a", "b", "c")]
    for file, size in zip(files, (0, 10, 25, 10), strict=True):
        file.write_bytes(b"x" * size)
    assert limits_files._up_to(files, 30) == ([files[1], files[3]], 20)
    assert limits_files._up_to(files[2:], 5) == ([files[2]], 25)
    assert limits_files._up_to(files[:1], 5) == ([], 0)
