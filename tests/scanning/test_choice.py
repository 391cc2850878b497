"""Which engines judge: what was demanded, then what the table was begun with, then the fastest."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from inspector.core.text import print_lines
from inspector.engines.onnxruntime import OnnxRuntimeBackend
from inspector.engines.tuned import Recommendation, Settings
from inspector.errors import UsageError
from inspector.scanning import ScanConfig, executor, plan, scan
from inspector.scanning.outcome import summary_lines
from inspector.scanning.plan import choose_engine
from tests.rows import rows_in
from tests.scanning.walls import wall

FASTEST: dict[str, Any] = {"precision": "int8"}


@pytest.fixture
def bundle(tiny_bundle):
    return tiny_bundle


@pytest.fixture(autouse=True)
def fastest(monkeypatch):
    """A machine on which int8 would be the fastest."""
    monkeypatch.setattr(
        executor, "fastest_precision", lambda *_, **__: (FASTEST["precision"], "measured")
    )
    monkeypatch.setattr(plan, "gpu_is_usable", lambda _: False)


def taken(bundle, recorded=None, **options):
    return choose_engine(ScanConfig(sources=("x",), **options), bundle, recorded or {})


def precision_of(bundle, recorded=None, **options):
    return taken(bundle, recorded, **options).precision


def test_choose_engine_asks_demand_then_table_then_machine(bundle):
    begun = {"model": bundle.digest, "precision": "fp32"}
    other = {"model": bundle.digest, "precision": "int8 0123 0.5"}
    assert precision_of(bundle) == "auto"
    assert precision_of(bundle, begun) == "fp32"
    assert precision_of(bundle, other) == "int8"
    assert precision_of(bundle, begun | {"model": "another"}) == "auto"
    assert precision_of(bundle, begun, precision="int8") == "int8"
    assert precision_of(bundle, backend="eager") == "fp32"
    assert precision_of(bundle, device="cuda") == "fp32"


def test_shards_take_the_same_precision_whatever_is_fastest_here(bundle):
    assert precision_of(bundle, shard="0/3") == "fp32"
    whole = bundle.whole["onnx-fp32"]
    int8 = {"int8": dataclasses.replace(whole, precision="int8")}
    bundle = dataclasses.replace(bundle, variants={**bundle.variants, **int8})
    assert precision_of(bundle, shard="0/3") == "int8"
    assert precision_of(bundle, shard="0/3", precision="fp32") == "fp32"
    assert precision_of(bundle, shard="0/3", device="cuda") == "fp32"


def test_torch_runs_nothing_but_fp32():
    with pytest.raises(UsageError, match="eager runs"):
        ScanConfig(sources=("x",), backend="eager", precision="int8")


def test_a_table_is_continued_as_it_was_begun(tmp_path, tiny_bundle, monkeypatch):
    """Also where the machine, or what is measured on it, has changed in between."""
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64), (90, 90, 90)).save(photos / "1.png")
    monkeypatch.setitem(FASTEST, "precision", "fp32")
    config = ScanConfig(sources=(str(photos),), out=tmp_path / "out", model=tiny_bundle.path)
    assert scan(config).stages == {"fp32@64": 1}
    Image.new("RGB", (64, 64), (80, 90, 90)).save(photos / "2.png")
    monkeypatch.setitem(FASTEST, "precision", "int8")
    again = scan(config)
    assert (again.precision, again.already_done, again.run.ok) == ("fp32", 1, 1)


@pytest.fixture
def one_photo(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    wall(1).save(photos / "1.png")
    return photos


def test_scan_with_a_precision_times_nothing(one_photo, tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr(executor, "fastest_precision", lambda *_, **__: pytest.fail("timed"))
    config = ScanConfig(
        sources=(str(one_photo),), out=tmp_path / "out", model=tiny_bundle.path, precision="fp32"
    )
    assert scan(config).run.ok == 1


def test_scan_opens_each_engine_once_to_time_and_to_use_it(
    one_photo, tmp_path, tiny_bundle, monkeypatch
):
    monkeypatch.undo()
    monkeypatch.setenv("INSPECTOR_CACHE_DIR", str(tmp_path / "cache"))
    real, opened = OnnxRuntimeBackend.__init__, []

    def init(self, *args, precision, **options):
        opened.append(precision)
        real(self, *args, precision=precision, **options)

    monkeypatch.setattr(OnnxRuntimeBackend, "__init__", init)
    config = ScanConfig(
        sources=(str(one_photo),), out=tmp_path / "out", model=tiny_bundle.path, device="cpu"
    )
    summary = scan(config)
    assert opened == ["fp32"] and summary.precision == "fp32"
    assert "engines measured here" in summary.why


def test_loader_torch_makes_the_same_rows(one_photo, tmp_path, tiny_bundle, capsys):
    rows = []
    for loader in ("processes", "torch"):
        out = tmp_path / loader
        config = ScanConfig(
            sources=(str(one_photo),), out=out, model=tiny_bundle.path, precision="fp32",
            loader=loader, workers=1,
        )  # fmt: skip
        summary = scan(config)
        print_lines(summary_lines(summary, verbose=True))
        assert summary.loader == loader
        rows.append(rows_in(out))
    assert rows[0] == rows[1]
    assert "in 1 process of a DataLoader" in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def advice(monkeypatch):
    found = Recommendation(
        precision="fp32", device="cpu",
        tiles=Settings(backend="openvino", batch_size=16, workers=1),
        photos=Settings(backend="openvino", batch_size=4, workers=2),
    )  # fmt: skip
    monkeypatch.setattr(plan, "find_recommendation", lambda *_: found)
    return found


def test_auto_follows_a_benchmark(bundle, advice):
    engines = taken(bundle)
    assert (engines.backend, engines.precision) == ("openvino", "fp32")
    assert engines.recommendation == advice and "inspector bench" in engines.why


def test_a_demand_or_a_begun_table_comes_before_a_benchmark(bundle, advice):
    begun = {"model": bundle.digest, "precision": "int8 0123 0.5"}
    for engines in (
        taken(bundle, precision="int8"),
        taken(bundle, begun),
        taken(bundle, backend="onnxruntime"),
    ):
        assert engines.recommendation is None
        assert engines.backend == "onnxruntime", "its parts were measured together"
    assert taken(bundle, backend="eager").backend == "eager"
    same = {"model": bundle.digest, "precision": "fp32"}
    assert taken(bundle, same).recommendation == advice


def test_the_engine_of_a_table_comes_before_a_benchmark_that_ran_since(
    tmp_path, tiny_bundle, monkeypatch, capsys
):
    """A demand comes before both, and is said to differ."""
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    photos = tmp_path / "photos"
    photos.mkdir()
    wall(1).save(photos / "1.png")

    def scanned(out, **options):
        config = ScanConfig(
            sources=(str(photos),), out=tmp_path / out, model=tiny_bundle.path, **options
        )
        print_lines(summary_lines(summary := scan(config), verbose=True))
        return summary.backend, " ".join(capsys.readouterr().out.split())

    monkeypatch.setitem(FASTEST, "precision", "fp32")
    assert scanned("out")[0] == "onnxruntime"
    pace = Settings(backend="openvino", batch_size=2, workers=1)
    found = Recommendation(precision="fp32", device="cpu", tiles=pace, photos=pace)
    monkeypatch.setattr(plan, "find_recommendation", lambda *_: found)
    assert scanned("out")[0] == "onnxruntime"
    backend, shown = scanned("other")
    assert backend == "openvino" and plan.RECOMMENDED in shown
    assert "tuned engine and settings not given here are as inspector bench recommends" in shown
    monkeypatch.setattr(plan, "find_recommendation", lambda *_: None)
    assert scanned("other")[0] == "openvino"
    backend, shown = scanned("out", backend="eager")
    assert backend == "eager" and "the table was begun with onnxruntime" in shown


def test_a_benchmarks_pace_is_kept_for_a_table_of_its_engine_for_photos(bundle, advice):
    photos = dataclasses.replace(advice.photos, backend="onnxruntime")
    advice = dataclasses.replace(advice, photos=photos)
    for backend in ("openvino", "onnxruntime"):
        begun = {"model": bundle.digest, "precision": "fp32", "backend": backend}
        assert taken(bundle, begun).backend == backend
    assert taken(bundle, {"backend": "eager"}, precision="int8").backend == "onnxruntime"


@pytest.mark.parametrize(
    ("gpus", "trouble", "usable"), [(0, "", False), (1, "CUDA libraries", False), (1, "", True)]
)
def test_choose_engine_asks_more_than_the_driver(bundle, monkeypatch, gpus, trouble, usable):
    monkeypatch.undo()
    monkeypatch.setattr("inspector.engines.has_nvidia_driver", lambda: True)
    monkeypatch.setattr(plan, "visible_gpus", lambda: gpus)
    monkeypatch.setattr("inspector.engines.onnxruntime.why_no_gpu", lambda: trouble)
    monkeypatch.setattr(plan, "find_recommendation", lambda *_: None)
    assert taken(bundle).on_gpu == usable
    assert taken(bundle, device="cuda").on_gpu and not taken(bundle, device="cpu").on_gpu
    assert taken(bundle, backend="eager").on_gpu == (gpus > 0)


def test_scan_says_why_a_gpu_is_not_used(one_photo, tmp_path, tiny_bundle, monkeypatch):
    """Also where the engine was opened to be timed on the CPU."""
    monkeypatch.undo()
    monkeypatch.setenv("INSPECTOR_CACHE_DIR", str(tmp_path / "cache"))
    for home in ("scanning.executor", "engines.onnxruntime"):
        monkeypatch.setattr(f"inspector.{home}.has_nvidia_driver", lambda: True)
    monkeypatch.setattr("inspector.engines.onnxruntime.visible_gpus", lambda: 0)
    monkeypatch.setattr(plan, "visible_gpus", lambda: 0)
    asked: dict[str, dict[str, Any]] = {"a": {}, "b": {"precision": "fp32"}, "c": {"device": "cpu"}}
    for name, options in asked.items():
        config = ScanConfig(
            sources=(str(one_photo),), out=tmp_path / name, model=tiny_bundle.path, **options
        )
        said = [note for note in scan(config).notes if "judged on the CPU: " in note]
        assert len(said) == (name != "c")
