"""`auto` settings follow from the machine and the photos, and give way to what was asked for."""

from __future__ import annotations

import pytest

from inspector.preprocess import PreprocessSpec
from inspector.scan import plan as planning
from inspector.scan.config import ScanConfig
from inspector.scan.plan import CPU_BATCH, CUDA_BATCH, PEEK, make_plan
from inspector.types import ImageRef

SPEC = PreprocessSpec()
TILE, PHOTO = 10_000, 4_000_000


def plan_on(monkeypatch, cores, size, *, count=PEEK, cuda=False, shm=None, **options):
    monkeypatch.setattr(planning, "usable_cores", lambda: cores)
    monkeypatch.setattr(planning, "has_nvidia_driver", lambda: cuda)
    monkeypatch.setattr(planning, "shared_memory_free", lambda: shm)
    first = [ImageRef(k, "x", "file:///x", size, 0.0) for k in range(count)]
    return make_plan(ScanConfig(sources=("x",), **options), SPEC, first)


@pytest.mark.parametrize(
    ("cores", "size", "cuda", "workers", "threads"),
    [
        (1, PHOTO, False, 1, 1),
        (2, TILE, False, 1, 2),
        (4, PHOTO, False, 2, 4),
        (16, TILE, False, 1, 15),
        (16, PHOTO, False, 10, 6),
        (16, TILE, True, 15, None),
        (1, TILE, True, 1, None),
        (256, PHOTO, True, 64, None),
    ],
)
def test_cores_are_shared_by_the_time_that_each_photo_takes(
    monkeypatch, cores, size, cuda, workers, threads
):
    plan = plan_on(monkeypatch, cores, size, cuda=cuda)
    assert (plan.workers, plan.threads) == (workers, threads)
    assert plan.why.startswith(f"{cores} core")
    if cores > 4 and threads is not None:
        assert plan.workers + threads <= cores


def test_a_small_scan_starts_no_processes_a_large_one_does(monkeypatch):
    assert plan_on(monkeypatch, 16, TILE, count=0).workers == 0
    assert plan_on(monkeypatch, 16, TILE, count=PEEK - 1).workers == 0
    assert plan_on(monkeypatch, 16, PHOTO, count=100).workers > 0
    assert plan_on(monkeypatch, 16, None, count=PEEK).workers > 0


def test_batches_are_small_where_decoding_is_slow(monkeypatch):
    assert plan_on(monkeypatch, 8, TILE, cuda=True).batch_size == CUDA_BATCH
    assert plan_on(monkeypatch, 8, PHOTO, cuda=True).batch_size == CPU_BATCH
    assert plan_on(monkeypatch, 8, TILE).batch_size == CPU_BATCH
    assert plan_on(monkeypatch, 8, TILE, cuda=True, device="cpu").batch_size == CPU_BATCH
    assert plan_on(monkeypatch, 8, TILE, device="cuda:0").batch_size == CUDA_BATCH


def test_a_small_dev_shm_limits_the_workers(monkeypatch):
    plan = plan_on(monkeypatch, 16, TILE, cuda=True, shm=64 << 20)
    assert (plan.workers, plan.batch_size) == (6, CPU_BATCH) and "/dev/shm" in plan.why
    plan = plan_on(monkeypatch, 16, TILE, cuda=True, shm=1 << 20)
    assert plan.workers == 0
    plan = plan_on(monkeypatch, 16, PHOTO, shm=64 << 20)
    assert 0 < plan.workers < 8


def test_what_was_asked_for_is_done(monkeypatch):
    plan = plan_on(monkeypatch, 16, TILE, count=3, shm=1, workers=5, batch_size=7, backend="eager")
    assert (plan.workers, plan.batch_size, plan.backend) == (5, 7, "eager")
    assert "asked for" in plan.why
