"""A complete bundle, except that nobody could run its model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from inspector.model.bundle import BUNDLE_JSON, WEIGHTS, ModelBundle, Thresholds, Variant, _checksum
from inspector.model.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EMPTY_GRAPH = b"\x3a\x00"
"""An ONNX file that holds nothing."""


def hollow_bundle(path: Path) -> ModelBundle:
    path.mkdir()
    (path / WEIGHTS).write_bytes(b"weights" * 100)
    (path / "model.onnx").write_bytes(EMPTY_GRAPH * 100)
    made = ModelBundle(
        path=path,
        labels=("Negative", "Positive"),
        positive="Positive",
        preprocess=PreprocessSpec(size=96),
        temperature=1.5,
        thresholds=Thresholds(clear_below=0.2, crack_from=0.8, chosen="on nothing"),
        files={},
        variants={
            "onnx-fp32": Variant(
                file="model.onnx", backend="onnxruntime", precision="fp32", parity={"images": 4}
            )
        },
        training={"seed": 3},
    ).with_files(WEIGHTS, "model.onnx")
    made.save()
    return made


def rewrite(bundle: ModelBundle, change: Callable[[Any], object]) -> None:
    """Change the values of `bundle.json` as somebody who knows its checksum would."""
    values = json.loads((bundle.path / BUNDLE_JSON).read_text())
    change(values)
    values["checksum"] = _checksum(values)
    (bundle.path / BUNDLE_JSON).write_text(json.dumps(values))
