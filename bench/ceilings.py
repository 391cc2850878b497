"""The most that this machine does of the two kinds of work a scan consists of, multiplying matrices
and decoding photos, and which share of it a case reaches.

Measured by `python -m bench.ceilings REQUEST`, a process that loads every library there is.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from bench.engines import CUDA
from bench.inputs import NATIVE, PHOTOS, TILES
from bench.prepare import Bench
from bench.processes import run_program, without_folders
from bench.results import ENGINE, SCAN, Case, Ceiling
from export.photos import spread_evenly
from inspector.core.machine import usable_cores
from inspector.core.untrusted import checked
from inspector.errors import BackendError
from inspector.model.bundle import ModelBundle
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.photos.source import Discovery
from inspector.types import Decoded

Run = Callable[[], object]
Turn = Callable[[float], float]
"""Measures for about so many seconds and returns a rate."""
Asked = tuple[Ceiling, Callable[[], Turn]]
"""A ceiling without samples yet, and what prepares its turns."""

TURNS = 3
"""Samples of each ceiling, spread over the whole time."""
ARITHMETIC, DECODING, ENGINE_ALONE = "arithmetic", "JPEG decoding", "engine alone"
NEAR = 0.5
"""Share of a ceiling from which it is said to be the limit."""
_EXCEEDED = 1.005
"""Share that is shown as more than 100 %."""
_SIDES, _CUDA_SIDES = (256, 512, 768, 2048), (2048, 8192)
"""Sides of square matrices, ascending. Small ones lie in the caches, large ones fill many cores;
products of the shapes that ResNet18's convolutions have were no faster."""
_OPSET, _IR = 17, 9
"""Old enough for every ONNX Runtime that can be installed."""


def ask_ceilings(bench: Bench, seconds: float) -> dict[str, Ceiling]:
    """Measure the ceilings in a process of their own, in about `seconds`. Raises BackendError when
    it fails."""
    request = bench.work / "ceilings.json"
    files = {job.input.name: [ref.path for ref in job.input.refs] for job in bench.jobs}
    spec = bench.bundle.preprocess.to_json()
    wanted = {**files, "preprocess": spec, "seconds": seconds, "device": bench.device}
    request.write_text(json.dumps(wanted), encoding="utf-8")
    ended = run_program(["bench.ceilings", str(request)], bench.work)
    if ended.trouble:
        raise BackendError(f"this machine's ceilings could not be measured: {ended.trouble}")
    return {name: checked(Ceiling, of) for name, of in ended.said.items()}


def main() -> None:
    """Print every ceiling by its name as JSON."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    spec = checked(PreprocessSpec, request["preprocess"])
    turns = {
        "fp32": _products("fp32", "ONNX Runtime", partial(_onnx_product, "MatMul"), _SIDES),
        "int8": _products("int8", "ONNX Runtime", partial(_onnx_product, "MatMulInteger"), _SIDES),
        "bf16": _products("bf16", "torch", partial(_torch_product, "bf16", "cpu"), _SIDES),
    }
    for precision in ("fp32", "fp16", "int8") if request["device"] == CUDA else ():
        make = partial(_torch_product, precision, CUDA)
        turns[f"cuda_{precision}"] = _products(precision, "torch", make, _CUDA_SIDES)
    how = "this project's decoder in one thread, from files to the model's pixels"
    for name in (TILES, PHOTOS):
        what, files = f"{name} decoded by one core", [Path(path) for path in request[name]]
        ceiling = Ceiling(what=what, unit="images/s", samples=[], how=how)
        turns[f"jpeg_{name}"] = ceiling, partial(_decoding, files, spec)
    found = _measure(turns, request["seconds"])
    print(json.dumps({name: asdict(ceiling) for name, ceiling in found.items()}))


def _products(
    precision: str, library: str, make: Callable[[int], Run], sides: tuple[int, ...]
) -> Asked:
    where = "on the GPU" if sides is _CUDA_SIDES else f"by {usable_cores()} core(s)"
    how = (
        f"the fastest of {library}'s products of square matrices, sides "
        f"{', '.join(map(str, sides))}; a multiply-add counts 2"
    )
    what = f"{precision} matrix products {where}"
    ceiling = Ceiling(what=what, unit="Gop/s", samples=[], how=how)
    return ceiling, partial(_multiplying, make, sides)


def _measure(turns: Mapping[str, Asked], seconds: float) -> dict[str, Ceiling]:
    """`TURNS` samples of each ceiling, by turns; one that fails says why and costs no other."""
    ready: dict[str, Turn] = {}
    for _ in range(TURNS):
        for name, (ceiling, prepare) in turns.items():
            if ceiling.reason:
                continue
            try:
                turn = ready.get(name) or ready.setdefault(name, prepare())
                ceiling.samples.append(turn(seconds / TURNS / len(turns)))
            except Exception as error:  # whatever a library raises
                words = " ".join(without_folders(str(error)).split())[:200]
                ceiling.samples, ceiling.reason = [], words or type(error).__name__
    return {name: ceiling for name, (ceiling, _) in turns.items()}


def _decoding(files: Sequence[Path], spec: PreprocessSpec) -> Turn:
    refs = list(Discovery([str(file) for file in spread_evenly(files, 16)])) if files else []
    good = [ref for ref in refs if isinstance(decode(ref, spec), Decoded)]
    if not good:
        raise ValueError("there is no such image that can be decoded")
    images = cycle(good)

    def turn(seconds: float) -> float:
        began, count, spent = time.perf_counter(), 0, 0.0
        while not count or spent < seconds:
            decode(next(images), spec)
            count, spent = count + 1, time.perf_counter() - began
        return count / spent

    return turn


def _multiplying(make: Callable[[int], Run], sides: Sequence[int]) -> Turn:
    """Highest rate of any single product; of sides for which there is no time, none is tried."""
    runs = {2e-9 * side**3: make(side) for side in sides}

    def turn(seconds: float) -> float:
        best = 0.0
        for work, run in runs.items():
            if best and work / best > seconds:
                break
            run()  # plans kernels
            end = time.perf_counter() + seconds / len(runs)
            while not best or time.perf_counter() < end:
                began = time.perf_counter()
                run()
                best = max(best, work / (time.perf_counter() - began))
        return best

    return turn


def _torch_product(precision: str, device: str, side: int) -> Run:
    import torch

    torch.set_num_threads(usable_cores())
    torch.set_float32_matmul_precision("highest")  # no TF32
    kinds = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    scale = 100 if precision == "int8" else 1
    made = scale * torch.rand(2, side, side, device=device)
    left, right = made.to(kinds.get(precision, torch.int8))
    multiply = torch._int_mm if precision == "int8" else torch.matmul

    def run() -> None:
        multiply(left, right.t())  # the layout in which cuBLAS multiplies int8
        if device == CUDA:
            torch.cuda.synchronize()

    return run


def _onnx_product(operator: str, side: int) -> Run:
    """A graph of one operator whose second matrix is a constant, as an engine's weights are."""
    import onnxruntime
    from onnx import OperatorSetIdProto, TensorProto, helper, numpy_helper

    left, right = np.random.default_rng(0).random((2, side, side), np.float32)
    kinds = TensorProto.FLOAT, TensorProto.FLOAT
    if operator == "MatMulInteger":
        # Weights of 7 bits, as the int8 engines have: two products of 8 bits overflow the 16 bits
        # in which processors without VNNI add them up.
        left, right = (255 * left).astype(np.uint8), (127 * right - 64).astype(np.int8)
        kinds = TensorProto.UINT8, TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", kinds[0], left.shape)],
        [helper.make_tensor_value_info("product", kinds[1], None)],
        [numpy_helper.from_array(right, "right")],
    )
    opsets = [OperatorSetIdProto(domain="", version=_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    bound = session.io_binding()
    bound.bind_cpu_input("left", left)
    bound.bind_output("product")
    return partial(session.run_with_iobinding, bound)


def count_operations(bundle: ModelBundle) -> float:
    """Arithmetic operations per image, two per multiply-add, counted by torch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from inspector.model.network import load_deployed

    side = bundle.preprocess.size
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        load_deployed(bundle)(torch.zeros((1, side, side, 3), dtype=torch.uint8))
    return float(counter.get_total_flops())


def add_shares(cases: Sequence[Case], ceilings: Mapping[str, Ceiling], per_image: float) -> None:
    """Fill in `shares` of every case measured; `per_image` counts arithmetic operations."""
    peaks = {name: ceiling.peak for name, ceiling in ceilings.items()}
    alone: dict[str, float] = {}
    for case in cases:
        if case.level == ENGINE and case.rates:
            alone[case.name] = max(alone.get(case.name, 0.0), *case.rates)
    for case in cases:
        case.shares = dict(_shares(case, peaks, per_image, alone)) if case.rate else {}


def _shares(
    case: Case, peaks: Mapping[str, float | None], per_image: float, alone: Mapping[str, float]
) -> Iterator[tuple[str, float]]:
    if case.level == ENGINE:
        on_gpu = "cuda_" if str(case.device).startswith(CUDA) else ""
        if products := peaks.get(f"{on_gpu}{case.precision}"):
            yield f"{case.precision} {ARITHMETIC}", case.median * per_image / 1e9 / products
        return
    if case.level == SCAN and case.input != NATIVE and case.name in alone:
        yield ENGINE_ALONE, case.median / alone[case.name]
    if decoded := peaks.get(f"jpeg_{case.input}"):
        yield DECODING, case.median / (decoded * usable_cores())


def limited_by(case: Case) -> str:
    """The ceiling of which a case reaches most, where that is much of it; else empty."""
    share, name = max(((share, name) for name, share in case.shares.items()), default=(0.0, ""))
    return name if share >= NEAR else ""


def percent_of(share: float) -> str:
    """A share of a ceiling in words; if more than the most was reached, that was not the most."""
    return f"{share * 100:.0f} %" + (" (measured too low)" if share >= _EXCEEDED else "")


if __name__ == "__main__":
    main()
