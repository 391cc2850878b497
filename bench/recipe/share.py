"""Kernels kept once on disk: ONNX files that refer to the bundle's `weights.safetensors`.

ONNX may keep a weight as a range of bytes in another file of the same directory, and safetensors
is a header and then plain bytes. The shipped bundle uses it to stay small; such an ONNX file is of
no use alone, `inspector export --onnx --out DIR` writes one that is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from inspector.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Array = np.ndarray[Any, np.dtype[Any]]

_HEADER_LENGTH = 8
_EPSILON = 1e-5
"""Of torch's batch norm; a kernel folded with another one would not be found again."""
_STORED = ".stored"
_SMALLEST_SHARED = 1024
"""Bytes of a tensor below which a reference saves nothing."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A half-precision kernel in the weights file, and where its bytes lie."""

    kernel: Array
    factor: Array | None
    """What its batch norm multiplies each output channel by, float64 (channels,)."""
    offset: int
    length: int


def share_weights(file: Path, weights: Path) -> None:
    """Replace the kernels in the ONNX file `file` by references into `weights`, which must lie in
    the same directory when a model is loaded; the model computes the same, to the bit.

    A kernel is referred to as it is, or, where batch norm was folded into it, multiplied by the
    same factors and rounded in the same way; ONNX Runtime does that once, when it loads the file.
    Raises ExportError when no kernel is found in `weights`.
    """
    proto = onnx.load(file)
    stored = _read(weights)
    nodes: list[onnx.NodeProto] = []
    shared = 0
    for initialiser in list(proto.graph.initializer):
        values = numpy_helper.to_array(initialiser)
        found = _find(values, stored) if values.dtype == np.float16 and values.ndim == 4 else None
        if found is None:
            continue
        shared += 1
        name = initialiser.name
        folded = not np.array_equal(values, found.kernel)
        _refer(initialiser, found, weights.name, name + _STORED if folded else name)
        if folded:
            assert found.factor is not None
            proto.graph.initializer.append(
                numpy_helper.from_array(found.factor[:, None, None, None], f"{name}.factor")
            )
            nodes += _folding(name)
    if not shared:
        raise ExportError(f"{file.name} has no kernel in common with {weights.name}")
    nodes += proto.graph.node
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    file.write_bytes(proto.SerializeToString(deterministic=True))


def share_bytes(file: Path, other: Path) -> None:
    """Replace the large tensors in the ONNX file `file` by references to where `other`, a file of
    the same directory, holds the same bytes. Metadata, which stand behind the graph, may change in
    `other`, but nothing else. Raises ExportError when it holds none of them."""
    proto = onnx.load(file)
    content = other.read_bytes()
    shared = 0
    for initialiser in proto.graph.initializer:
        values = initialiser.raw_data
        place = content.find(values) if len(values) >= _SMALLEST_SHARED else -1
        if place >= 0:
            shared += 1
            _point(initialiser, other.name, place, len(values))
    if not shared:
        raise ExportError(f"{file.name} has no tensor in common with {other.name}")
    file.write_bytes(proto.SerializeToString(deterministic=True))


def _read(weights: Path) -> list[_Stored]:
    """The half-precision kernels of a safetensors file (its format: length of the header in 8
    bytes, the header as JSON, then the tensors' bytes)."""
    content = weights.read_bytes()
    start = _HEADER_LENGTH + int.from_bytes(content[:_HEADER_LENGTH], "little")
    header: dict[str, Any] = json.loads(content[_HEADER_LENGTH:start])
    header.pop("__metadata__", None)
    kinds = {"F16": np.float16, "F32": np.float32}

    def tensor(name: str) -> Array:
        about = header[name]
        first, last = (start + offset for offset in about["data_offsets"])
        values = np.frombuffer(content[first:last], kinds[about["dtype"]])
        return values.reshape(about["shape"])

    return [
        _Stored(
            tensor(name),
            _factor(name, {other: tensor(other) for other in _norm_of(name, header)}),
            start + about["data_offsets"][0],
            about["data_offsets"][1] - about["data_offsets"][0],
        )
        for name, about in header.items()
        if about["dtype"] == "F16" and len(about["shape"]) == 4
    ]


def _norm_of(kernel: str, header: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of gain and variance of the batch norm that follows a convolution of torchvision's
    resnet18; nothing where there is none."""
    module = kernel.removesuffix(".weight")
    norm = module.replace("downsample.0", "downsample.1").replace("conv", "bn")
    names = (f"{norm}.weight", f"{norm}.running_var")
    return names if all(name in header for name in names) else ()


def _factor(kernel: str, norm: Mapping[str, Array]) -> Array | None:
    if not norm:
        return None
    gain, variance = (values.astype(np.float64) for values in norm.values())
    return np.asarray(gain / np.sqrt(variance + np.float32(_EPSILON)))


def _find(values: Array, stored: list[_Stored]) -> _Stored | None:
    for candidate in stored:
        if candidate.kernel.shape != values.shape:
            continue
        if np.array_equal(candidate.kernel, values):
            return candidate
        if candidate.factor is not None:
            scaled = candidate.kernel.astype(np.float64) * candidate.factor[:, None, None, None]
            if np.array_equal(scaled.astype(np.float32).astype(np.float16), values):
                return candidate
    return None


def _refer(initialiser: onnx.TensorProto, found: _Stored, file: str, name: str) -> None:
    initialiser.name = name
    _point(initialiser, file, found.offset, found.length)


def _point(initialiser: onnx.TensorProto, file: str, offset: int, length: int) -> None:
    initialiser.ClearField("raw_data")
    initialiser.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", length)):
        initialiser.external_data.add(key=key, value=str(value))


def _folding(name: str) -> list[onnx.NodeProto]:
    """Stored kernel x factors in float64, rounded to float32 and then to half precision."""
    steps = [f"{name}.{step}" for step in ("wide", "scaled", "single")]
    kinds = onnx.TensorProto
    make = onnx.helper.make_node
    return [
        make("Cast", [name + _STORED], [steps[0]], steps[0], to=kinds.DOUBLE),
        make("Mul", [steps[0], f"{name}.factor"], [steps[1]], steps[1]),
        make("Cast", [steps[1]], [steps[2]], steps[2], to=kinds.FLOAT),
        make("Cast", [steps[2]], [name], f"{name}.folded", to=kinds.FLOAT16),
    ]
