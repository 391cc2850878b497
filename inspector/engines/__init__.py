"""Inference engines behind one protocol, so that scan, export gate, doctor and bench compare like
with like. Importing this package loads no engine; `open_backend` imports the one asked for."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from inspector.engines.device import Device
from inspector.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inspector.engines.openvino import OpenVinoBackend
    from inspector.engines.ort import OnnxRuntimeBackend
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
    """Where it really runs: `cpu` or `cuda:0`."""
    providers: tuple[str, ...]
    """What the engine says it uses, in its own words."""
    why: str
    """One sentence: why it runs on this device."""
    stages: tuple[str, ...]
    """What can judge an image, as `precision@pixels`, in the order in which it is asked."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What went other than asked for while it ran, such as smaller batches."""
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
) -> Backend:
    """Load `bundle` into an engine, or into several in a row.

    `device` is `auto`, `cpu`, `cuda[:i]` or `cuda:all` (one engine per GPU); anything but `auto` is
    a demand: BackendError when the engine would run elsewhere. `threads` bounds the CPU threads of
    one run; None means all cores.
    What a reduced `precision` is not sure of at `thresholds` (None: the bundle's own) is deferred
    to the fp32 variant.
    Raises BundleError when the bundle lacks a variant, UsageError for an unknown name.
    """
    from inspector.engines.deferral import DeferringBackend, Stage, UncertaintyBand

    margins = bundle.margins(precision)
    if not any(margins):
        return open_engine(bundle, name, device=device, precision=precision, threads=threads)
    band = UncertaintyBand.around(thresholds or bundle.thresholds, *margins)
    stages = []
    with ExitStack() as opened:
        for each, unsure in ((precision, band), ("fp32", UncertaintyBand())):
            engine = open_engine(bundle, name, device=device, precision=each, threads=threads)
            opened.callback(engine.close)
            stages.append(Stage(engine, unsure))
        opened.pop_all()
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
        from inspector.engines.ort import OnnxRuntimeBackend

        return OnnxRuntimeBackend
    if name == "openvino":
        from inspector.engines.openvino import OpenVinoBackend

        return OpenVinoBackend
    if name == "tensorrt":
        from inspector.engines.tensorrt import TensorRtBackend

        return TensorRtBackend
    raise UsageError(f"unknown backend {name!r}; choose one of: {', '.join(BACKENDS)}")
