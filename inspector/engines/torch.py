"""The torch engines: the exported TorchScript file, and the eager model that is the reference."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from inspector.engines import Device, has_nvidia_driver
from inspector.engines.contract import ON_THE_CPU, GraphEngine
from inspector.errors import BackendError, BundleError, UsageError
from inspector.model.network import load_deployed
from inspector.model.stamp import check_metadata, model_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.engines.contract import Outputs
    from inspector.model.bundle import ModelBundle


class _TorchBackend(GraphEngine):
    """Base of both engines. `threads` and, on a GPU, full float32 precision are settings of
    torch as a whole, so they hold for the process."""

    title = "torch"

    def __init__(
        self, bundle: ModelBundle, *, device: str = "auto", threads: int | None = None
    ) -> None:
        model = self.load(bundle)
        self._device, note = resolve_device(Device.parse(device))
        super().__init__(bundle, "fp32", self._run_once, note=note)
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            self._model = model.to(self._device)
        except RuntimeError as error:
            raise BackendError(f"the model does not load on {self._device} ({error})") from error
        self.device = str(self._device)
        self.providers = (f"torch {torch.__version__}",)

    @staticmethod
    def load(bundle: ModelBundle) -> Any:
        """The model, on the CPU."""
        raise NotImplementedError

    @torch.inference_mode()
    def _run_once(self, pixels_NHWC: NDArray[np.uint8]) -> Outputs:
        # A copy where it is read-only or strided: torch warns about the one, refuses some of the
        # other.
        pixels_NHWC = np.require(pixels_NHWC, requirements=["C", "W"])
        images = torch.from_numpy(pixels_NHWC).to(self._device)
        outputs: Outputs = tuple(t.cpu().numpy() for t in self._model(images))
        return outputs

    def close(self) -> None:
        """Give back memory; the backend cannot run afterwards."""
        super().close()
        del self._model
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class EagerBackend(_TorchBackend):
    """The bundle's weights in the network's own code: what every export is compared with."""

    name = "eager"

    @staticmethod
    def load(bundle: ModelBundle) -> Any:
        return load_deployed(bundle)


class TorchScriptBackend(_TorchBackend):
    """The bundle's `model.ts`, a program that could do all that the user may. Raises UsageError
    unless the bundle is trusted, BundleError when it was exported from another model."""

    name = "torchscript"

    @staticmethod
    def load(bundle: ModelBundle) -> Any:
        file = bundle.file(bundle.variant("torchscript", "fp32").file)
        if not bundle.trusted:  # before it is loaded: that alone may run it
            raise UsageError(
                f"{file} is a program, which could read and write all your files; add --trust if "
                "you trust whoever made it, or use another --backend"
            )
        model, metadata = _load_script(file, list(model_metadata(bundle)))
        check_metadata(bundle, file.name, metadata)
        return model


def built_for_cuda() -> bool:
    """Whether the installed torch has CUDA kernels, usable or not."""
    return torch.version.cuda is not None


def _load_script(file: Path, names: list[str]) -> tuple[Any, dict[str, str]]:
    """The scripted model on the CPU, and what it says about itself."""
    extra: dict[str, Any] = dict.fromkeys(names, "")
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated as a whole; the README says so once, not every run.
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
            model = torch.jit.load(file, map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise BundleError(
            f"{file} is not a TorchScript model that can be run ({error}); export it again"
        ) from error
    found = {name: v.decode() if isinstance(v, bytes) else v for name, v in extra.items()}
    return model.eval(), found


def resolve_device(device: Device) -> tuple[torch.device, str | None]:
    """The torch device, and a note where it is not what an NVIDIA driver promises. What is float32
    there keeps all its digits from then on, in this process. Raises BackendError when a demand
    fails."""
    # TF32 keeps 10 bits of mantissa: the verdicts would not be those that were gated.
    torch.backends.cudnn.allow_tf32 = False
    usable = torch.cuda.is_available()
    if device.kind == "auto":
        idle = has_nvidia_driver() and not usable
        note = f"{ON_THE_CPU}: torch sees no CUDA GPU" if idle else None
        return torch.device("cuda:0" if usable else "cpu"), note
    if device.kind == "cuda" and (not usable or device.index >= torch.cuda.device_count()):
        raise BackendError(
            f"{device} was asked for, but torch sees {torch.cuda.device_count()} CUDA GPUs; "
            "use --device cpu, or repair the GPU set-up (inspector doctor shows it)"
        )
    return torch.device(str(device)), None
