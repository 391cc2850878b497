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
    from inspector.model.bundle import Cascade, ModelBundle, Thresholds
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
    """What can decide an image, as `precision@pixels`; a cascade has several, in their order."""

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
    cascade: bool = False,
    thresholds: Thresholds | None = None,
) -> Backend:
    """Load `bundle` into an engine, or into several in a row.

    `device` is `auto`, `cpu`, `cuda[:i]` or `cuda:all` (one engine per GPU); anything but `auto` is
    a demand: BackendError when the engine would run elsewhere. `threads` bounds the CPU threads of
    one run; None means all cores.
    What a reduced `precision` leaves in doubt, given `thresholds` (None: the bundle's own), the
    fp32 variant decides; with `cascade`, the bundle's low-resolution stage comes first.
    Raises BundleError when the bundle lacks a variant, UsageError for an unknown name.
    """
    from inspector.engines.cascade import CascadeBackend, Doubt, Stage

    size = bundle.preprocess.size
    with ExitStack() as opened:

        def stage(precision: str, doubt: Doubt, low: Cascade | None = None) -> Stage:
            engine = open_engine(
                bundle, name, device=device, precision=precision, threads=threads, low=low
            )
            opened.callback(engine.close)
            return Stage(engine, low.size if low else size, doubt)

        stages = []
        if cascade:
            low = bundle.first_stage()
            stages.append(stage(low.precision, Doubt.between(low), low))
        margins = bundle.margins(precision)
        if any(margins):
            around = Doubt.around(thresholds or bundle.thresholds, *margins)
            stages.append(stage(precision, around))
        stages.append(stage("fp32" if any(margins) else precision, Doubt()))
        opened.pop_all()
    return stages[0].engine if len(stages) == 1 else CascadeBackend(stages, threads=threads)


def open_engine(
    bundle: ModelBundle,
    name: str = "onnxruntime",
    *,
    device: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
    low: Cascade | None = None,
) -> Backend:
    """One engine, whatever it leaves in doubt: for a variant of the bundle, or for the
    low-resolution stage `low`. Arguments and errors as in `open_backend`."""
    if Device.parse(device).every:
        from inspector.engines.fleet import open_fleet

        return open_fleet(
            lambda gpu: open_engine(
                bundle, name, device=gpu, precision=precision, threads=threads, low=low
            )
        )
    if name in TORCH_BACKENDS and (precision != "fp32" or low is not None):
        raise UsageError(f"--backend {name} runs neither --precision {precision} nor a cascade")
    if name == "torchscript":
        from inspector.engines.torch import TorchScriptBackend

        return TorchScriptBackend(bundle, device=device, threads=threads)
    if name == "eager":
        from inspector.engines.torch import EagerBackend

        return EagerBackend(bundle, device=device, threads=threads)
    return _onnx_engine(name)(
        bundle,
        device=device,
        precision=precision,
        threads=threads,
        file=low.file if low else None,
        size=low.size if low else None,
    )


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
