"""The exported graph rewritten for engines of lower precision; the answers stay the same.

Batch norm goes into the convolutions, stored halves become float32, and the normalisation of the
pixels can go into the first convolution, so that the uint8 pixels themselves are its input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from inspector.errors import ExportError
from inspector.model.bundle import OUTPUT_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    Weights = dict[str, np.ndarray[Any, np.dtype[Any]]]
    """Initialisers by name."""

_WHITE = 255
"""Largest pixel value; [0, 1] is what `PreprocessSpec.mean` refers to."""
PIXELS = "dequantised_pixels"
"""The node that stands for the pixels as a quantised tensor."""
_OPERANDS = ("images", "kernel", "bias")


def fold_batch_norm(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with float32 kernels and no batch norm (computed in float64, rounded once).

    Raises ExportError when the graph is none that `export_onnx` writes.
    """
    folded = onnx.ModelProto()
    folded.CopyFrom(proto)
    graph = folded.graph
    weights = read_weights(graph)
    for cast in [n for n in graph.node if n.op_type == "Cast" and n.input[0] in weights]:
        weights[cast.output[0]] = weights.pop(cast.input[0]).astype(np.float32)
        graph.node.remove(cast)
    for norm in [n for n in graph.node if n.op_type == "BatchNormalization"]:
        _fold_one(norm, maker(graph, norm.input[0], "Conv"), weights)
        graph.node.remove(norm)
    write_weights(graph, weights)
    return folded


def _fold_one(norm: onnx.NodeProto, conv: onnx.NodeProto, weights: Weights) -> None:
    """y = (Wx + b - mean) * gain / sqrt(variance + epsilon) + shift, as one convolution."""
    gain, shift, mean, variance = (weights[name].astype(np.float64) for name in norm.input[1:])
    epsilon = next(a.f for a in norm.attribute if a.name == "epsilon")
    factor = gain / np.sqrt(variance + epsilon)
    _change(
        conv,
        weights,
        lambda kernel, bias: (
            kernel * factor[:, None, None, None],
            (bias - mean) * factor + shift,
        ),
    )
    conv.output[0] = norm.output[0]


def take_pixels(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The folded graph without its normalisation: the first convolution reads `DequantizeLinear`
    of the uint8 pixels, and its kernel and bias do the rest.

    Quantised, that node vanishes: the pixels are exact, and no float image is ever made. The
    answer is the same away from the border; there the convolution pads with one grey, the mean of
    the three channels' means, instead of with each channel's own.
    Raises ExportError when the graph is none that `fold_batch_norm` returns.
    """
    taken = onnx.ModelProto()
    taken.CopyFrom(proto)
    graph = taken.graph
    weights = read_weights(graph)
    conv = next(node for node in graph.node if node.op_type == "Conv")
    shifted = maker(graph, conv.input[0], "Add")
    scaled = maker(graph, shifted.input[0], "Mul")
    cast = maker(graph, scaled.input[0], "Cast")
    scale, shift = (weights[n.input[1]].reshape(-1).astype(np.float64) for n in (scaled, shifted))
    grey = round(float(np.mean(-shift / scale)))
    _change(
        conv,
        weights,
        lambda kernel, bias: (
            kernel * (_WHITE * scale)[:, None, None],
            bias + np.einsum("ochw,c->o", kernel, grey * scale + shift),
        ),
    )
    weights["pixel_scale"] = np.array(1 / _WHITE, np.float32)
    weights["pixel_grey"] = np.array(grey, np.uint8)
    cast.CopyFrom(
        onnx.helper.make_node(
            "DequantizeLinear",
            [cast.input[0], "pixel_scale", "pixel_grey"],
            [conv.input[0]],
            PIXELS,
        )
    )
    for node in (scaled, shifted):
        graph.node.remove(node)
    write_weights(graph, weights)
    return taken


def maker(graph: onnx.GraphProto, tensor: str, kind: str) -> onnx.NodeProto:
    """The node of type `kind` that makes `tensor`. Raises ExportError when there is none."""
    found: onnx.NodeProto
    for found in graph.node:
        if tensor in found.output and found.op_type == kind:
            return found
    raise ExportError(f"the ONNX file has no {kind} where one was expected; export it again")


def map_convolution(graph: onnx.GraphProto) -> onnx.NodeProto:
    """The convolution of the head that makes the activation map from the last features."""
    return maker(graph, maker(graph, OUTPUT_NAMES[1], "Squeeze").input[0], "Conv")


def body(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that make the last features from the pixels, in the graph's order; what is left is
    the head: probabilities, activation map and out-of-distribution score."""
    wanted = {map_convolution(graph).input[0]}
    found = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            found.append(node)
    return found[::-1]


def _change(
    conv: onnx.NodeProto, weights: Weights, change: Callable[[Any, Any], tuple[Any, Any]]
) -> None:
    """Give `conv` the kernel (out, in, h, w) and bias (out,) that `change` makes of its own.

    Under new names: an optimiser may have let convolutions share one bias of zeros.
    """
    kernel, bias = (weights[name].astype(np.float64) for name in conv.input[1:])
    for place, values in enumerate(change(kernel, bias), start=1):
        conv.input[place] = f"{conv.name}.{_OPERANDS[place]}"
        weights[conv.input[place]] = values.astype(np.float32)


def read_weights(graph: onnx.GraphProto) -> Weights:
    return {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}


def write_weights(graph: onnx.GraphProto, weights: Weights) -> None:
    """Those of `weights` that a node still reads, in the order of their first use."""
    used = dict.fromkeys(name for node in graph.node for name in node.input if name in weights)
    del graph.initializer[:]
    graph.initializer.extend(numpy_helper.from_array(weights[name], name) for name in used)
