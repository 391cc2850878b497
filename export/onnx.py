"""The deployed model as one ONNX file, in float32, with its weights stored in half precision.

`network.to_storage` rounds kernels and matrices to half precision, so that storing them as float16
and casting them back is lossless. Batch norm therefore stays a node of its own: folded into the
convolutions, the weights would no longer be exactly representable. ONNX Runtime folds the casts
and the batch norms when it loads the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnxscript import optimizer

from export.graph import silence, write_model
from inspector.errors import ExportError
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inspector.model.network import DeployedModel

OPSET = 20
"""ONNX operator set of 2023; ONNX Runtime reads it from 1.17 on."""
SMALLEST_HALVED = 1024
"""Elements above which a weight is stored in half precision; below, a cast costs more than it
saves."""
_HALF_SUFFIX = ".half"
_EXAMPLE_IMAGES = 2
"""torch.export takes a first dimension of 0 or 1 for a constant."""


def export_onnx(model: DeployedModel, size: int, metadata: Mapping[str, str], file: Path) -> None:
    """Write `model` as `file`: `images` uint8 (batch, size, size, 3) -> `probabilities` float32
    (batch, 2), `cam` float32 (batch, rows, columns). Same model and metadata, same bytes.

    Raises ExportError when the exporter fails or its result is no valid ONNX.
    """
    try:
        with silence():
            proto = _export(model, size)
    except Exception as error:  # the exporter raises many types of its own
        raise ExportError(f"the ONNX exporter failed: {error}") from error
    _store_in_half(proto.graph)
    write_model(proto, metadata, file)


def _export(model: DeployedModel, size: int) -> onnx.ModelProto:
    example = torch.zeros(_EXAMPLE_IMAGES, size, size, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        external_data=False,
        optimize=False,  # it would fold batch norm into the convolutions
        opset_version=OPSET,
        input_names=[INPUT_NAME],
        output_names=list(OUTPUT_NAMES),
        dynamic_shapes={INPUT_NAME: {0: torch.export.Dim("batch", min=1)}},
        verbose=False,
    )
    assert program is not None  # None only without dynamo
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    return program.model_proto


def _store_in_half(graph: onnx.GraphProto) -> None:
    """Replace large float32 weights that half precision holds exactly by float16 and a cast."""
    casts = []
    for weight in graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        if values.size <= SMALLEST_HALVED or not _fits_half(values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + _HALF_SUFFIX))
        casts.append(
            onnx.helper.make_node(
                "Cast", [name + _HALF_SUFFIX], [name], f"{name}.cast", to=onnx.TensorProto.FLOAT
            )
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _fits_half(values: np.ndarray[Any, np.dtype[np.float32]]) -> bool:
    """Whether half precision holds every value exactly."""
    with np.errstate(over="ignore"):
        there_and_back = values.astype(np.float16).astype(np.float32)
    return values.tobytes() == there_and_back.tobytes()
