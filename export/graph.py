"""Edit and write ONNX graphs.

For engines of lower precision, batch norm is folded into the convolutions, stored halves become
float32, and the normalisation of the pixels can go into the first convolution, so that the uint8
pixels themselves are its input. The outputs stay the same.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from inspector.errors import ExportError
from inspector.model.bundle import OUTPUT_NAMES

Weights = dict[str, np.ndarray[Any, np.dtype[Any]]]
"""Initialisers by name."""

_WHITE = 255
"""Largest pixel value; [0, 1] is what `PreprocessSpec.mean` refers to."""
PIXELS = "dequantised_pixels"
"""The node that stands for the pixels as a quantised tensor."""
_BLOCKS = "pixel_blocks"
_OPERANDS = ("images", "kernel", "bias")


def fold_batch_norm(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with float32 kernels and no batch norm (computed in float64, rounded once).

    Raises ExportError when the graph was not written by `export_onnx`.
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
        lambda kernel, bias: (kernel * factor[:, None, None, None], (bias - mean) * factor + shift),
    )
    conv.output[0] = norm.output[0]


def take_pixels(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a folded graph without normalisation: the first convolution reads
    `DequantizeLinear` of the uint8 pixels, and its kernel and bias do the rest.

    Quantised, that node vanishes: the pixels are exact, and no float image is made. The output is
    the same away from the border; there the convolution pads with one grey, the mean of the three
    channels' means, instead of with each channel's own. A convolution of stride 2 reads images of
    even sides in blocks of 2 x 2 pixels.
    Raises ExportError when the graph was not made by `fold_batch_norm`.
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
    _read_blocks(graph, conv, cast, weights)
    del graph.value_info[:]
    write_weights(graph, weights)
    return taken


def _read_blocks(
    graph: onnx.GraphProto, conv: onnx.NodeProto, pixels: onnx.NodeProto, weights: Weights
) -> None:
    """Let `conv`, where it has stride 2 and images have even sides, read blocks of 2 x 2 `pixels`
    as 12 channels. The sums are the same, with some zeros; integer kernels are made for many
    channels and take half of the time."""
    given = {a.name: list(a.ints) for a in conv.attribute}
    pads, dilations = given.get("pads", [0]), given.get("dilations", [1])
    odd = any(d.dim_value % 2 for d in graph.input[0].type.tensor_type.shape.dim[1:3])
    if odd or given.get("strides") != [2, 2] or len(set(pads)) > 1 or set(dilations) != {1}:
        return
    kernel, before = weights[conv.input[1]], pads[0]
    out, channels, side = kernel.shape[:3]
    ahead = -(-before // 2)  # blocks before the one at hand, and all
    count = ahead + (side - 1 - before) // 2 + 1
    first = 2 * ahead - before
    whole = np.zeros((out, channels, 2 * count, 2 * count), kernel.dtype)
    whole[:, :, first : first + side, first : first + side] = kernel
    parts = whole.reshape(out, channels, count, 2, count, 2).transpose(0, 3, 5, 1, 2, 4)
    weights[conv.input[1]] = np.ascontiguousarray(parts).reshape(out, 4 * channels, count, count)
    del conv.attribute[:]
    behind = count - 1 - ahead
    conv.attribute.append(onnx.helper.make_attribute("pads", [ahead, ahead, behind, behind]))
    place = list(graph.node).index(pixels)
    blocks = onnx.helper.make_node(
        "SpaceToDepth", [pixels.input[0]], [_BLOCKS], _BLOCKS, blocksize=2
    )
    pixels.input[0] = _BLOCKS
    graph.node.insert(place, blocks)


def maker(graph: onnx.GraphProto, tensor: str, kind: str) -> onnx.NodeProto:
    """The node of type `kind` whose output is `tensor`. Raises ExportError when there is none."""
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
    return leading_to(graph, [map_convolution(graph).input[0]])


def leading_to(graph: onnx.GraphProto, tensors: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes from which `tensors` are computed, in the graph's order."""
    wanted, found = set(tensors), []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            found.append(node)
    return found[::-1]


def _change(
    conv: onnx.NodeProto, weights: Weights, change: Callable[[Any, Any], tuple[Any, Any]]
) -> None:
    """Give `conv` the kernel (out, in, h, w) and bias (out,) that `change` makes of its own.

    Under new names: an optimiser may have let convolutions share one bias of zeros, or none.
    """
    kernel = weights[conv.input[1]].astype(np.float64)
    if len(conv.input) < len(_OPERANDS):
        conv.input.append("")
    bias = weights.get(conv.input[2], np.zeros(len(kernel))).astype(np.float64)
    for place, values in enumerate(change(kernel, bias), start=1):
        conv.input[place] = f"{conv.name}.{_OPERANDS[place]}"
        weights[conv.input[place]] = values.astype(np.float32)


def read_weights(graph: onnx.GraphProto) -> Weights:
    return {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}


def write_weights(graph: onnx.GraphProto, weights: Weights) -> None:
    """Keep the `weights` that a node still reads, in the order of their first use."""
    used = dict.fromkeys(name for node in graph.node for name in node.input if name in weights)
    del graph.initializer[:]
    graph.initializer.extend(numpy_helper.from_array(weights[name], name) for name in used)


def write_model(proto: onnx.ModelProto, metadata: Mapping[str, str], file: Path) -> None:
    """Write `proto` with `metadata` as `file`; equal graphs give equal bytes. Raises ExportError
    when it is no valid ONNX."""
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


def restamp_onnx(file: Path, out: Path, metadata: Mapping[str, str]) -> None:
    """Write `out`: the same model with other metadata. Weights that lie in another file of the
    bundle stay there."""
    proto = onnx.load(file, load_external_data=False)
    onnx.helper.set_model_props(proto, dict(metadata))
    out.write_bytes(proto.SerializeToString(deterministic=True))


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Hides the output of an exporter or quantiser: prints, warnings and log records."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
