"""ONNX Runtime: the engine that a scan uses, and sessions that run where they were asked to."""

from __future__ import annotations

import contextlib
import io
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from inspector.core.machine import usable_cores
from inspector.engines import Device, has_nvidia_driver, visible_gpus
from inspector.engines.contract import (
    ON_THE_CPU,
    VARIANTS,
    GraphEngine,
    check_graph,
    in_one_line,
    is_out_of_memory,
)
from inspector.errors import BackendError, BundleError
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.engines.contract import Outputs, RunOnce
    from inspector.model.bundle import ModelBundle

    Refusal = Callable[[str, str], BackendError]
    """Makes the error of what came up instead, and why."""

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_WARNING, _FATAL = 2, 4
"""ONNX Runtime's log severities; 2 is its default."""
_UNREADABLE = (ort_errors.InvalidProtobuf, ort_errors.InvalidGraph, ort_errors.NoSuchFile)
"""Exceptions of ONNX Runtime when the file, not the machine, is at fault."""
_ANY_SIDE = 256
"""Pixels along a side of an image for a graph that takes any."""
_CPU_BUILD = "this build of ONNX Runtime is for the CPU only"
_NO_DRIVER = "there is no NVIDIA driver on this machine"


class OnnxRuntimeBackend(GraphEngine):
    """An ONNX file of the bundle in one inference session.

    Raises BackendError when the provider obtained is not the one demanded, BundleError when the
    file is damaged or was exported from another model.
    """

    name, title = "onnxruntime", "ONNX Runtime"
    most: int | None = None

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
    ) -> None:
        file = bundle.file(bundle.variant(VARIANTS, precision).file)
        session, note = self.open(bundle, file, Device.parse(device), precision, threads)
        check_session(bundle, file, session)
        where = obtained(session)
        super().__init__(bundle, precision, _runner(session, where), self.most, note)
        self.device = str(where)
        self.providers = tuple(session.get_providers())

    @staticmethod
    def open(
        bundle: ModelBundle, file: Path, device: Device, precision: str, threads: int | None
    ) -> tuple[Any, str | None]:
        """A session where `device` says, and a note where there is something to know of it."""
        return open_session(file, device, threads)


def check_session(bundle: ModelBundle, file: Path, session: Any, view: View = View.WHOLE) -> None:
    """Raises BundleError unless the session's graph is what the bundle says for `view`."""
    check_graph(
        bundle,
        file,
        inputs=[(i.name, i.type, _shape(i.shape)) for i in session.get_inputs()],
        outputs=[(o.name, o.type, len(o.shape)) for o in session.get_outputs()],
        dtypes=("tensor(uint8)", "tensor(float)"),
        metadata=session.get_modelmeta().custom_metadata_map,
        view=view,
    )


def _shape(shape: list[Any]) -> str:
    return f"[?,{','.join(map(str, shape[1:]))}]"


def _runner(session: Any, device: Device) -> RunOnce:
    """Make the function that runs the session: on a GPU with buffers that stay there, on the CPU
    directly on the array."""
    if device.kind == "cuda":
        return BoundSession(session, "cuda", device.index)

    def run(pixels_NHWC: NDArray[np.uint8]) -> Outputs:
        outputs: Outputs = tuple(session.run(list(OUTPUT_NAMES), {INPUT_NAME: pixels_NHWC}))
        return outputs

    return run


class _Buffer:
    """One batch on the device, bound to the session as its input."""

    def __init__(self, session: Any, shape: tuple[int, ...], device: str, index: int) -> None:
        self.shape = shape
        self.images = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            shape, np.uint8, device, index
        )
        self.binding = session.io_binding()
        self.binding.bind_ortvalue_input(INPUT_NAME, self.images)
        for name in OUTPUT_NAMES:  # a few hundred bytes per image
            self.binding.bind_output(name, "cpu")


class BoundSession:
    """Runs a session through IO binding: a batch is copied once, into memory that was allocated
    for a batch of its shape before it. One caller at a time."""

    def __init__(self, session: Any, device: str, index: int = 0) -> None:
        """`device` is ONNX Runtime's name of where the session's input lies: `cuda` or `cpu`."""
        self._session = session
        self._place = (device, index)
        self._buffer: _Buffer | None = None

    def __call__(self, pixels_NHWC: NDArray[np.uint8]) -> Outputs:
        """Raises what ONNX Runtime raises, after the buffer was given back."""
        buffer, self._buffer = self._buffer, None
        if buffer is None or buffer.shape != pixels_NHWC.shape:
            del buffer  # before the next one is made
            buffer = _Buffer(self._session, pixels_NHWC.shape, *self._place)
        buffer.images.update_inplace(np.ascontiguousarray(pixels_NHWC))
        self._session.run_with_iobinding(buffer.binding)
        probabilities_NC, cam_NHW, ood_N = buffer.binding.copy_outputs_to_cpu()
        self._buffer = buffer
        # Copies: the next run may write its outputs into the same memory.
        return np.array(probabilities_NC), np.array(cam_NHW), np.array(ood_N)


def built_for_cuda() -> bool:
    """Whether the installed ONNX Runtime has a CUDA provider, usable or not."""
    return CUDA in onnxruntime.get_available_providers()


def why_no_gpu() -> str:
    """Say why no session can run on a GPU, as far as that is known before one is open. Empty where
    one may."""
    if not built_for_cuda():
        return _CPU_BUILD
    if not has_nvidia_driver():
        return _NO_DRIVER
    if not visible_gpus():
        return "the NVIDIA driver shows this process no GPU"
    return _without_libraries(_load_cuda_libraries())


def open_session(file: Path, device: Device, threads: int | None) -> tuple[Any, str | None]:
    """A session where `device` says, and a note where there is an NVIDIA driver and it came up on
    the CPU all the same. Raises BackendError when a demand for CUDA is not met, BundleError when
    the file cannot be read."""
    if device.kind == "cuda":
        return _cuda_session(file, device, threads, partial(_refusal, device)), None
    note = None
    if device.kind == "auto" and has_nvidia_driver():
        try:
            gpu, refusal = Device("cuda"), lambda _, reason: BackendError(reason)
            return _cuda_session(file, gpu, threads, refusal), None
        except BackendError as error:
            note = f"{ON_THE_CPU}: {error}"
    return create(file, threads, [CPU]), note


def create(file: Path, threads: int | None, providers: list[Any]) -> Any:
    """A session. Raises BundleError when the file is at fault, BackendError when the machine is."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    # Set even when it is all cores: left alone, ONNX Runtime counts cores it may not be allowed
    # to use and fails to pin threads to them.
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take cores from the decoders and from the other stage's
    # engine; every measurement on two cores showed more CPU time per image with it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        with _quiet():
            return onnxruntime.InferenceSession(
                file, options, providers=providers, enable_fallback=0
            )
    except Exception as error:  # its classes share no base but Exception
        said = in_one_line(error)
        if is_out_of_memory(error):
            raise BackendError(
                f"too little memory to load {file} ({said}); give this program more (ulimit -v, "
                "the limit of a container), or end others"
            ) from error
        if isinstance(error, _UNREADABLE):
            raise BundleError(
                f"{file} is not an ONNX model that can be run ({said}); export it again"
            ) from error
        raise BackendError(f"ONNX Runtime cannot load {file} ({said})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what ONNX Runtime would log or warn about; this module checks and says it."""
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="onnxruntime", category=UserWarning)
            yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


def obtained(session: Any) -> Device:
    """The device that the session really runs on, by its own account."""
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


def gpu_session(
    file: Path, device: Device, threads: int | None, providers: list[Any], refusal: Refusal
) -> Any:
    """A session on the first of `providers`. Raises BackendError, made by `refusal`, unless it
    really runs there, on `device`, and can judge an image."""
    if not has_nvidia_driver():
        raise refusal("nothing", _NO_DRIVER)
    trouble = _load_cuda_libraries()
    try:
        session = create(file, threads, providers)
    except BackendError as error:
        raise refusal("nothing", str(error)) from error
    found = session.get_providers()
    if providers[0][0] not in found or obtained(session) != device:
        other = "the GPU, its driver and this build of ONNX Runtime do not fit together"
        reason = _without_libraries(trouble) or other
        raise refusal(f"{' and '.join(found)} on {obtained(session)}", reason)
    images = session.get_inputs()[0]
    try:  # a GPU for which this build has no kernels shows itself only then
        sides = (side if isinstance(side, int) else _ANY_SIDE for side in images.shape[1:])
        session.run(None, {images.name: np.zeros((1, *sides), np.uint8)})
    except Exception as error:  # its classes share no base but Exception
        raise refusal("a session that cannot run", in_one_line(error)) from error
    return session


def _load_cuda_libraries() -> str:
    """Load the CUDA libraries of the nvidia-* wheels; without it ONNX Runtime does not find them
    and falls back to the CPU. Returns what went wrong, in one line, or an empty string."""
    printed = io.StringIO()
    # It reports by printing; stdout belongs to the caller's data.
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    failed = [line for line in printed.getvalue().splitlines() if line.startswith("Failed")]
    return "; ".join(failed[:2])


def _without_libraries(trouble: str) -> str:
    return trouble and f"CUDA libraries cannot be loaded ({trouble})"


def _refusal(device: Device, found: str, reason: str) -> BackendError:
    return BackendError(
        f"{device} was asked for, but ONNX Runtime came up with {found}: {reason}. "
        "Use --device cpu, or repair the GPU set-up (inspector doctor shows it; the GPU build "
        "is onnxruntime-gpu[cuda,cudnn], installed without onnxruntime beside it)"
    )


def _cuda_session(file: Path, device: Device, threads: int | None, refusal: Refusal) -> Any:
    if not built_for_cuda():
        raise refusal("nothing", _CPU_BUILD)
    return gpu_session(file, device, threads, [cuda_provider(device)], refusal)
