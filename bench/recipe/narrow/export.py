"""The narrow network as two ONNX files with the outputs of the full one's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from onnxscript import optimizer

from bench.recipe.narrow.network import NarrowTiles
from export.graph import silence, write_model
from export.onnx import OPSET
from inspector.engines.contract import VARIANTS
from inspector.model.bundle import DENSE_OUTPUTS, INPUT_NAME, NARROW, OUTPUT_NAMES, Variant
from inspector.model.windows import STRIDE
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from bench.recipe.narrow.network import NarrowNetwork
    from inspector.model.network import DeployedModel

TILES = Variant(file="model.narrow.onnx", backend=VARIANTS, precision=NARROW, crack_margin=0.0)
PHOTOS = Variant(file="dense.narrow.onnx", backend=VARIANTS, precision=NARROW, view=View.DENSE)


def export_narrow(
    network: NarrowNetwork, full: DeployedModel, size: int, metadata: Mapping[str, str], out: Path
) -> None:
    """Write both files to the folder `out`; `full` is the teacher, `size` the side of a tile in
    pixels, `metadata` that of the bundle's other files. Same network, same bytes."""
    tiles = NarrowTiles(network, full).eval()
    batch = torch.export.Dim("batch", min=1)
    _write(tiles, (2, size, size), {0: batch}, OUTPUT_NAMES, metadata, out / TILES.file)
    down, across = (torch.export.Dim(f"cells_{s}", min=size // STRIDE) for s in ("down", "across"))
    sides = {0: batch, 1: STRIDE * down, 2: STRIDE * across}
    shape = (2, size + 2 * STRIDE, size + STRIDE)
    _write(network.eval(), shape, sides, DENSE_OUTPUTS, metadata, out / PHOTOS.file)


def _write(
    model: nn.Module, shape: tuple[int, int, int], dynamic: Mapping[int, object],
    outputs: tuple[str, ...], metadata: Mapping[str, str], file: Path,
) -> None:  # fmt: skip
    with silence():
        program = torch.onnx.export(
            model,
            (torch.zeros(*shape, 3, dtype=torch.uint8),),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=list(outputs),
            dynamic_shapes={INPUT_NAME: dynamic},
            verbose=False,
        )
    assert program is not None  # None only without dynamo
    optimizer.optimize(program.model)
    proto = program.model_proto
    if outputs == DENSE_OUTPUTS:
        for side, name in zip(
            proto.graph.input[0].type.tensor_type.shape.dim[1:3], ("height", "width"), strict=True
        ):
            side.dim_param = name
    write_model(proto, metadata, file)
