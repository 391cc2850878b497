"""The narrow network as two int8 ONNX files with the outputs of the full one's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import torch
from onnx.utils import Extractor
from onnxscript import optimizer

from bench.recipe.narrow.network import NarrowForms
from export.graph import leading_to, maker, silence, take_pixels, write_model
from export.int8 import quantise
from export.onnx import OPSET
from inspector.engines.contract import VARIANTS
from inspector.model.bundle import DENSE_OUTPUTS, INPUT_NAME, NARROW, OUTPUT_NAMES, Variant
from inspector.model.windows import STRIDE
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from bench.recipe.narrow.network import NarrowNetwork
    from inspector.model.network import DeployedModel

TILES = Variant(file="model.narrow.onnx", backend=VARIANTS, precision=NARROW, crack_margin=0.0)
PHOTOS = Variant(file="dense.narrow.onnx", backend=VARIANTS, precision=NARROW, view=View.DENSE)


def export_narrow(
    network: NarrowNetwork,
    full: DeployedModel,
    photos_NHWC: NDArray[np.uint8],
    size: int,
    metadata: Mapping[str, str],
    out: Path,
) -> None:
    """Write both files to the folder `out`; `full` is the teacher, `photos_NHWC` set the ranges of
    the integers, `size` is the side of a tile in pixels, `metadata` that of the bundle's other
    files. Same network and photos, same bytes."""
    exact = take_pixels(_exported(NarrowForms(network, full).eval(), size))
    head = maker(exact.graph, maker(exact.graph, DENSE_OUTPUTS[0], "Gather").input[0], "Conv")
    both = quantise(exact, leading_to(exact.graph, [head.input[0]]), photos_NHWC)
    cells = size // STRIDE
    answers: tuple[list[int], ...] = ([2], [cells, cells], [])
    tiles = _part(both, (size, size), dict(zip(OUTPUT_NAMES, answers, strict=True)))
    write_model(tiles, metadata, out / TILES.file)
    maps = {name: [f"{name}_rows", f"{name}_columns"] for name in DENSE_OUTPUTS}
    write_model(_part(both, ("height", "width"), maps), metadata, out / PHOTOS.file)


def _exported(model: NarrowForms, size: int) -> onnx.ModelProto:
    """All outputs in one graph, in float32, for images of any size."""
    down, across = (torch.export.Dim(f"cells_{s}", min=size // STRIDE) for s in ("down", "across"))
    sides = {0: torch.export.Dim("batch", min=1), 1: STRIDE * down, 2: STRIDE * across}
    with silence():
        program = torch.onnx.export(
            model,
            (torch.zeros(2, size + 2 * STRIDE, size + STRIDE, 3, dtype=torch.uint8),),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[*OUTPUT_NAMES, *DENSE_OUTPUTS],
            dynamic_shapes={INPUT_NAME: sides},
            verbose=False,
        )
    assert program is not None  # None only without dynamo
    optimizer.optimize(program.model)
    return program.model_proto


def _part(
    model: onnx.ModelProto, sides: Sequence[int | str], outputs: Mapping[str, Sequence[int | str]]
) -> onnx.ModelProto:
    """What computes `outputs` of these shapes, for images of these `sides`."""
    part = Extractor(model).extract_model([INPUT_NAME], list(outputs))
    graph, value, kinds = part.graph, onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph.input[0].CopyFrom(value(INPUT_NAME, kinds.UINT8, ["batch", *sides, 3]))
    for output, shape in zip(graph.output, outputs.values(), strict=True):
        output.CopyFrom(value(output.name, kinds.FLOAT, ["batch", *shape]))
    return part
