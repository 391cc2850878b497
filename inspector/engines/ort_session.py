"""Opening ONNX Runtime sessions, and making sure that they run where they were asked to."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from inspector.core.machine import usable_cores
from inspector.engines.contract import in_one_line
from inspector.engines.device import Device, has_nvidia_driver
from inspector.errors import BackendError, BundleError
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES, OUTPUT_RANKS
from inspector.model.metadata import check_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.model.bundle import ModelBundle

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

_WARNING, _FATAL = 2, 4
"""ONNX Runtime's log severities; 2 is its default."""

_UNREADABLE = (
    ort_errors.InvalidProtobuf,
    ort_errors.InvalidGraph,
    ort_errors.NoSuchFile,
)
"""What ONNX Runtime raises when the file, not the machine, is at fault."""


def built_for_cuda() -> bool:
    """Whether the installed ONNX Runtime has a CUDA provider, usable or not."""
    return CUDA in onnxruntime.get_available_providers()


def open_session(file: Path, device: Device, threads: int | None) -> tuple[Any, str]:
    """A session where `device` says, and one sentence on why it runs there. Raises BackendError
    when a demand for CUDA is not met, BundleError when the file cannot be read."""
    if device.kind == "cpu":
        return create(file, threads, [CPU]), "cpu was asked for"
    if device.kind == "cuda":
        return _cuda_session(file, device, threads), f"{device} was asked for"
    if not built_for_cuda():
        return create(file, threads, [CPU]), "this build of ONNX Runtime is for the CPU only"
    if not has_nvidia_driver():
        return create(file, threads, [CPU]), "no NVIDIA driver on this machine"
    try:
        return _cuda_session(file, Device("cuda"), threads), "a CUDA device is usable"
    except BackendError as error:
        return create(file, threads, [CPU]), f"CUDA did not come up: {error}"


def obtained(session: Any) -> Device:
    """Where the session really runs, by its own account."""
    if CUDA not in session.get_providers():
        return Device("cpu")
    options = session.get_provider_options().get(CUDA, {})
    return Device("cuda", int(options.get("device_id", 0)))


def cuda_provider(device: Device) -> tuple[str, dict[str, str]]:
    """The CUDA provider with the options that keep its answers those that were gated."""
    return CUDA, {
        "device_id": str(device.index),
        # TF32 keeps 10 bits of mantissa: the verdicts would not be those that were gated.
        "use_tf32": "0",
        # The default, EXHAUSTIVE, searches anew for every batch size, so also for the last batch.
        "cudnn_conv_algo_search": "HEURISTIC",
    }


def check_signature(session: Any, bundle: ModelBundle, file: Path, size: int) -> None:
    """Raises BundleError unless the graph takes images of `size` pixels, gives what the bundle
    says, and was exported from this bundle's model."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    found = [(i.name, i.type, list(i.shape[1:])) for i in inputs]
    if found != [(INPUT_NAME, "tensor(uint8)", [size, size, 3])]:
        raise BundleError(
            f"{file} takes {found}, not {INPUT_NAME!r} as uint8 (N, {size}, {size}, 3); "
            "export it again"
        )
    answers = [(o.name, o.type, len(o.shape)) for o in outputs]
    ranks = zip(OUTPUT_NAMES, OUTPUT_RANKS, strict=True)
    if answers != [(name, "tensor(float)", rank) for name, rank in ranks]:
        raise BundleError(
            f"{file} answers {answers}, not float32 {OUTPUT_NAMES} of ranks {OUTPUT_RANKS}; "
            "export it again"
        )
    check_metadata(bundle, file.name, session.get_modelmeta().custom_metadata_map)


def create(file: Path, threads: int | None, providers: list[Any]) -> Any:
    """Raises BundleError when the file is at fault, BackendError when the machine is."""
    try:
        with _quiet():
            return onnxruntime.InferenceSession(
                file, _session_options(threads), providers=providers, enable_fallback=0
            )
    except _UNREADABLE as error:
        raise BundleError(
            f"{file} is not an ONNX model that can be run ({in_one_line(error)}); export it again"
        ) from error
    except Exception as error:  # its classes share no base but Exception
        raise BackendError(f"ONNX Runtime cannot load {file} ({in_one_line(error)})") from error


def load_cuda_libraries() -> str:
    """Load the CUDA libraries of the nvidia-* wheels; without it ONNX Runtime does not find them
    and falls back to the CPU. Returns what went wrong, in one line, or an empty string."""
    if not hasattr(onnxruntime, "preload_dlls"):
        return ""
    printed = io.StringIO()
    # It reports by printing; stdout belongs to the caller's data.
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    failed = [line for line in printed.getvalue().splitlines() if line.startswith("Failed")]
    return "; ".join(failed[:2])


def likely_reason(load_trouble: str) -> str:
    """Why a GPU provider did not come up, as far as can be told from here."""
    if not has_nvidia_driver():
        return "there is no NVIDIA driver on this machine"
    if load_trouble:
        return f"CUDA libraries cannot be loaded ({load_trouble})"
    return "the GPU, its driver and this build of ONNX Runtime do not fit together"


def try_out(session: Any) -> None:
    """Judge one black image: a GPU for which this build has no kernels shows itself only then.
    Raises whatever ONNX Runtime raises."""
    images = session.get_inputs()[0]
    session.run(None, {images.name: np.zeros((1, *images.shape[1:]), np.uint8)})


def _cuda_session(file: Path, device: Device, threads: int | None) -> Any:
    """Raises BackendError unless the session really runs on `device`."""
    if not built_for_cuda():
        raise _refusal(device, "nothing", "this build of ONNX Runtime is for the CPU only")
    load_trouble = load_cuda_libraries()
    try:
        session = create(file, threads, [cuda_provider(device)])
    except BackendError as error:
        raise _refusal(device, "nothing", str(error)) from error
    where = obtained(session)
    if where != device:
        raise _refusal(device, str(where), likely_reason(load_trouble))
    try:
        try_out(session)
    except Exception as error:  # its classes share no base but Exception
        raise _refusal(device, "a session that cannot run", in_one_line(error)) from error
    return session


def _refusal(device: Device, found: str, reason: str) -> BackendError:
    return BackendError(
        f"{device} was asked for, but ONNX Runtime came up with {found}: {reason}. "
        "Use --device cpu, or repair the GPU set-up (inspector doctor shows it; the GPU build is "
        "onnxruntime-gpu[cuda,cudnn], installed without onnxruntime beside it)"
    )


def _session_options(threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    # Set even when it is all cores: left alone, ONNX Runtime counts cores it may not be allowed
    # to use and fails to pin threads to them.
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take cores from the decoders and from the other stage's
    # engine; every measurement on two cores showed more CPU time per image with it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What ONNX Runtime would log or warn about here is checked and said by this module."""
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="onnxruntime", category=UserWarning)
            yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)
