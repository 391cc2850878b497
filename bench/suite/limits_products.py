"""How fast the processor multiplies matrices, by the libraries that the engines use."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bench.suite.limits_ceiling import SETTLE_S, Ceiling, fastest
from inspector.core.machine import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from bench.suite.limits_ceiling import Turn

    Shape = tuple[int, int, int]
    """Rows, summed over, columns."""
    Run = tuple[float, Callable[[], object]]
    """Work, and what does it."""
    Way = Callable[[Shape], Callable[[], object]]
    """Makes the matrices of a product; what it returns multiplies them once."""

T = TypeVar("T")

LAYERS = ((64, 56), (128, 28), (256, 14), (512, 7))
"""Channels and side of the feature maps of ResNet18's four stages at 224 px (He et al. 2016, table
1)."""
_KERNEL = 9
"""Weights per pair of channels of its 3 x 3 convolutions."""
IMAGES = (1, 8)
"""A single image's matrices lie in the caches of a small processor and fill its cores; one with
many cores needs more. Where they come from memory, it and not arithmetic is measured, and they
are left out for being slower."""
SQUARE = (256, 256, 256)
"""Not the network's, but on some processors the fastest of all."""
TOO_LONG_S = 0.05
"""For one image's product: more images would only take more time."""
_TRIAL_S = 0.01
_LEAST_OF_WAYS, _LEAST_OF_RUNS = 0.4, 0.8
"""Share of the fastest library's or product's rate below which another is no candidate for the
ceiling; the rest gets longer turns."""
_MOST_RUNS = 4
_OPSET, _IR = 17, 9
"""Old enough for every ONNX Runtime that can be installed."""


def layer_shapes(images: int) -> list[Shape]:
    """The matrix products that ResNet18's 3 x 3 convolutions are for so many images: a row for each
    pixel, a column for each channel."""
    return [(images * side**2, _KERNEL * width, width) for width, side in LAYERS]


def operations(shape: Shape) -> float:
    """Two for each multiply-add, in units of 10^9."""
    rows, inner, columns = shape
    return 2e-9 * rows * inner * columns


def product_ceilings() -> list[Ceiling]:
    """fp32, bf16 and int8, with all cores."""
    ways: Mapping[str, tuple[str, Callable[[], Sequence[Way]]]] = {
        "fp32": ("torch.matmul and ONNX Runtime's MatMul", _float_ways),
        "bf16": ("torch.matmul and torch.nn.functional.linear in bfloat16", _bfloat_ways),
        "int8": ("ONNX Runtime's MatMulInteger and QLinearMatMul (uint8 x int8)", _byte_ways),
    }
    return [
        Ceiling(
            name=name,
            what=f"{name} matrix products by all cores",
            unit="Gop/s",
            how=f"the fastest in each turn of {words}, {usable_cores()} thread(s), on the products "
            "that ResNet18's 3 x 3 convolutions are, and a square one of 256; the small ones lie "
            "in the caches; a multiply-add counts 2",
            prepare=partial(_prepare, makers),
        )
        for name, (words, makers) in ways.items()
    ]


def _prepare(makers: Callable[[], Sequence[Way]]) -> Turn:
    """Leaves out slow ways and shapes first: processors without instructions for a type emulate it,
    some at a hundredth of the rate."""
    middle = layer_shapes(1)[2]
    rates = {way: _try_out((operations(middle), way(middle))) for way in makers()}
    slow = operations(middle) / max(rates.values()) > TOO_LONG_S
    shapes = [*layer_shapes(1), SQUARE] if slow else _all_shapes()
    runs = [
        (operations(shape), way(shape)) for way in _close(rates, _LEAST_OF_WAYS) for shape in shapes
    ]
    best = _close({run: _try_out(run) for run in runs}, _LEAST_OF_RUNS)
    return partial(_turn, best[:_MOST_RUNS])


def _all_shapes() -> list[Shape]:
    return [SQUARE, *(shape for images in IMAGES for shape in layer_shapes(images))]


def _close(rates: Mapping[T, float], least: float) -> list[T]:
    """Those of at least that share of the highest rate, the fastest first."""
    ordered = sorted(rates, key=lambda one: -rates[one])
    return [one for one in ordered if rates[one] >= least * rates[ordered[0]]]


def _try_out(run: Run) -> float:
    fastest([run], 0)  # plans kernels
    return fastest([run], _TRIAL_S)


def _turn(runs: Sequence[Run], seconds: float) -> float:
    """Each for a while, not by turns: the threads of a library spin for a moment after each call
    and would be in the way of another's."""
    best = 0.0
    for run in runs:
        time.sleep(SETTLE_S)
        best = max(best, fastest([run], seconds / len(runs)))
    return best


def _float_ways() -> Sequence[Way]:
    return _torch_matmul("float32"), _onnx_matmul


def _bfloat_ways() -> Sequence[Way]:
    return _torch_matmul("bfloat16"), _torch_linear


def _byte_ways() -> Sequence[Way]:
    return _onnx_matmul_integer, _onnx_qlinear_matmul


def _torch_matmul(dtype: str) -> Way:
    def make(shape: Shape) -> Callable[[], object]:
        import torch

        torch.set_num_threads(usable_cores())
        rows, inner, columns = shape
        kind = getattr(torch, dtype)
        left, right = torch.rand(rows, inner).to(kind), torch.rand(inner, columns).to(kind)
        return partial(torch.matmul, left, right, out=torch.empty(rows, columns, dtype=kind))

    return make


def _torch_linear(shape: Shape) -> Callable[[], object]:
    """Both matrices with the summed axis last, which some kernels are much faster on."""
    import torch

    torch.set_num_threads(usable_cores())
    rows, inner, columns = shape
    left, right = torch.rand(rows, inner).bfloat16(), torch.rand(columns, inner).bfloat16()
    return partial(torch.nn.functional.linear, left, right)


def _onnx_matmul(shape: Shape) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    rows, inner, columns = shape
    left, right = rng.random((rows, inner), np.float32), rng.random((inner, columns), np.float32)
    return _session(("MatMul", ["left", "right"]), left, {"right": right}, np.float32)


def _onnx_matmul_integer(shape: Shape) -> Callable[[], object]:
    left, right = _bytes(shape)
    return _session(("MatMulInteger", ["left", "right"]), left, {"right": right}, np.int32)


def _onnx_qlinear_matmul(shape: Shape) -> Callable[[], object]:
    left, right = _bytes(shape)
    constants = {
        "right": right,
        "scale": np.float32(0.01),
        "zero_left": np.uint8(0),
        "zero_right": np.int8(0),
    }
    inputs = ["left", "scale", "zero_left", "right", "scale", "zero_right", "scale", "zero_left"]
    return _session(("QLinearMatMul", inputs), left, constants, np.uint8)


def _bytes(shape: Shape) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Weights of 7 bits, as the int8 engines have: two products of 8 bits overflow the 16 bits in
    which processors without VNNI add them up."""
    rng = np.random.default_rng(0)
    rows, inner, columns = shape
    left = rng.integers(0, 256, (rows, inner), np.uint8)
    return left, rng.integers(-64, 64, (inner, columns), np.int8)


def _session(
    node: tuple[str, list[str]], left: NDArray[Any], constants: Mapping[str, Any], answer: type
) -> Callable[[], object]:
    """A graph of one operator whose second matrix is a constant, as an engine's weights are."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    def kind(dtype: Any) -> int:
        return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    operator, inputs = node
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["product"])],
        "product",
        [helper.make_tensor_value_info("left", kind(left.dtype), left.shape)],
        [helper.make_tensor_value_info("product", kind(answer), None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opsets = [onnx.OperatorSetIdProto(domain="", version=_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    bound = session.io_binding()
    bound.bind_cpu_input("left", left)
    bound.bind_output("product")
    return partial(session.run_with_iobinding, bound)
