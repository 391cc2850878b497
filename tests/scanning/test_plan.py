"""`auto` settings follow from the machine and the photos, and give way to what was asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inspector.engines.tuned import Recommendation, Settings
from inspector.errors import UsageError
from inspector.model.bundle import DenseView
from inspector.model.preprocess import PreprocessSpec
from inspector.scanning import plan as planning
from inspector.scanning.config import ScanConfig
from inspector.scanning.plan import (
    CPU_BATCH,
    CUDA_BATCH,
    PEEK,
    SLOW_BATCH,
    choose_engine,
    make_plan,
)
from inspector.types import ImageRef

TILE, PHOTO = 10_000, 4_000_000


def plan_on(
    monkeypatch, cores, size, *, count=PEEK, cuda=False, shm=None, judge_s=0.05, advice=None,
    dense=None, path="x", **options,
):  # fmt: skip
    monkeypatch.setattr(planning, "usable_cores", lambda: cores)
    monkeypatch.setattr(planning, "gpu_is_usable", lambda _: cuda)
    monkeypatch.setattr(planning, "shared_memory_free", lambda: shm)
    first = [ImageRef(k, path, "file:///x", size, 0) for k in range(count)]
    monkeypatch.setattr(planning, "known_seconds", lambda *_: judge_s / cores)
    monkeypatch.setattr(planning, "find_recommendation", lambda *_: advice)
    bundle: Any = SimpleNamespace(preprocess=PreprocessSpec(), digest="", variants={}, dense=dense)
    view = {"view": "auto" if dense else "whole"}
    config = ScanConfig(sources=("x",), precision="fp32", **view | options)
    return make_plan(config, bundle, choose_engine(config, bundle, {}), first)


@pytest.mark.parametrize(
    ("cores", "size", "cuda", "judge_s", "decoders", "threads"),
    [
        (1, PHOTO, False, 0.05, 1, 1),
        (2, TILE, False, 0.05, 1, 2),
        (2, PHOTO, False, 0.05, 2, 2),
        (4, PHOTO, False, 0.05, 3, 4),
        (16, TILE, False, 0.05, 1, 15),
        (16, PHOTO, False, 0.05, 10, 6),
        (16, TILE, False, 0.004, 2, 14),
        (16, TILE, True, 0.0, 15, None),
        (1, TILE, True, 0.0, 1, None),
        (256, PHOTO, True, 0.0, 64, None),
    ],
)
def test_cores_are_shared_by_the_time_that_each_photo_takes(
    monkeypatch, cores, size, cuda, judge_s, decoders, threads
):
    plan = plan_on(monkeypatch, cores, size, cuda=cuda, judge_s=judge_s)
    assert (plan.workers, plan.threads) == (decoders, threads)
    assert plan.why.startswith(f"{cores} core")
    if cores > 4 and threads is not None:
        assert decoders + threads <= cores


@pytest.mark.parametrize(("size", "cuda"), [(TILE, False), (PHOTO, False), (PHOTO, True)])
def test_photos_in_a_bucket_have_twice_the_decoders_which_mostly_wait(monkeypatch, size, cuda):
    near, far = (plan_on(monkeypatch, 16, size, cuda=cuda, path=path) for path in ("x", "s3://b/x"))
    assert (far.workers, far.threads) == (2 * near.workers, near.threads)
    assert "fetch" in far.why
    assert plan_on(monkeypatch, 16, size, path="s3://b/x", workers=3).workers == 3


def test_a_dataloader_where_a_gpu_judges_enough_photos(monkeypatch):
    assert plan_on(monkeypatch, 16, TILE, count=PEEK, cuda=True).loader == "torch"
    assert plan_on(monkeypatch, 16, PHOTO, count=100, cuda=True).loader == "torch"
    assert plan_on(monkeypatch, 16, None, count=PEEK, cuda=True).loader == "torch"
    for count in (0, PEEK - 1):
        plan = plan_on(monkeypatch, 16, TILE, count=count, cuda=True)
        assert plan.loader == "processes" and plan.workers > 0 and "too little" in plan.why
    assert plan_on(monkeypatch, 16, PHOTO).loader == "processes"


@pytest.mark.parametrize("cores", [1, 2, 16, 64])
@pytest.mark.parametrize("judge_s", [0.05, 0.004])
def test_a_process_decodes_unless_none_is_asked_for(monkeypatch, cores, judge_s):
    for count in (0, 1, PEEK):
        assert plan_on(monkeypatch, cores, TILE, count=count, judge_s=judge_s).workers > 0
    for cuda in (False, True):
        plan = plan_on(monkeypatch, cores, TILE, cuda=cuda, workers=0)
        assert (plan.workers, plan.loader) == (0, "processes")


def test_batches_are_small_where_decoding_is_slow(monkeypatch):
    assert plan_on(monkeypatch, 8, TILE, cuda=True).batch_size == CUDA_BATCH
    assert plan_on(monkeypatch, 8, PHOTO, cuda=True).batch_size == CPU_BATCH
    assert plan_on(monkeypatch, 8, TILE).batch_size == CPU_BATCH
    assert plan_on(monkeypatch, 8, PHOTO).batch_size == SLOW_BATCH
    assert plan_on(monkeypatch, 8, TILE, device="cpu").batch_size == CPU_BATCH
    assert plan_on(monkeypatch, 8, TILE, device="cuda:0").batch_size == CUDA_BATCH


def test_loader_is_what_was_asked_for(monkeypatch):
    plan = plan_on(monkeypatch, 16, TILE, loader="torch")
    assert plan.loader == "torch" and "DataLoader, as asked for" in plan.why
    assert plan_on(monkeypatch, 16, TILE, cuda=True, loader="processes").loader == "processes"


def test_loader_torch_without_torch_says_what_to_install(monkeypatch):
    monkeypatch.setattr(planning, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install .*train"):
        plan_on(monkeypatch, 16, TILE, loader="torch")
    assert plan_on(monkeypatch, 16, TILE, cuda=True).loader == "processes"


def test_no_dataloader_where_dev_shm_is_small(monkeypatch):
    plan = plan_on(monkeypatch, 16, TILE, cuda=True, shm=64 << 20)
    assert (plan.workers, plan.batch_size, plan.loader) == (15, CUDA_BATCH, "processes")
    assert "/dev/shm" in plan.why
    assert plan_on(monkeypatch, 16, PHOTO, shm=1 << 30, cuda=True).loader == "torch"


def test_what_was_asked_for_is_done(monkeypatch):
    plan = plan_on(monkeypatch, 16, TILE, count=3, shm=1, workers=5, batch_size=7)
    assert (plan.workers, plan.batch_size) == (5, 7)
    assert "asked for" in plan.why


def test_a_benchmarks_pace_is_kept_unless_something_else_is_asked_for(monkeypatch):
    advice = Recommendation(
        precision="fp32", device="cpu",
        tiles=Settings(backend="onnxruntime", batch_size=16, workers=3),
        photos=Settings(backend="openvino", batch_size=4, workers=2),
    )  # fmt: skip
    tiles = plan_on(monkeypatch, 8, TILE, advice=advice)
    photos = plan_on(monkeypatch, 8, PHOTO, advice=advice)
    assert (tiles.backend, tiles.batch_size, tiles.workers) == ("onnxruntime", 16, 3)
    assert (photos.backend, photos.batch_size, photos.workers) == ("openvino", 4, 2)
    demanded = plan_on(monkeypatch, 8, PHOTO, advice=advice, backend="onnxruntime")
    assert demanded.backend == "onnxruntime"
    assert demanded.batch_size == SLOW_BATCH, "measured with another engine"
    asked = plan_on(monkeypatch, 8, TILE, advice=advice, workers=0, batch_size=7)
    assert (asked.batch_size, asked.workers) == (7, 0)


def test_large_photos_at_their_own_scale_travel_alone(monkeypatch):
    """Twelve megapixels keep the engine busy for seconds: one decoder is enough for it, and a GPU
    is fed by all of them."""
    view = DenseView(temperature=1.0, shift=0.0)
    plan = plan_on(monkeypatch, 16, PHOTO, dense=view)
    assert (plan.batch_size, plan.workers, plan.threads) == (1, 1, 15)
    fed = plan_on(monkeypatch, 16, PHOTO, dense=view, cuda=True)
    assert (fed.batch_size, fed.workers, fed.loader) == (1, 15, "processes")
    assert plan_on(monkeypatch, 16, TILE, dense=view) == plan_on(monkeypatch, 16, TILE)
    assert plan_on(monkeypatch, 16, PHOTO, dense=view, view="whole").batch_size > 1
    assert 1 < plan_on(monkeypatch, 16, 400_000, dense=view).batch_size < CPU_BATCH
