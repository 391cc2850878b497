"""The dense form of an exported model: the same convolutions on photos of any size.

Made from a tile's ONNX file of any precision by giving it another head, so that both compute the
last features alike: log odds at every position of their grid instead of one answer, and the
out-of-distribution score of every window (`inspector.model.network.DenseModel`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import make_node

from export.graph import Weights, leading_to, map_convolution, read_weights, write_model
from inspector.errors import ExportError
from inspector.model.bundle import DENSE_OUTPUTS, INPUT_NAME
from inspector.model.ood import GRID, moving_cells
from inspector.model.windows import STRIDE

_BATCH, _HEIGHT, _WIDTH = "batch", "height", "width"
_WEIGHT, _OFFSET = "domain.weight", "domain.offset"


def can_be_dense(size: int) -> bool:
    """Whether a model for images of `size` px has a dense form: its features' grid must fill them,
    and windows of two cells are the least."""
    return size % STRIDE == 0 and size >= 2 * STRIDE


def densify_to(tile: Path, out: Path, crack: int, metadata: Mapping[str, str]) -> None:
    """Write the dense form of the ONNX file `tile` (as `export_onnx`, `quantise_to` and `halve_to`
    write it) to `out`; `crack` is the place of the crack class among the model's outputs.

    `images` uint8 (batch, height, width, 3), sides of multiples of 32 and at least a tile's, ->
    `log_odds` and `window_domain` float32 (batch, rows, columns). Raises ExportError when the graph
    is none of these.
    """
    proto = onnx.load(tile)
    graph = proto.graph
    kernel, bias = _difference(graph, crack)
    features = map_convolution(graph).input[0]
    pools = [node.input[0] for node in graph.node if node.op_type == "AveragePool"]
    cells = moving_cells(graph.input[0].type.tensor_type.shape.dim[1].dim_value)
    if len(pools) != len(cells):
        raise ExportError(f"{tile.name} has another out-of-distribution head; export it again")
    weights = read_weights(graph)
    nodes = [*leading_to(graph, {features, *pools}), *_evidence(features), *_domain(pools, cells)]
    own: Weights = {
        "dense.kernel": kernel,
        "dense.bias": bias,
        "dense.one": np.array([1], np.int64),
        "dense.sides": np.array([2, 3], np.int64),
        "dense.weight": weights[_WEIGHT].reshape(1, -1, 1, 1),
        _OFFSET: weights[_OFFSET],
    }
    kept = [w for w in graph.initializer if any(w.name in n.input for n in nodes)]
    kept = [w for w in kept if w.name not in own]
    del graph.node[:], graph.initializer[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in own.items())
    shape: list[str | int] = [_BATCH, _HEIGHT, _WIDTH, 3]
    make = onnx.helper.make_tensor_value_info
    graph.input.append(make(INPUT_NAME, onnx.TensorProto.UINT8, shape))
    for name in DENSE_OUTPUTS:
        sides = [_BATCH, f"{name}_rows", f"{name}_columns"]
        graph.output.append(make(name, onnx.TensorProto.FLOAT, sides))
    write_model(proto, metadata, out)


def _difference(
    graph: onnx.GraphProto, crack: int
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], ...]:
    """Kernel (1, F, 1, 1) and bias (1,) of the log odds, from the linear layer of two classes."""
    weights = read_weights(graph)
    layer = next(node for node in graph.node if node.op_type == "Gemm")
    kernel_CF, bias_C = (weights[name].astype(np.float32) for name in layer.input[1:])
    kernel_F = kernel_CF[crack] - kernel_CF[1 - crack]
    return kernel_F.reshape(1, -1, 1, 1), (bias_C[crack] - bias_C[1 - crack]).reshape(1)


def _evidence(features: str) -> list[onnx.NodeProto]:
    return [
        make_node("Conv", [features, "dense.kernel", "dense.bias"], ["dense.map"], "dense.map"),
        make_node("Squeeze", ["dense.map", "dense.one"], [DENSE_OUTPUTS[0]], DENSE_OUTPUTS[0]),
    ]


def _domain(stages: Sequence[str], cells: Sequence[tuple[int, int, int]]) -> list[onnx.NodeProto]:
    nodes = [
        node
        for place, (stage, moving) in enumerate(zip(stages, cells, strict=True))
        for node in _deviation(stage, f"dense.{place}", *moving)
    ]
    parts = [f"dense.{place}.deviation" for place in range(len(stages))]
    return [
        *nodes,
        make_node("Concat", parts, ["dense.pooled"], "dense.pooled", axis=1),
        make_node("Mul", ["dense.pooled", "dense.weight"], ["dense.weighted"], "dense.weighted"),
        make_node(
            "ReduceSum", ["dense.weighted", "dense.one"], ["dense.sum"], "dense.sum", keepdims=0
        ),
        make_node("Add", ["dense.sum", _OFFSET], [DENSE_OUTPUTS[1]], DENSE_OUTPUTS[1]),
    ]


def _deviation(stage: str, prefix: str, side: int, step: int, stride: int) -> list[onnx.NodeProto]:
    """`pool_moving` of one stage, by the means of its cells and of their squares. Each channel's
    mean over the image is taken off before, so that no digits are lost in their difference."""
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, inputs: list[str], what: str, **attributes: Any) -> str:
        name = f"{prefix}.{what}"
        nodes.append(make_node(kind, inputs, [name], name, **attributes))
        return name

    if side % 2 == step % 2 == stride % 2 == 0:  # the mean of means of four, with fewer additions
        stage = add("AveragePool", [stage], "quarter", kernel_shape=[2, 2], strides=[2, 2])
        side, step, stride = side // 2, step // 2, stride // 2
    cells = add("AveragePool", [stage], "cells", kernel_shape=[side, side])
    middle = add("ReduceMean", [cells, "dense.sides"], "middle", keepdims=1)
    cells = add("Sub", [cells, middle], "off")
    moving = {
        "kernel_shape": [GRID, GRID],
        "dilations": [step, step],
        "strides": [stride, stride],
    }
    squares = add("AveragePool", [add("Mul", [cells, cells], "squares")], "moment", **moving)
    mean = add("AveragePool", [cells], "mean", **moving)
    variance = add("Sub", [squares, add("Mul", [mean, mean], "mean_square")], "variance")
    add("Sqrt", [add("Relu", [variance], "positive")], "deviation")
    return nodes
