"""The last step of every ONNX export: what the file says about itself, and the check of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from inspector.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_model(proto: onnx.ModelProto, metadata: Mapping[str, str], file: Path) -> None:
    """Write `proto`, described by `metadata` alone, as `file`; equal graphs give equal bytes.

    Raises ExportError when it is no valid ONNX.
    """
    _forget_origin(proto)
    proto.producer_name, proto.producer_version = "inspector export", ""
    onnx.helper.set_model_props(proto, dict(metadata))
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    file.write_bytes(proto.SerializeToString(deterministic=True))


def _forget_origin(proto: onnx.ModelProto) -> None:
    """Remove the exporter's notes: stack traces with the paths of the machine it ran on."""
    del proto.metadata_props[:]
    graph = proto.graph
    proto.doc_string = graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
