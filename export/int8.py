"""The int8 variant: static quantisation (QDQ) of an exported float32 file, calibrated on photos.

Activations are uint8, kernels int8 per output channel; the head (mean, linear layer, softmax,
activation map and OOD score) stays in float32. Kernels use 7 of their 8 bits: without
VNNI, x86 multiplies uint8 by int8 and adds neighbouring products in 16 bits, which overflow for
larger kernels (255 * 127 * 2 > 32767) and moved probabilities by up to 0.65. With 7 bits nothing
can overflow, so outputs do not depend on the CPU, at the same speed.

No other layer is left in float. Tried on the shipped model, one group at a time: the first stage
took a third off the mean error of the log odds (0.11 to 0.08) and a fifth off the speed; the
downsampling convolutions a fifth off the mean, nothing off the tail; the last stage nothing. A
margin around the thresholds (`export.gates`) makes up for more, and costs less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from export.graph import body, fold_batch_norm, silence, take_pixels, write_model
from inspector.core.machine import usable_cores
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES
from inspector.model.verdict import log_odds

_QUANTISED = ("Conv", "Relu", "MaxPool", "Add")
"""Operators that compute in integers; `Relu` vanishes into the range of what it follows."""
_METHODS: dict[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "percentile 99.999": (CalibrationMethod.Percentile, {"percentile": 99.999, "symmetric": False}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
"""Clipping at the 99.99th percentile is not tried: a thin crack is a rare, large activation, and
on the shipped model that moved log odds twice as far as the whole range does."""
_HISTOGRAM_IMAGES = 96
"""Photos for the methods that count every activation, which takes ten times as long."""
_CHUNK = 16
"""Images whose activations are held at once: about 25 MB each at 224 px."""
_TRIED_SHARE = 3
"""Every third calibration image sets no range; on these the methods are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """The method that set the ranges. `tried`: by method, the mean absolute difference of the crack
    log odds from float32 on `tried_images` images that set no range; the smallest was taken.
    Verdicts that differ would be too few to compare methods by."""

    method: str
    images: int
    tried_images: int
    tried: dict[str, float]


def quantise_to(
    fp32: Path, out: Path, calibration_NHWC: NDArray[np.uint8], metadata: Mapping[str, str]
) -> Quantisation:
    """Write the int8 form of the ONNX file `fp32` (as `export_onnx` writes it) to `out`.

    `calibration_NHWC` are photos as the model sees them, uint8 (K >= 3, size, size, 3); 256 to 512
    from all sources are plenty. The size of `fp32` is kept. The same file, photos and ONNX Runtime
    give the same bytes. Raises ValueError for photos of another size or too few, ExportError when
    the graph was not written by `export_onnx`.
    """
    exact = onnx.load(fp32)
    _check_photos(exact, calibration_NHWC)
    held_out = np.arange(len(calibration_NHWC)) % _TRIED_SHARE == _TRIED_SHARE - 1
    ranging_NHWC, trying_NHWC = calibration_NHWC[~held_out], calibration_NHWC[held_out]
    model = take_pixels(fold_batch_norm(exact))
    expected_N = _log_odds(exact, trying_NHWC)
    nodes = body(model.graph)
    candidates = {m: quantise(model, nodes, ranging_NHWC, method=m) for m in _METHODS}
    tried = {
        method: float(np.abs(_log_odds(candidate, trying_NHWC) - expected_N).mean())
        for method, candidate in candidates.items()
    }
    best = min(tried, key=lambda method: tried[method])
    write_model(candidates[best], metadata, out)
    return Quantisation(
        method=best, images=len(ranging_NHWC), tried_images=len(trying_NHWC), tried=tried
    )


def _check_photos(model: onnx.ModelProto, pixels_NHWC: NDArray[np.uint8]) -> None:
    sides = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:])
    if pixels_NHWC.shape[1:] != sides or len(pixels_NHWC) < _TRIED_SHARE:
        raise ValueError(
            f"needs at least {_TRIED_SHARE} photos of {sides}, not {pixels_NHWC.shape}"
        )


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batch_NHWC: NDArray[np.uint8]) -> None:
        self._batches = iter([{INPUT_NAME: batch_NHWC}])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)


def _ranges(model: onnx.ModelProto, method: str, pixels_NHWC: NDArray[np.uint8]) -> Any:
    """The range of every activation, as ONNX Runtime's quantiser takes it."""
    kind, options = _METHODS[method]
    if kind is not CalibrationMethod.MinMax:
        pixels_NHWC = pixels_NHWC[:: -(-len(pixels_NHWC) // _HISTOGRAM_IMAGES)]
    with silence(), TemporaryDirectory(prefix="inspector-calibration-") as scratch:
        file = Path(scratch) / "float.onnx"
        onnx.save(model, file)
        calibrator = create_calibrator(
            file,
            list(_QUANTISED),
            augmented_model_path=str(Path(scratch) / "augmented.onnx"),
            calibrate_method=kind,
            extra_options=options,
        )
        for start in range(0, len(pixels_NHWC), _CHUNK):
            calibrator.collect_data(_Reader(pixels_NHWC[start : start + _CHUNK]))
        return calibrator.compute_data()


def quantise(
    model: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto],
    pixels_NHWC: NDArray[np.uint8],
    *,
    method: str = "minmax",
) -> onnx.ModelProto:
    """`model` with QuantizeLinear/DequantizeLinear pairs around the `nodes` that can compute in
    integers, which the engine then does; `pixels_NHWC` set the ranges by `method`."""
    ranges = _ranges(model, method, pixels_NHWC)
    with silence():
        quantiser = QDQQuantizer(
            onnx.shape_inference.infer_shapes(model),
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[node.name for node in nodes],
            nodes_to_exclude=[],
            op_types_to_quantize=list(_QUANTISED),
            extra_options={},
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
    quantised: onnx.ModelProto = quantiser.model.model
    return quantised


def _log_odds(model: onnx.ModelProto, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Log odds of the second label for N images, float64 (N,)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs = [
        session.run([OUTPUT_NAMES[0]], {INPUT_NAME: pixels_NHWC[start : start + _CHUNK]})[0]
        for start in range(0, len(pixels_NHWC), _CHUNK)
    ]
    return log_odds(np.concatenate(outputs)[:, 1])
