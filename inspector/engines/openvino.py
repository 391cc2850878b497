"""OpenVINO on the CPU: reads the bundle's ONNX files itself, several requests at a time."""

from __future__ import annotations

import contextlib
import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from inspector.core.machine import usable_cores
from inspector.engines import Device
from inspector.engines.contract import VARIANTS, GraphEngine, as_one, check_graph
from inspector.errors import BackendError, BundleError
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES
from inspector.model.stamp import model_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.engines.contract import Outputs
    from inspector.model.bundle import ModelBundle

_LARGEST_REQUEST = 16
"""Images per request. More gain nothing on a CPU, and less waits for the slowest stream."""
_FLOAT = "f32"


class OpenVinoBackend(GraphEngine):
    """An ONNX file of the bundle, compiled for the CPU.

    Computes in float32 what the file does not quantise, also where the CPU has bfloat16, unless
    `arithmetic` is `bf16`, whose verdicts no gate has seen: a benchmark's choice.
    `threads` bounds all requests together. One caller at a time.

    Raises BackendError when OpenVINO is missing or another device than the CPU is demanded,
    BundleError when the file is damaged or was exported from another model.
    """

    name, title = "openvino", "OpenVINO"
    device = "cpu"

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        arithmetic: str = _FLOAT,
    ) -> None:
        file = bundle.file(bundle.variant(VARIANTS, precision).file)
        _refuse_gpu(Device.parse(device))
        openvino = _load_openvino()
        core = openvino.Core()
        model = _read(core, file)
        check_graph(
            bundle,
            file,
            inputs=[_described(i, str(i.partial_shape)) for i in model.inputs],
            outputs=[_described(o, o.partial_shape.rank.get_length()) for o in model.outputs],
            dtypes=("u8", "f32"),
            metadata=_metadata(model, model_metadata(bundle)),
        )
        self._compiled = _compile(core, model, file, threads, arithmetic)
        streams = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [self._compiled.create_infer_request() for _ in range(streams)]
        super().__init__(bundle, precision, self._run_requests)
        devices = ", ".join(self._compiled.get_property("EXECUTION_DEVICES"))
        self.providers = (f"OpenVINO {openvino.__version__.partition('-')[0]} {devices}",)

    def close(self) -> None:
        super().close()
        del self._requests, self._compiled

    @staticmethod
    def cause(error: BaseException) -> str:
        return _first_cause(error)

    def _run_requests(self, pixels_NHWC: NDArray[np.uint8]) -> Outputs:
        """Requests take turns: the one whose turn comes hands over its outputs first."""
        outputs: list[Outputs] = []
        parts = _shares(pixels_NHWC, len(self._requests))
        try:
            for turn, part_NHWC in enumerate(parts):
                request = self._requests[turn % len(self._requests)]
                if turn >= len(self._requests):
                    outputs.append(_outputs_of(request))
                request.start_async({INPUT_NAME: part_NHWC}, share_inputs=True)
            for turn in range(len(outputs), len(parts)):
                outputs.append(_outputs_of(self._requests[turn % len(self._requests)]))
        finally:
            # After an error the others still read the caller's pixels and must not go on.
            for request in self._requests:
                with contextlib.suppress(RuntimeError):
                    request.wait()
        return as_one(outputs)


def _shares(pixels_NHWC: NDArray[np.uint8], streams: int) -> list[NDArray[np.uint8]]:
    """Parts of nearly equal size, as many for one stream as for the other; a short batch has one
    image per part."""
    n = len(pixels_NHWC)
    rounds = -(-n // (_LARGEST_REQUEST * streams))
    return np.array_split(np.require(pixels_NHWC, requirements="C"), min(n, rounds * streams))


def _outputs_of(request: Any) -> Outputs:
    """Wait for a request; its memory is overwritten by its next run, so copy."""
    request.wait()
    probabilities_NC, cam_NHW, ood_N = (
        np.array(request.get_tensor(name).data) for name in OUTPUT_NAMES
    )
    return probabilities_NC, cam_NHW, ood_N


def _refuse_gpu(device: Device) -> None:
    """Raises BackendError for a GPU: OpenVINO has none for NVIDIA's."""
    if device.kind == "cuda":
        raise BackendError(
            f"{device} was asked for, but OpenVINO runs on the CPU only; use --device cpu, "
            "or --backend onnxruntime"
        )


def _load_openvino() -> Any:
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise BackendError(
            f"OpenVINO does not load ({error}); install it with: "
            'pip install "crack-inspector[openvino]", or use --backend onnxruntime'
        ) from error


def _read(core: Any, file: Path) -> Any:
    try:
        return core.read_model(file)
    except RuntimeError as error:
        raise BundleError(
            f"{file} is not an ONNX model that can be run ({_first_cause(error)}); export it again"
        ) from error


def _compile(core: Any, model: Any, file: Path, threads: int | None, arithmetic: str) -> Any:
    """Compile the model, in a thread that is gone afterwards: OpenVINO gives the thread that
    compiles an alternate signal stack, and takes its memory away when several models are forgotten
    in another order than they came. The next signal that Python handles, such as Ctrl-C, would then
    be fatal."""
    settings = {
        # One request per stream, about a core each, instead of all cores on one request.
        "PERFORMANCE_HINT": "THROUGHPUT",
        # Left alone, CPUs with bfloat16 use it: the verdicts would not be those that were gated.
        "INFERENCE_PRECISION_HINT": arithmetic,
        "INFERENCE_NUM_THREADS": threads or usable_cores(),
        # Decoders and other engines use the same cores; the system knows which are free.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        with ThreadPoolExecutor(1) as thread:
            if arithmetic != _FLOAT:  # asking has the same effect as compiling
                can = thread.submit(core.get_property, "CPU", "OPTIMIZATION_CAPABILITIES").result()
                if arithmetic.upper() not in can:
                    raise BackendError(f"this CPU has no instructions for {arithmetic} arithmetic")
            return thread.submit(core.compile_model, model, "CPU", settings).result()
    except RuntimeError as error:
        raise BackendError(f"OpenVINO cannot compile {file} ({_first_cause(error)})") from error


T = TypeVar("T")


def _described(port: Any, shape: T) -> tuple[str, str, T]:
    return port.any_name, port.element_type.get_type_name(), shape


def _metadata(model: Any, names: Iterable[str]) -> dict[str, str]:
    """The ONNX file's own entries; OpenVINO files them under the framework a model came from."""
    paths = {name: ["framework", name] for name in names}
    return {n: model.get_rt_info(p).astype(str) for n, p in paths.items() if model.has_rt_info(p)}


def _first_cause(error: BaseException) -> str:
    """OpenVINO tells a story of where an error passed by; its cause stands in the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
