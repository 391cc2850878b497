"""TensorRT through ONNX Runtime: engines built for one GPU, kept between runs."""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import TYPE_CHECKING, Any

import onnxruntime

from inspector.core.machine import installed_version, private_folder
from inspector.engines import Device
from inspector.engines.onnxruntime import OnnxRuntimeBackend, cuda_provider, gpu_session
from inspector.errors import BackendError, UsageError
from inspector.model.bundle import INPUT_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.model.bundle import ModelBundle

TENSORRT = "TensorrtExecutionProvider"
_USUAL_BATCH, _LARGEST_BATCH = 64, 256
"""Images. TensorRT tunes its kernels for the first, and takes no more than the second."""
_DISTRIBUTIONS = ("tensorrt-cu13", "tensorrt-cu12", "tensorrt")
_OF_THE_SYSTEM = "-of-the-system"
"""Stands for the version where no wheel is installed."""


class TensorRtBackend(OnnxRuntimeBackend):
    """The bundle's ONNX variant in TensorRT, on a GPU only.

    The first run on a machine builds an engine, which takes minutes; it is kept under the user's
    cache folder, by model file and versions. `fp32` and `fp16` take the variant of that precision.

    Raises BackendError when TensorRT does not come up, UsageError for another precision.
    """

    name, title = "tensorrt", "TensorRT"
    most = _LARGEST_BATCH

    @staticmethod
    def open(
        bundle: ModelBundle, file: Path, device: Device, precision: str, threads: int | None
    ) -> tuple[Any, str | None]:
        if precision not in ("fp32", "fp16"):
            # The int8 file's activations are unsigned, for CPUs; TensorRT takes signed ones only.
            raise UsageError(
                f"--backend tensorrt does not run --precision {precision}; choose fp32 or fp16"
            )
        if device.kind == "cpu":
            raise BackendError(
                "tensorrt needs an NVIDIA GPU, but cpu was asked for; "
                "use --device cuda, or --backend onnxruntime"
            )
        device = Device("cuda", device.index)
        folder = _engine_folder(bundle, file)
        options = _options(device, bundle.preprocess.size, precision == "fp16", folder)
        session = _session(file, device, threads, options)
        note = "TensorRT's engines cannot be kept: every run builds them again"
        return session, None if folder else note


def _session(file: Path, device: Device, threads: int | None, options: dict[str, str]) -> Any:
    """Raises BackendError unless the session really runs in TensorRT on `device`."""

    def refusal(found: str, reason: str) -> BackendError:
        cuda = "cu" + str(onnxruntime.cuda_version or "13").partition(".")[0]
        if _tensorrt_version() == _OF_THE_SYSTEM and found.startswith("CUDA"):
            reason = "TensorRT's libraries were not found"
        return BackendError(
            f"TensorRT on {device} was asked for, but ONNX Runtime came up with {found}: {reason}. "
            "Use --backend onnxruntime, or install TensorRT: "
            f'pip install "tensorrt-{cuda}>=10,<11"'
        )

    if TENSORRT not in onnxruntime.get_available_providers():
        raise refusal("nothing", "this build of ONNX Runtime has no TensorRT provider")
    # TensorRT has no option of its own against TF32, which keeps 10 bits of mantissa.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    with contextlib.suppress(ImportError):
        # Loads TensorRT's libraries from its wheel, where ONNX Runtime does not look for them.
        importlib.import_module("tensorrt")
    providers = [(TENSORRT, options), cuda_provider(device)]
    return gpu_session(file, device, threads, providers, refusal)


def _options(device: Device, size: int, fp16: bool, folder: Path | None) -> dict[str, str]:
    """Options of the provider, whose engine fits 1 to `_LARGEST_BATCH` images."""

    def shape(batch: int) -> str:
        return f"{INPUT_NAME}:{batch}x{size}x{size}x3"

    options = {
        "device_id": str(device.index),
        "trt_fp16_enable": str(int(fp16)),
        "trt_profile_min_shapes": shape(1),
        "trt_profile_opt_shapes": shape(_USUAL_BATCH),
        "trt_profile_max_shapes": shape(_LARGEST_BATCH),
    }
    if folder is not None:
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
        }
    return options


def _engine_folder(bundle: ModelBundle, file: Path) -> Path | None:
    """The folder for this file's engines, named by everything that decides them but the kind of
    GPU, which ONNX Runtime writes into their names. None where nothing can be written."""
    versions = f"ort{onnxruntime.__version__}-trt{_tensorrt_version()}"
    key = f"{bundle.digest[:12]}-{bundle.files[file.name][:12]}-{versions}"
    cache = private_folder()
    if cache is None:
        return None
    folder = cache / "tensorrt" / key
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _tensorrt_version() -> str:
    return next(filter(None, map(installed_version, _DISTRIBUTIONS)), _OF_THE_SYSTEM)
