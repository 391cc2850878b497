"""The repository's small samples as a folder of tiles, and a whole benchmark in small."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

import bench.inputs
import bench.rounds
from bench import config
from bench.config import QUICK, BenchConfig
from bench.run import bench as run_bench

SAMPLES = Path(__file__).parents[2] / "samples"
TINY = dataclasses.replace(
    config.EFFORTS[QUICK], budget_s=1000.0, rounds=1, turn_s=0.01, batch_sizes=(1, 3), tiles=20,
    photos=2, pool=18, ceilings_s=0.2, scans=1, scan_batch_sizes=(),
)  # fmt: skip


@pytest.fixture(scope="session")
def sample_tiles(tmp_path_factory) -> Path:
    """JPEG and PNG of a few hundred pixels, none rotated: programs differ on those."""
    folder = tmp_path_factory.mktemp("samples") / "tiles"
    folder.mkdir()
    for file in [*SAMPLES.glob("c*.jpg"), *SAMPLES.glob("c*.png")]:
        if "12mp" not in file.name and "exif" not in file.name:
            shutil.copyfile(file, folder / file.name)
    return folder


@pytest.fixture(scope="module")
def small():
    """Photos of 0.2 megapixels, and next to no time for everything. A second round is measured in
    `tests/journeys`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.inputs, "WIDTH", 500)
        patch.setattr(bench.inputs, "HEIGHT", 400)
        patch.setattr(config, "EFFORTS", {QUICK: TINY})
        patch.setattr(bench.rounds, "LEAST_ROUNDS", TINY.rounds)
        yield


@pytest.fixture(scope="module")
def measured_small(small, tiny_bundle_dir, tmp_path_factory):
    """A benchmark from beginning to end, and the folder with its reports."""
    out = tmp_path_factory.mktemp("bench") / "out"
    said: list[str] = []
    results = run_bench(
        BenchConfig(
            model=tiny_bundle_dir, mode=QUICK, device="cpu", backends=("onnxruntime", "eager"),
            precisions=("fp32", "int8"), workers=(0,), out=out,
        ),
        progress=lambda phase, seconds, budget: said.append(phase),
    )  # fmt: skip
    return results, out, said
