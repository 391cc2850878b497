"""ONNX Runtime: the engine that a scan uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspector.engines.batches import FittingBatches
from inspector.engines.contract import check_pixels, in_one_line, to_scores
from inspector.engines.device import Device
from inspector.engines.ort_buffers import BoundSession
from inspector.engines.ort_session import check_signature, obtained, open_session
from inspector.errors import BackendError
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from inspector.engines.batches import RunOnce
    from inspector.engines.contract import Answers
    from inspector.model.bundle import ModelBundle
    from inspector.types import Scores

VARIANTS = "onnxruntime"
"""The name under which bundles list their ONNX files, whichever engine reads them."""


class OnnxRuntimeBackend:
    """An ONNX file of the bundle in one inference session.

    A batch that does not fit into memory is halved and judged in parts; `notes` then says so.

    Raises BackendError when the provider obtained is not the one demanded, BundleError when the
    file is damaged or was exported from another model.
    """

    name = "onnxruntime"
    _most: int | None = None
    """Images that the engine takes at once, whatever the memory; None: any number."""

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
    ) -> None:
        path = bundle.file(bundle.variant(VARIANTS, precision).file)
        self._bundle, self._size = bundle, bundle.preprocess.size
        session, self.why = self._open(path, Device.parse(device), precision, threads)
        check_signature(session, bundle, path, self._size)
        where = obtained(session)
        self._batches = FittingBatches(_runner(session, where), most=self._most)
        self.device = str(where)
        self.providers: tuple[str, ...] = tuple(session.get_providers())
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
        except Exception as error:  # its classes share no base but Exception
            raise BackendError(
                f"ONNX Runtime failed on {self.device} with {len(pixels_NHWC)} images "
                f"({in_one_line(error)}); if memory ran out, use a smaller --batch-size"
            ) from error
        return to_scores(self._bundle, answers)

    def close(self) -> None:
        """Give back memory and threads; the backend cannot run afterwards."""
        del self._batches

    def _open(
        self, file: Path, device: Device, precision: str, threads: int | None
    ) -> tuple[Any, str]:
        """A session where `device` says, and why it runs there."""
        return open_session(file, device, threads)


def _runner(session: Any, device: Device) -> RunOnce:
    """On a GPU the buffers stay where they are; on the CPU the session reads the array itself."""
    if device.kind == "cuda":
        return BoundSession(session, "cuda", device.index)

    def run(pixels_NHWC: NDArray[np.uint8]) -> Answers:
        answers: Answers = tuple(session.run(list(OUTPUT_NAMES), {INPUT_NAME: pixels_NHWC}))
        return answers

    return run
