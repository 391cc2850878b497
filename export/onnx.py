"""The deployed model as one ONNX file, in float32, with its weights stored in half precision.

The graph is `DeployedModel.forward`, operator by operator: it is always a ResNet18, and writing it
down takes a tenth of a second, where PyTorch's exporter takes ten.

`network.to_storage` rounds kernels and matrices to half precision, so that storing them as float16
and casting them back is lossless. Batch norm therefore stays a node of its own: folded into the
convolutions, the weights would no longer be exactly representable. ONNX Runtime folds the casts
and the batch norms when it loads the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from onnx import NodeProto, TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from export.graph import write_model
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES
from inspector.model.ood import STRIDES, cells_along

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from inspector.model.network import DeployedModel

OPSET = 20
"""ONNX operator set of 2023; ONNX Runtime reads it from 1.17 on."""
SMALLEST_HALVED = 1024
"""Elements above which a weight is stored in half precision; below, a cast costs more than it
saves."""
_IR = 10
"""Version of the file format that goes with it."""
_ONE, _SIDES = "one", "sides"
"""Axes."""


def export_onnx(model: DeployedModel, size: int, metadata: Mapping[str, str], file: Path) -> None:
    """Write `model` as `file`: `images` uint8 (batch, size, size, 3) -> `probabilities` float32
    (batch, 2), `cam` float32 (batch, rows, columns), `domain` float32 (batch,). Same model and
    metadata, same bytes. Raises ExportError when the result is no valid ONNX.
    """
    drawn = _Graph(model)
    drawn.weight(_ONE, np.array([1]))
    drawn.weight(_SIDES, np.array([2, 3]))
    *sides, last = (-(-size // stride) for stride in STRIDES)
    *stages, features = _stages(drawn)
    _head(drawn, features)
    _domain(drawn, stages, sides)
    shapes: list[list[str | int]] = [["batch", 2], ["batch", last, last], ["batch"]]
    graph = make_graph(
        [*drawn.casts, *drawn.nodes],
        "crack",
        [make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", size, size, 3])],
        list(map(make_tensor_value_info, OUTPUT_NAMES, [TensorProto.FLOAT] * 3, shapes)),
        list(drawn.weights.values()),
    )
    opset = [make_opsetid("", OPSET)]
    write_model(make_model(graph, ir_version=_IR, opset_imports=opset), metadata, file)


class _Graph:
    """Nodes, each named like its output, and the weights they read."""

    def __init__(self, model: DeployedModel) -> None:
        self.model = model
        self.casts: list[NodeProto] = []
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, TensorProto] = {}

    def add(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(make_node(kind, inputs, [name], name, **attributes))
        return name

    def weight(self, name: str, values: NDArray[Any]) -> str:
        """A constant; a large one is stored in half precision if that holds it exactly."""
        stored = name
        if values.size > SMALLEST_HALVED and _fits_half(values):
            stored, values = f"{name}.half", values.astype(np.float16)
            cast = make_node("Cast", [stored], [name], f"{name}.cast", to=TensorProto.FLOAT)
            self.casts.append(cast)
        self.weights[stored] = from_array(values, stored)
        return name

    def own(self, part: str, *names: str) -> list[str]:
        """Tensors of a part of the model."""
        of = self.model.get_submodule(part)
        return [self.weight(f"{part}.{n}", getattr(of, n).detach().numpy()) for n in names]

    def convolve(self, conv: str, norm: str, x: str) -> str:
        """A convolution, with a bias into which batch norm can be folded, and its batch norm."""
        made = cast("nn.Conv2d", self.model.get_submodule(conv))
        zeros = self.weight(f"{conv}.zeros", np.zeros(made.out_channels, np.float32))
        sides = {"strides": made.stride, "pads": [*made.padding, *made.padding]}
        x = self.add("Conv", [x, *self.own(conv, "weight"), zeros], conv, **sides)
        tensors = self.own(norm, "weight", "bias", "running_mean", "running_var")
        epsilon = self.model.get_submodule(norm).eps
        return self.add("BatchNormalization", [x, *tensors], norm, epsilon=epsilon)


def _stages(graph: _Graph) -> list[str]:
    """The outputs of layer1 to layer4."""
    model = graph.model
    scale, shift = (graph.weight(n, getattr(model, n).numpy()) for n in ("scale", "shift"))
    x = graph.add("Transpose", [INPUT_NAME], "channels_first", perm=[0, 3, 1, 2])
    x = graph.add("Cast", [x], "pixels", to=TensorProto.FLOAT)
    x = graph.add("Add", [graph.add("Mul", [x, scale], "scaled"), shift], "normalised")
    x = graph.add("Relu", [graph.convolve("network.conv1", "network.bn1", x)], "network.relu")
    pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    x = graph.add("MaxPool", [x], "network.maxpool", **pool)
    stages = []
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        for number in range(len(getattr(model.network, layer))):
            x = _block(graph, f"network.{layer}.{number}", x)
        stages.append(x)
    return stages


def _block(graph: _Graph, name: str, x: str) -> str:
    y = graph.convolve(f"{name}.conv1", f"{name}.bn1", x)
    y = graph.add("Relu", [y], f"{name}.relu1")
    y = graph.convolve(f"{name}.conv2", f"{name}.bn2", y)
    if graph.model.get_submodule(name).downsample:
        x = graph.convolve(f"{name}.downsample.0", f"{name}.downsample.1", x)
    return graph.add("Relu", [graph.add("Add", [y, x], f"{name}.sum")], f"{name}.relu2")


def _head(graph: _Graph, features: str) -> None:
    """Probabilities and activation map."""
    model = graph.model
    temperature = graph.weight("temperature", np.array(model.temperature, np.float32))
    x = graph.add("ReduceMean", [features, _SIDES], "mean", keepdims=0)
    x = graph.add("Gemm", [x, *graph.own("network.fc", "weight", "bias")], "logits", transB=1)
    x = graph.add("Div", [x, temperature], "cooled")
    graph.add("Softmax", [x], OUTPUT_NAMES[0], axis=1)
    row = model.network.fc.weight[model.positive_index].detach().numpy()
    kernel = graph.weight("crack", row.reshape(1, -1, 1, 1))
    x = graph.add("Conv", [features, kernel], "map")
    graph.add("Squeeze", [x, _ONE], OUTPUT_NAMES[1])


def _domain(graph: _Graph, stages: Sequence[str], sides: Sequence[int]) -> None:
    """The out-of-distribution score of stages of so many positions along a side."""
    deviations = []
    for stage, side in zip(stages, sides, strict=True):
        size, apart = cells_along(side)
        pool = {"kernel_shape": [size, size], "strides": [apart, apart]}
        cells = graph.add("AveragePool", [stage], f"{stage}.cells", **pool)
        middle = graph.add("ReduceMean", [cells, _SIDES], f"{stage}.middle")
        off = graph.add("Sub", [cells, middle], f"{stage}.off")
        squares = graph.add("Mul", [off, off], f"{stage}.squares")
        variance = graph.add("ReduceMean", [squares, _SIDES], f"{stage}.variance", keepdims=0)
        deviations.append(graph.add("Sqrt", [variance], f"{stage}.deviation"))
    weight, offset = graph.own("domain", "weight", "offset")
    x = graph.add("Concat", deviations, "deviations", axis=1)
    x = graph.add("ReduceSum", [graph.add("Mul", [x, weight], "weighted"), _ONE], "sum", keepdims=0)
    graph.add("Add", [x, offset], OUTPUT_NAMES[2])


def _fits_half(values: NDArray[np.float32]) -> bool:
    """Whether half precision holds every value exactly."""
    with np.errstate(over="ignore"):
        there_and_back = values.astype(np.float16).astype(np.float32)
    return values.tobytes() == there_and_back.tobytes()
