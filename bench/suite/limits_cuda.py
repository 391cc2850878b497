"""What a GPU can do at most: matrix products by cuBLAS, and copies to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.suite.limits_ceiling import Ceiling, UnmeasurableError, fastest
from bench.suite.limits_products import layer_shapes, operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.suite.limits_ceiling import Turn
    from bench.suite.limits_products import Shape

_IMAGES = 64
_SQUARE: Shape = (8192, 8192, 8192)
"""A GPU fills up on it; the network's own products may be too narrow for that."""
_IN_A_ROW = 8
"""Products between two waits for the GPU."""
_COPIED = 2**28


def cuda_ceilings() -> list[Ceiling]:
    kinds = (("fp32", "float32, TF32 off"), ("fp16", "float16"), ("int8", "int8"))
    products = [
        Ceiling(
            name=f"cuda_{name}",
            what=f"{name} matrix products on the GPU",
            unit="Gop/s",
            how=f"the fastest in each turn of cuBLAS through torch ({words}), on the products that "
            f"ResNet18's 3 x 3 convolutions are for {_IMAGES} images and on a square one of "
            f"{_SQUARE[0]}; a multiply-add counts 2",
            prepare=partial(_prepare_products, name),
        )
        for name, words in kinds
    ]
    copy = Ceiling(
        name="cuda_copy",
        what="copies from page-locked memory to the GPU",
        unit="GB/s",
        how=f"torch copies {_COPIED >> 20} MiB; each byte counts once; the fastest of each turn",
        prepare=_prepare_copy,
    )
    return [*products, copy]


def _need_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UnmeasurableError("PyTorch finds no CUDA device on this machine")


def _prepare_products(name: str) -> Turn:
    _need_gpu()
    import torch

    torch.set_float32_matmul_precision("highest")  # no TF32
    shapes = [*layer_shapes(_IMAGES), _SQUARE]
    runs = [(_IN_A_ROW * operations(shape), _product(name, shape)) for shape in shapes]
    for _, run in runs:
        run()
    return partial(fastest, runs)


def _product(name: str, shape: Shape) -> Callable[[], object]:
    import torch

    rows, inner, columns = shape
    # The summed axis last in both: the only layout in which cuBLAS multiplies int8.
    if name == "int8":
        left = torch.randint(-64, 64, (rows, inner), dtype=torch.int8, device="cuda")
        right = torch.randint(-64, 64, (columns, inner), dtype=torch.int8, device="cuda").t()
        multiply = partial(torch._int_mm, left, right)
    else:
        kind = {"fp32": torch.float32, "fp16": torch.float16}[name]
        left = torch.rand(rows, inner, dtype=kind, device="cuda")
        right = torch.rand(columns, inner, dtype=kind, device="cuda").t()
        multiply = partial(torch.matmul, left, right)

    def run() -> None:
        for _ in range(_IN_A_ROW):
            multiply()
        torch.cuda.synchronize()

    return run


def _prepare_copy() -> Turn:
    _need_gpu()
    import torch

    source = torch.ones(_COPIED, dtype=torch.uint8, pin_memory=True)
    target = torch.empty(_COPIED, dtype=torch.uint8, device="cuda")

    def copy() -> None:
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize()

    copy()
    return lambda seconds: fastest([(_COPIED / 1e9, copy)], seconds)
