"""The fp16 variant: the same graph, computing in half precision between normalisation and head.

Only GPUs gain by it. The normalisation, the means over features, the linear layer, the softmax,
the activation map and the OOD score stay in float32: they cost little, and a sum of many
halves is not exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from export.graph import body, fold_batch_norm, read_weights, write_model, write_weights
from inspector.errors import ExportError

_SUFFIX = ".cast"


def halve_to(fp32: Path, out: Path, metadata: Mapping[str, str]) -> None:
    """Write the fp16 form of the ONNX file `fp32` (as `export_onnx` writes it) to `out`.

    Input and outputs keep their types. Batch norm is folded first, so that every kernel is rounded
    once and no variance below half precision's smallest number is left. Raises ExportError when
    the graph was not written by `export_onnx` or a weight is too large for half precision.
    """
    model = fold_batch_norm(onnx.load(fp32))
    graph = model.graph
    convolutions = [node for node in body(graph) if node.op_type == "Conv"]
    first = list(graph.node).index(convolutions[0])
    halved = [node for node in body(graph) if list(graph.node).index(node) >= first]
    inside = {node.name for node in halved}
    _halve_weights(graph, convolutions)
    _cast(graph, convolutions[0].input[0], onnx.TensorProto.FLOAT16, graph.node)
    for tensor in [name for node in halved for name in node.output]:
        readers = [n for n in graph.node if tensor in n.input and n.name not in inside]
        if readers:
            _cast(graph, tensor, onnx.TensorProto.FLOAT, readers)
    write_model(model, metadata, out)


def _halve_weights(graph: onnx.GraphProto, convolutions: Sequence[onnx.NodeProto]) -> None:
    weights = read_weights(graph)
    for name in [name for conv in convolutions for name in conv.input[1:]]:
        with np.errstate(over="ignore"):
            weights[name] = weights[name].astype(np.float16)
        if not np.isfinite(weights[name]).all():
            raise ExportError(
                f"{name} has weights beyond half precision's largest number; "
                "this model has no fp16 variant, export it without --fp16"
            )
    write_weights(graph, weights)


def _cast(graph: onnx.GraphProto, tensor: str, kind: int, among: Iterable[onnx.NodeProto]) -> None:
    """Insert a cast to `kind` between `tensor` and the nodes of `among` that read it."""
    converted = tensor + _SUFFIX
    readers = [node for node in among if tensor in node.input]
    for reader in readers:
        for place, name in enumerate(reader.input):
            if name == tensor:
                reader.input[place] = converted
    nodes = list(graph.node)
    cast = onnx.helper.make_node("Cast", [tensor], [converted], converted, to=kind)
    nodes.insert(min(nodes.index(reader) for reader in readers), cast)
    del graph.node[:]
    graph.node.extend(nodes)
