"""A narrow network's weights, read back from its int8 ONNX file: what learning goes on from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from bench.recipe.narrow.network import GAIN, NarrowNetwork

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.recipe.narrow.network import Widths
    from inspector.model.preprocess import PreprocessSpec

    Weights = dict[str, NDArray[np.float64]]

_BLOCKS = 12
"""Channels that the first convolution reads in the file: blocks of 2 x 2 pixels."""


def read_network(file: Path, widths: Widths, spec: PreprocessSpec) -> NarrowNetwork:
    """The network of these `widths` whose file for photos `export_narrow` wrote. Integers have
    rounded its kernels. They hold its batch norms, too, of which a shift is left: statistics are 0
    and 1, and must stay so. Raises KeyError for the file of another network."""
    graph = onnx.load(file).graph
    weights = _exact(graph)
    network = NarrowNetwork(widths, spec)
    parts = dict(network.named_modules())
    for node in (node for node in graph.node if node.op_type == "Conv"):
        kernel, *bias = (weights[name] for name in node.input[1:])
        name = node.input[1].partition(".weight")[0].removeprefix("network.")
        if name == "head":
            _set(network.head.weight, kernel)
            _set(network.head.bias, bias[0])
        elif not bias:
            _set(network.uneven.weight, kernel[:, :, 0, 0] / GAIN)
        elif kernel.shape[1] == _BLOCKS:
            _set_both(parts, "stem.0", *_of_floats(kernel, bias[0], weights, spec))
        else:
            _set_both(parts, name, kernel, bias[0])
    return network


def _exact(graph: onnx.GraphProto) -> Weights:
    """Initializers by name, and what is dequantised of them by the name of the output."""
    found = {w.name: numpy_helper.to_array(w).astype(np.float64) for w in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in found:
            values, scale, zero = (found[name] for name in node.input)
            each = (-1, *[1] * (values.ndim - 1))
            found[node.output[0]] = (values - zero.reshape(each)) * scale.reshape(each)
    return found


def _of_floats(
    blocks: NDArray[np.float64], bias: NDArray[np.float64], weights: Weights, spec: PreprocessSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Kernel and bias for normalised pixels, of those for blocks of integers (`take_pixels`)."""
    out, count = blocks.shape[0], blocks.shape[2]
    parts = blocks.reshape(out, 2, 2, 3, count, count).transpose(0, 3, 4, 1, 5, 2)
    kernel = parts.reshape(out, 3, 2 * count, 2 * count)[:, :, 1:, 1:]
    mean, std = np.array(spec.mean), np.array(spec.std)
    white = 255 * float(weights["pixel_scale"])
    kernel = kernel * white * std[:, None, None]
    grey = (float(weights["pixel_grey"]) / 255 - mean) / std
    return kernel, bias - np.einsum("ochw,c->o", kernel, grey)


def _set_both(
    parts: dict[str, nn.Module], name: str, kernel: NDArray[np.float64], bias: NDArray[np.float64]
) -> None:
    """A convolution's kernel, and the shift of the batch norm behind it."""
    before, _, last = name.rpartition(".")
    after = last.replace("conv", "bn") if "conv" in last else str(int(last) + 1)
    norm = parts[f"{before}.{after}"]
    assert isinstance(norm, nn.BatchNorm2d)
    _set(parts[name].get_parameter("weight"), kernel)
    _set(norm.bias, bias)
    norm.get_buffer("running_var").fill_(1 - norm.eps)


def _set(parameter: Tensor | None, values: NDArray[np.float64]) -> None:
    assert parameter is not None
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))
