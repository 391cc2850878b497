"""Inference engines behind one protocol, and the devices that they run on.

Importing this package loads no engine; `open_backend` imports the one asked for.
"""

from __future__ import annotations

import ctypes
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from inspector.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from inspector.model.bundle import ModelBundle, Thresholds
    from inspector.types import Scores


_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class Device:
    """A parsed `--device`. `kind` is `auto`, `cpu` or `cuda`; `index` counts the GPUs from 0.
    `every` (`cuda:all`) means all GPUs there are; no single engine takes it."""

    kind: str
    index: int = 0
    every: bool = False

    def __str__(self) -> str:
        if self.every:
            return f"{self.kind}:all"
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind

    @classmethod
    def parse(cls, text: str) -> Device:
        """Raises UsageError unless `auto`, `cpu`, `cuda`, `cuda:<i>` or `cuda:all`."""
        match = re.fullmatch(r"(auto|cpu|cuda)(?:(?<=cuda):(all|[0-9]{1,4}))?", text)
        if match is None:
            raise UsageError(
                f"unknown device {text!r}; choose auto, cpu, cuda, cuda:<i> or cuda:all"
            )
        if match[2] == "all":
            return cls(match[1], every=True)
        return cls(match[1], int(match[2] or 0))


def has_nvidia_driver() -> bool:
    """Whether the NVIDIA driver's library loads; without it no CUDA engine can come up."""
    return _driver() is not None


def visible_gpus() -> int:
    """Count the GPUs that the driver lets this process use, by CUDA_VISIBLE_DEVICES; 0 without a
    driver, or with one that does not start."""
    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(_DRIVER)
    except OSError:
        return None


_HOMES = {
    "onnxruntime": "inspector.engines.onnxruntime:OnnxRuntimeBackend",
    "openvino": "inspector.engines.openvino:OpenVinoBackend",
    "tensorrt": "inspector.engines.tensorrt:TensorRtBackend",
    "torchscript": "inspector.engines.torch:TorchScriptBackend",
    "eager": "inspector.engines.torch:EagerBackend",
}
BACKENDS = tuple(_HOMES)
"""Engines that can run a bundle; the scan's default is the first."""
TORCH_BACKENDS = ("torchscript", "eager")
"""Those that run the weights in fp32 only."""


class Backend(Protocol):
    """A model that is loaded and ready."""

    name: str
    device: str
    """Device that it really runs on: `cpu` or `cuda:0`."""
    providers: tuple[str, ...]
    """Libraries or providers in use, in the engine's own words."""
    stages: tuple[str, ...]
    """Stages that can judge an image, as `precision@pixels`, in their order."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Deviations from what was asked for or can be expected, such as smaller batches."""

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """Judge N >= 1 images; raises BackendError when the engine fails."""

    def close(self) -> None:
        """Give back memory and threads."""


def open_backend(
    bundle: ModelBundle,
    name: str = "onnxruntime",
    *,
    device: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
    thresholds: Thresholds | None = None,
    opened: dict[str, Backend] | None = None,
) -> Backend:
    """Load a bundle into an engine; for a reduced precision, into several in a row.

    Args:
        bundle: The model.
        name: One of `BACKENDS`.
        device: `auto`, `cpu`, `cuda[:i]` or `cuda:all` (one engine per GPU); anything but `auto` is
            a demand.
        precision: `fp32`, `int8`, `fp16` or `narrow`. What a reduced precision is not sure of is
            deferred to fp32; what the narrow network is not, to int8 and then to fp32.
        threads: CPU threads of one run; None: all cores.
        thresholds: Those that decide what it is not sure of; None: the bundle's own.
        opened: Engines of these settings that are open already, by precision. Those that are needed
            are taken out of it, and are closed with the backend.

    Raises:
        BackendError: The engine does not come up, or would run elsewhere than demanded.
        BundleError: The bundle lacks the variant.
        UsageError: Unknown name, or a precision that this engine does not run.
    """
    from inspector.engines.combined import DeferringBackend, chain

    bands = chain(bundle, precision, thresholds or bundle.thresholds)
    stages = []
    with ExitStack() as on_error:
        for each, unsure in bands.items():
            engine = opened.pop(each, None) if opened else None
            engine = engine or open_engine(
                bundle, name, device=device, precision=each, threads=threads
            )
            on_error.callback(engine.close)
            stages.append((engine, unsure))
        on_error.pop_all()
    if len(stages) == 1:
        return stages[0][0]
    return DeferringBackend(stages)


def open_engine(
    bundle: ModelBundle,
    name: str = "onnxruntime",
    *,
    device: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
) -> Backend:
    """One engine for one variant of the bundle, which defers nothing. Arguments and errors as in
    `open_backend`."""
    if Device.parse(device).every:
        from inspector.engines.combined import open_fleet

        return open_fleet(
            lambda gpu: open_engine(bundle, name, device=gpu, precision=precision, threads=threads)
        )
    if name not in _HOMES:
        raise UsageError(f"unknown backend {name!r}; choose one of: {', '.join(BACKENDS)}")
    if name in TORCH_BACKENDS and precision != "fp32":
        raise UsageError(f"--backend {name} runs fp32 only, not {precision}")
    module, _, kind = _HOMES[name].partition(":")
    engine: Callable[..., Backend] = getattr(import_module(module), kind)
    if name in TORCH_BACKENDS:
        return engine(bundle, device=device, threads=threads)
    return engine(bundle, device=device, precision=precision, threads=threads)
