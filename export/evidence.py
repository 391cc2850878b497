"""Under which circumstances a gate's figures were found."""

from __future__ import annotations

import importlib.metadata

from inspector.engines.parity import PROBABILITY_TOLERANCE
from inspector.types import JsonObject

_ENGINES = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime"), "torchscript": ("torch",)}
"""Distributions that bring each engine."""


def circumstances(backend: str, golden_images: int) -> JsonObject:
    """Of an fp32 variant's comparison with eager torch."""
    return {
        "golden_images": golden_images,
        "tolerance": PROBABILITY_TOLERANCE,
        "reference": f"torch {importlib.metadata.version('torch')}",
        "engine": engine_version(backend),
    }


def engine_version(backend: str) -> str:
    for distribution in _ENGINES[backend]:
        try:
            return f"{backend} {importlib.metadata.version(distribution)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{backend} of unknown version"
