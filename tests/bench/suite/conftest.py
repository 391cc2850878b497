"""The suite in small: a tiny model, a few tiles, seconds."""

from __future__ import annotations

import dataclasses

import pytest

import bench.photos
from bench.suite import config
from bench.suite.config import QUICK, BenchConfig
from bench.suite.run import run_suite

TINY = dataclasses.replace(
    config.EFFORTS[QUICK], budget_s=1000.0, rounds=2, turn_s=0.01, batch_sizes=(1, 3), tiles=20,
    photos=2, pool=18, limits_s=0.2, scans=1, scan_batch_sizes=(),
)  # fmt: skip


@pytest.fixture(scope="module")
def small():
    """Photos of 0.2 megapixels, and next to no time for everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.photos, "WIDTH", 500)
        patch.setattr(bench.photos, "HEIGHT", 400)
        patch.setattr(config, "EFFORTS", {QUICK: TINY})
        yield


@pytest.fixture(scope="module")
def suite(small, tiny_bundle_dir):
    """Everything once: engines, scans, a peer, settings."""
    return run_suite(
        BenchConfig(
            model=tiny_bundle_dir, mode=QUICK, device="cpu", backends=("onnxruntime", "eager"),
            precisions=("fp32", "int8"), workers=(0,),
        )
    )  # fmt: skip
