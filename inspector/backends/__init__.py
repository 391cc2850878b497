"""Inference engines behind one protocol, so that scan, export gate, doctor and bench compare like
with like. Importing this package loads no engine; `open_backend` imports the one asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from inspector.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inspector.bundle import ModelBundle
    from inspector.types import Scores

BACKENDS = ("onnxruntime", "torchscript", "eager")
"""Engines that can run a bundle; the scan's default is the first."""


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
) -> Backend:
    """Load `bundle` into an engine.

    `device` is `auto`, `cpu` or `cuda[:i]`; anything but `auto` is a demand: BackendError when the
    engine would run elsewhere. `threads` bounds the CPU threads of one run; None means all cores.
    Raises BundleError when the bundle lacks the variant, UsageError for an unknown name.
    """
    if name == "onnxruntime":
        from inspector.backends.ort import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, device=device, precision=precision, threads=threads)
    if name == "torchscript":
        from inspector.backends.torch import TorchScriptBackend

        return TorchScriptBackend(bundle, device=device, threads=threads)
    if name == "eager":
        from inspector.backends.torch import EagerBackend

        return EagerBackend(bundle, device=device, threads=threads)
    raise UsageError(f"unknown backend {name!r}; choose one of: {', '.join(BACKENDS)}")
