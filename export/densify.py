"""The dense form of an exported model: the same convolutions on photos of any size.

Made from a tile's ONNX file of any precision by giving it another head, so that both compute the
last features alike: log odds at every position of their grid instead of one answer, and the
out-of-distribution score of every window (`inspector.model.network.DenseModel`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import make_node

from export.graph import map_convolution, read_weights, write_model
from inspector.errors import ExportError
from inspector.model.bundle import DENSE_OUTPUTS, INPUT_NAME
from inspector.model.ood import GRID, MOVING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_BATCH, _HEIGHT, _WIDTH = "batch", "height", "width"
_WEIGHT, _OFFSET = "domain.weight", "domain.offset"


def densify_to(tile: Path, out: Path, crack: int, metadata: Mapping[str, str]) -> None:
    """Write the dense form of the ONNX file `tile` (as `export_onnx`, `quantise_to` and `halve_to`
    write it) to `out`; `crack` is the place of the crack class among the model's outputs.

    `images` uint8 (batch, height, width, 3), sides of multiples of 32 and at least 224 px, ->
    `log_odds` and `window_domain` float32. Raises ExportError when the graph is none of these.
    """
    proto = onnx.load(tile)
    graph = proto.graph
    kernel, bias = _difference(graph, crack)
    features = map_convolution(graph).input[0]
    pools = [node.input[0] for node in graph.node if node.op_type == "AveragePool"]
    if len(pools) != len(MOVING):
        raise ExportError(f"{tile.name} has another out-of-distribution head; export it again")
    weights = read_weights(graph)
    nodes = [*_leading_to(graph, {features, *pools}), *_evidence(features), *_domain(pools)]
    own = {"dense.kernel": kernel, "dense.bias": bias, **_constants()}
    own |= {"dense.weight": weights[_WEIGHT].reshape(1, -1, 1, 1), _OFFSET: weights[_OFFSET]}
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


def _leading_to(graph: onnx.GraphProto, tensors: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes from which `tensors` are computed, in the graph's order."""
    wanted, found = set(tensors), []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            found.append(node)
    return found[::-1]


def _evidence(features: str) -> list[onnx.NodeProto]:
    return [
        make_node("Conv", [features, "dense.kernel", "dense.bias"], ["dense.map"], "dense.map"),
        make_node("Squeeze", ["dense.map", "dense.one"], [DENSE_OUTPUTS[0]], DENSE_OUTPUTS[0]),
    ]


def _constants() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Axes, and where the slices of `_deviation` begin, end and step."""
    values = {"dense.one": [1], "dense.first": [0], "dense.axes": [2, 3]}
    for place, (_, step, stride) in enumerate(MOVING):
        values[f"dense.{place}.steps"] = [stride, stride]
        last = (GRID - 1) * step
        for y in range(GRID):
            for x in range(GRID):
                starts = [step * y, step * x]
                values[f"dense.{place}.starts.{y}{x}"] = starts
                ends = [start - last or np.iinfo(np.int64).max for start in starts]
                values[f"dense.{place}.ends.{y}{x}"] = ends
    return {name: np.array(value, np.int64) for name, value in values.items()}


def _domain(stages: Sequence[str]) -> list[onnx.NodeProto]:
    nodes = [node for place, stage in enumerate(stages) for node in _deviation(stage, place)]
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


def _deviation(stage: str, place: int) -> list[onnx.NodeProto]:
    """`pool_moving` of one stage."""
    side, _, _ = MOVING[place]
    name = f"dense.{place}"
    nodes = [
        make_node(
            "AveragePool", [stage], [f"{name}.pool"], f"{name}.pool", kernel_shape=[side, side]
        )
    ]
    cells = [f"{y}{x}" for y in range(GRID) for x in range(GRID)]
    for cell in cells:
        inputs = [f"{name}.pool", f"{name}.starts.{cell}", f"{name}.ends.{cell}", "dense.axes"]
        out = f"{name}.slice.{cell}"
        nodes.append(make_node("Slice", [*inputs, f"{name}.steps"], [out], out))
        nodes.append(make_node("Unsqueeze", [out, "dense.first"], [f"{out}.cell"], f"{out}.cell"))
    first = "dense.first"
    steps = ["cells", "mean", "off", "square", "variance", "deviation"]
    all_, mean, off, square, variance, deviation = (f"{name}.{step}" for step in steps)
    parts = [f"{name}.slice.{cell}.cell" for cell in cells]
    return [
        *nodes,
        make_node("Concat", parts, [all_], all_, axis=0),
        make_node("ReduceMean", [all_, first], [mean], mean, keepdims=1),
        make_node("Sub", [all_, mean], [off], off),
        make_node("Mul", [off, off], [square], square),
        make_node("ReduceMean", [square, first], [variance], variance, keepdims=0),
        make_node("Sqrt", [variance], [deviation], deviation),
    ]
