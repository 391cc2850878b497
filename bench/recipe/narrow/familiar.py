"""What a narrow network may decide: tiles that look like those it has learned from.

On walls of another kind it can be as sure as on its own, and wrong. So its file also measures how
far the features of a tile are from those of training tiles with the same answer, and raises the
out-of-distribution score of what is farther than most of them: a scan defers that to the model.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES
from inspector.predict import predict_batches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.labelled.folder import LabelledImage
    from inspector.model.bundle import ModelBundle
    from inspector.types import Batch

    Features = NDArray[np.float64]

SHARES = 0.8, 0.95
"""Share of the training tiles that are familiar: of those without a crack, and of those with one.
Fewer of the former: what is wrong among them is a crack that nobody sees."""
STRANGE = 4.0
"""Out-of-distribution score of what is not: above any threshold."""
_LEAST = 0.02
"""Added to the features before their logarithm: many channels are silent on even walls."""
_RIDGE = 1e-3
_MEASURED = 5
"""One tile in so many tells how far familiar ones are; the others, where they lie."""
_ANSWERS = "clear", "crack"
_EVEN = 0.5


def limit_to_familiar(file: Path, tiles: Sequence[LabelledImage], bundle: ModelBundle) -> None:
    """Add the measure to the narrow ONNX file for tiles, fitted on `tiles`, from which the network
    has learned by `bundle`. Raises ValueError for a graph that has no such features."""
    model = onnx.load(file)
    means = _means_of(model)
    features_NF, says_crack_N, is_crack_N = _look(model, means, tiles, bundle)
    fitted = [
        _fit(features_NF[(says_crack_N == crack) & (is_crack_N == crack)], share)
        for crack, share in zip((False, True), SHARES, strict=True)
    ]
    centre_CF, whitening_CFF = (np.stack(part) for part in zip(*fitted, strict=True))
    _add(model, means, centre_CF, whitening_CFF, bundle.positive_index)
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _means_of(model: onnx.ModelProto) -> str:
    """The value that holds every channel's mean over a tile, (N, F, 1, 1): what the network squares
    to measure deviations."""
    found = [node.input[0] for node in model.graph.node if node.op_type == "Pow"]
    if len(found) != 1:
        raise ValueError(f"{len(found)} squares in the graph of a narrow network; it has one")
    return str(found[0])


def _look(
    model: onnx.ModelProto, means: str, tiles: Sequence[LabelledImage], bundle: ModelBundle
) -> tuple[Features, NDArray[np.bool_], NDArray[np.bool_]]:
    """Features of the N tiles that can be decoded, whether the network calls each a crack, and
    whether it is one."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    opened.graph.output.append(helper.make_tensor_value_info(means, TensorProto.FLOAT, None))
    session = InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(batch: Batch) -> tuple[Features, NDArray[np.bool_]]:
        p_NC, means_NF11 = session.run([OUTPUT_NAMES[0], means], {INPUT_NAME: batch.pixels_NHWC})
        logarithms_NF = np.log(means_NF11[:, :, 0, 0] + _LEAST)
        return logarithms_NF.astype(np.float64), p_NC[:, bundle.positive_index] >= _EVEN

    found, is_crack = [], []
    with closing(predict_batches(tiles, bundle.preprocess, run)) as batches:
        for batch, outputs in batches:
            if outputs is not None:
                found.append(outputs)
                is_crack += [tiles[photo.ref.index].is_crack for photo in batch.photos]
    features, says_crack = (np.concatenate(part) for part in zip(*found, strict=True))
    return features, says_crack, np.array(is_crack)


def _fit(features_NF: Features, share: float) -> tuple[Features, Features]:
    """Centre (F,) and whitening (F, F) in which `share` of the features are nearer than 1."""
    measured_N = np.arange(len(features_NF)) % _MEASURED == 0
    learned_NF = features_NF[~measured_N]
    covariance_FF = np.cov(learned_NF.T)
    covariance_FF += (
        _RIDGE * np.trace(covariance_FF) / len(covariance_FF) * np.eye(len(covariance_FF))
    )
    centre_F = learned_NF.mean(axis=0)
    whitening_FF = np.linalg.inv(np.linalg.cholesky(covariance_FF)).T
    distance_N = np.linalg.norm((features_NF[measured_N] - centre_F) @ whitening_FF, axis=1)
    return centre_F, whitening_FF / np.quantile(distance_N, share)


def _add(
    model: onnx.ModelProto,
    means: str,
    centre_CF: Features,
    whitening_CFF: Features,
    positive: int,
) -> None:
    """Nodes that raise the score of tiles farther than 1 from the centre of their answer."""
    graph, score = model.graph, OUTPUT_NAMES[2]
    own = f"own_{score}"
    for node in graph.node:
        node.output[:] = [own if name == score else name for name in node.output]
    values = {
        "least": np.float32(_LEAST), "even": np.float32(_EVEN), "strange": np.float32(STRANGE),
        "one": np.float32(1), "crack": np.int64(positive), "sides": np.array([2, 3]),
        "features": np.array([1]),
    }  # fmt: skip
    for crack, name in enumerate(_ANSWERS):
        values[f"{name}_centre"] = centre_CF[crack].astype(np.float32)
        values[f"{name}_whitening"] = whitening_CFF[crack].astype(np.float32)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"familiar_{name}")
        for name, value in values.items()
    )

    def add(kind: str, inputs: str, output: str, **attributes: Any) -> None:
        """`inputs` are split at spaces; names of `values` stand for these."""
        names = [f"familiar_{name}" if name in values else name for name in inputs.split()]
        graph.node.append(helper.make_node(kind, names, [output], **attributes))

    add("Squeeze", f"{means} sides", "familiar_means")
    add("Add", "familiar_means least", "familiar_some")
    add("Log", "familiar_some", "familiar_logarithms")
    for name in _ANSWERS:
        add("Sub", f"familiar_logarithms {name}_centre", f"familiar_{name}_offset")
        add("MatMul", f"familiar_{name}_offset {name}_whitening", f"familiar_{name}_place")
        add("ReduceL2", f"familiar_{name}_place features", f"familiar_{name}_distance", keepdims=0)
    add("Gather", f"{OUTPUT_NAMES[0]} crack", "familiar_p", axis=1)
    add("GreaterOrEqual", "familiar_p even", "familiar_is_crack")
    distances = " ".join(f"familiar_{name}_distance" for name in reversed(_ANSWERS))
    add("Where", f"familiar_is_crack {distances}", "familiar_distance")
    add("Less", "familiar_distance one", "familiar_is_near")
    add("Max", f"{own} strange", "familiar_raised")
    add("Where", f"familiar_is_near {own} familiar_raised", score)
