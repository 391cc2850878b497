"""Inference engines behind one protocol.

Importing this package loads no engine; `open_backend` imports the one asked for.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from inspector.engines.device import Device
from inspector.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inspector.engines.onnxruntime import OnnxRuntimeBackend
    from inspector.engines.openvino import OpenVinoBackend
    from inspector.model.bundle import ModelBundle, Thresholds
    from inspector.types import Scores

BACKENDS = ("onnxruntime", "openvino", "tensorrt", "torchscript", "eager")
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
    why: str
    """One sentence: why it runs on this device."""
    stages: tuple[str, ...]
    """Stages that can judge an image, as `precision@pixels`, in their order."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Deviations from what was asked for, such as smaller batches."""
        ...

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """Judge N >= 1 images; raises BackendError when the engine fails."""
        ...

    def close(self) -> None:
        """Give back memory and threads."""
        ...


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
    """Load a bundle into an engine; for a reduced precision, into two in a row.

    Args:
        bundle: The model.
        name: One of `BACKENDS`.
        device: `auto`, `cpu`, `cuda[:i]` or `cuda:all` (one engine per GPU); anything but `auto` is
            a demand.
        precision: `fp32`, `int8` or `fp16`. What a reduced precision is not sure of is deferred to
            fp32.
        threads: CPU threads of one run; None: all cores.
        thresholds: Those that decide what it is not sure of; None: the bundle's own.
        opened: Engines of these settings that are open already, by precision. Those that are needed
            are taken out of it, and are closed with the backend.

    Raises:
        BackendError: The engine does not come up, or would run elsewhere than demanded.
        BundleError: The bundle lacks the variant.
        UsageError: Unknown name, or a precision that this engine does not run.
    """
    from inspector.engines.deferral import DeferringBackend, Stage, UncertaintyBand

    margins = bundle.margins(precision)
    band = UncertaintyBand.around(thresholds or bundle.thresholds, *margins)
    bands = {precision: band, "fp32": UncertaintyBand()} if any(margins) else {precision: band}
    stages = []
    with ExitStack() as on_error:
        for each, unsure in bands.items():
            engine = opened.pop(each, None) if opened else None
            engine = engine or open_engine(
                bundle, name, device=device, precision=each, threads=threads
            )
            on_error.callback(engine.close)
            stages.append(Stage(engine, unsure))
        on_error.pop_all()
    if len(stages) == 1:
        return stages[0].engine
    return DeferringBackend(stages, bundle.preprocess.size)


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
        from inspector.engines.fleet import open_fleet

        return open_fleet(
            lambda gpu: open_engine(bundle, name, device=gpu, precision=precision, threads=threads)
        )
    if name in TORCH_BACKENDS and precision != "fp32":
        raise UsageError(f"--backend {name} runs fp32 only, not {precision}")
    if name == "torchscript":
        from inspector.engines.torch import TorchScriptBackend

        return TorchScriptBackend(bundle, device=device, threads=threads)
    if name == "eager":
        from inspector.engines.torch import EagerBackend

        return EagerBackend(bundle, device=device, threads=threads)
    return _onnx_engine(name)(bundle, device=device, precision=precision, threads=threads)


def _onnx_engine(name: str) -> type[OnnxRuntimeBackend | OpenVinoBackend]:
    """The engine that reads the bundle's ONNX files under this name."""
    if name == "onnxruntime":
        from inspector.engines.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend
    if name == "openvino":
        from inspector.engines.openvino import OpenVinoBackend

        return OpenVinoBackend
    if name == "tensorrt":
        from inspector.engines.tensorrt import TensorRtBackend

        return TensorRtBackend
    raise UsageError(f"unknown backend {name!r}; choose one of: {', '.join(BACKENDS)}")
