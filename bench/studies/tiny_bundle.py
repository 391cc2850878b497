"""A model bundle whose arithmetic costs next to nothing: the project's own network with random
weights at its smallest input, exported by the project's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from export import ExportConfig, export_bundle
from inspector.model.bundle import WEIGHTS, ModelBundle, Thresholds
from inspector.model.network import build_network, to_storage
from inspector.model.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 32
"""Pixels; ResNet18 costs (224 / 32)^2, about 50 times, less than at 224."""
SEED = 0


def make_tiny_bundle(folder: Path) -> ModelBundle:
    """Write it to `folder`, with its ONNX variant. Every photo goes to review, the dearest verdict
    to write, and no rounding can change that."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        save_file(to_storage(build_network("random")), folder / WEIGHTS)
    ModelBundle(
        path=folder,
        labels=("clear", "crack"),
        positive="crack",
        preprocess=PreprocessSpec(size=SIZE),
        temperature=1.0,
        thresholds=Thresholds(clear_below=0.0, crack_from=1.0, chosen="for the memory benchmark"),
        files={},
    ).with_files(WEIGHTS).save()
    return export_bundle(ExportConfig(bundle=folder, onnx=True))
