"""OpenVINO on the CPU: reads the bundle's ONNX files itself, several requests at a time."""

from __future__ import annotations

import contextlib
import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.core.machine import usable_cores
from inspector.engines.batches import FittingBatches
from inspector.engines.contract import as_one, check_pixels, to_scores
from inspector.engines.device import Device
from inspector.errors import BackendError, BundleError
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES, OUTPUT_RANKS
from inspector.model.metadata import check_metadata, model_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.engines.contract import Answers
    from inspector.model.bundle import ModelBundle
    from inspector.types import Scores

_LARGEST_REQUEST = 16
"""Images per request. More gain nothing on a CPU, and less waits for the slowest stream."""
_FLOAT = "f32"
_VARIANTS = "onnxruntime"
"""The name under which bundles list their ONNX files."""


class OpenVinoBackend:
    """An ONNX file of the bundle, compiled for the CPU.

    Computes in float32 what the file does not quantise, also where the CPU has bfloat16, unless
    `arithmetic` is `bf16`, whose verdicts no gate has seen: a benchmark's choice.
    `threads` bounds all requests together. One caller at a time.

    Raises BackendError when OpenVINO is missing or another device than the CPU is demanded,
    BundleError when the file is damaged or was exported from another model.
    """

    name = "openvino"

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        arithmetic: str = _FLOAT,
    ) -> None:
        path = bundle.file(bundle.variant(_VARIANTS, precision).file)
        self._bundle, self._size = bundle, bundle.preprocess.size
        self.device, self.why = "cpu", _why_cpu(Device.parse(device))
        openvino = _load_openvino()
        core = openvino.Core()
        model = _read(core, path)
        _check_signature(openvino, model, bundle, path, self._size)
        self._compiled = _compile(core, model, path, threads, arithmetic)
        streams = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [self._compiled.create_infer_request() for _ in range(streams)]
        self._batches = FittingBatches(self._run_once)
        self.providers: tuple[str, ...] = (_obtained(openvino, self._compiled),)
        self.stages: tuple[str, ...] = (f"{precision}@{self._size}",)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about the runs so far; each said once."""
        return self._batches.notes

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """Judge N >= 1 images, uint8 (N, size, size, 3). Raises BackendError."""
        check_pixels(pixels_NHWC, self._size)
        try:
            answers = self._batches.run(pixels_NHWC)
        except Exception as error:  # OpenVINO raises RuntimeError and types of pybind11
            raise BackendError(
                f"OpenVINO failed with {len(pixels_NHWC)} images ({_first_cause(error)}); "
                "if memory ran out, use a smaller --batch-size"
            ) from error
        return to_scores(self._bundle, answers)

    def close(self) -> None:
        """Give back memory and threads; the backend cannot run afterwards."""
        del self._batches, self._requests, self._compiled

    def _run_once(self, pixels_NHWC: NDArray[np.uint8]) -> Answers:
        """Requests take turns: the one whose turn comes hands over its answers first."""
        answers: list[Answers] = []
        parts = _shares(pixels_NHWC, len(self._requests))
        try:
            for turn, part_NHWC in enumerate(parts):
                request = self._requests[turn % len(self._requests)]
                if turn >= len(self._requests):
                    answers.append(_answers_of(request))
                request.start_async({INPUT_NAME: part_NHWC}, share_inputs=True)
            for turn in range(len(answers), len(parts)):
                answers.append(_answers_of(self._requests[turn % len(self._requests)]))
        finally:
            # After an error the others still read the caller's pixels and must not go on.
            for request in self._requests:
                with contextlib.suppress(RuntimeError):
                    request.wait()
        return as_one(answers)


def _shares(pixels_NHWC: NDArray[np.uint8], streams: int) -> list[NDArray[np.uint8]]:
    """Parts of nearly equal size, as many for one stream as for the other; a short batch has one
    image per part."""
    n = len(pixels_NHWC)
    rounds = -(-n // (_LARGEST_REQUEST * streams))
    return np.array_split(np.require(pixels_NHWC, requirements="C"), min(n, rounds * streams))


def _answers_of(request: Any) -> Answers:
    """Wait for a request; its memory is overwritten by its next run, so copy."""
    request.wait()
    probabilities_NC, cam_NHW, ood_N = (
        np.array(request.get_tensor(name).data) for name in OUTPUT_NAMES
    )
    return probabilities_NC, cam_NHW, ood_N


def _why_cpu(device: Device) -> str:
    """Raises BackendError for a GPU: OpenVINO has none for NVIDIA's."""
    if device.kind == "cuda":
        raise BackendError(
            f"{device} was asked for, but OpenVINO runs on the CPU only; use --device cpu, "
            "or --backend onnxruntime"
        )
    return "cpu was asked for" if device.kind == "cpu" else "OpenVINO runs on the CPU"


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
    """In a thread that is gone afterwards: OpenVINO gives the thread that compiles an alternate
    signal stack, and takes its memory away when several models are forgotten in another order
    than they came. The next signal that Python handles, such as Ctrl-C, would then be fatal."""
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


def _obtained(openvino: Any, compiled: Any) -> str:
    """The version and the devices, as OpenVINO tells them."""
    devices = ", ".join(compiled.get_property("EXECUTION_DEVICES"))
    return f"OpenVINO {openvino.__version__.partition('-')[0]} {devices}"


def _check_signature(openvino: Any, model: Any, bundle: ModelBundle, file: Path, size: int) -> None:
    """Raises BundleError unless the graph takes and gives what the bundle says and was exported
    from this bundle's model."""
    takes = [(i.any_name, i.element_type, str(i.partial_shape)) for i in model.inputs]
    if takes != [(INPUT_NAME, openvino.Type.u8, f"[?,{size},{size},3]")]:
        raise BundleError(
            f"{file} takes {takes}, not {INPUT_NAME!r} as uint8 (N, {size}, {size}, 3); "
            "export it again"
        )
    ranks = zip(OUTPUT_NAMES, OUTPUT_RANKS, strict=True)
    gives = [(o.any_name, o.element_type, o.partial_shape.rank.get_length()) for o in model.outputs]
    if gives != [(name, openvino.Type.f32, rank) for name, rank in ranks]:
        raise BundleError(
            f"{file} answers {gives}, not float32 {OUTPUT_NAMES} of ranks {OUTPUT_RANKS}; "
            "export it again"
        )
    check_metadata(bundle, file.name, _metadata(model, model_metadata(bundle)))


def _metadata(model: Any, names: Iterable[str]) -> dict[str, str]:
    """The ONNX file's own entries; OpenVINO files them under the framework a model came from."""
    paths = {name: ["framework", name] for name in names}
    return {n: model.get_rt_info(p).astype(str) for n, p in paths.items() if model.has_rt_info(p)}


def _first_cause(error: Exception) -> str:
    """OpenVINO tells a story of where an error passed by; its cause stands in the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
