"""Base of the engines that run ONNX files: batches cut down to what memory holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.engines.contract import as_one, check_pixels, in_one_line, to_scores
from inspector.errors import BackendError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inspector.engines.contract import Outputs, RunOnce
    from inspector.model.bundle import ModelBundle
    from inspector.types import Scores

_SIGNS = (
    "out of memory",
    "outofmemory",
    "failed to allocate",
    "smaller than requested bytes",
    "alloc_failed",
    "bad_alloc",
    "bad allocation",
)
"""Words of ONNX Runtime's arenas, OpenVINO, CUDA and its libraries, and the C++ library when memory
is short; their exceptions have no class of their own for it."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an engine failed for want of memory, by what it says."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _SIGNS)


class FittingBatches:
    """Runs batches of any size on an engine that can hold only so many images at once.

    When memory runs out the batch is halved, again if need be, down to one image, and the size
    that was found is kept for the rest. `most` bounds it from the start.
    """

    def __init__(self, run_once: RunOnce, *, most: int | None = None) -> None:
        self._run_once = run_once
        self._most = most
        self.notes: tuple[str, ...] = ()
        """One sentence when the size was cut down, with the size that fits."""

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Outputs:
        """The outputs for N >= 1 images, in their order. Raises what the engine raises, unless
        smaller batches help."""
        n = len(pixels_NHWC)
        if self._most is None or n <= self._most:
            outputs = self._try(pixels_NHWC)
            if outputs is not None:
                return outputs
        most = self._most or n
        parts = [self.run(pixels_NHWC[start : start + most]) for start in range(0, n, most)]
        return as_one(parts)

    def _try(self, pixels_NHWC: NDArray[np.uint8]) -> Outputs | None:
        """Run one batch; None when memory ran out and the size was cut down. The engine's exception
        must be gone by then: its traceback would keep the buffers of the failed run alive."""
        n = len(pixels_NHWC)
        try:
            return self._run_once(pixels_NHWC)
        except Exception as error:  # engines' classes share no base but Exception
            if n == 1 or not is_out_of_memory(error):
                raise
        self._most = min(self._most or n, (n + 1) // 2)
        self.notes = (
            f"memory did not hold {n} images at once: the engine gets at most {self._most}",
        )
        return None


class OnnxEngine:
    """A graph of the bundle, opened by some engine; a `Backend`."""

    name: str
    title: str
    """The engine's name in prose."""
    device: str
    why: str
    providers: tuple[str, ...]

    def __init__(
        self, bundle: ModelBundle, precision: str, run_once: RunOnce, most: int | None = None
    ) -> None:
        """`run_once` is the graph, which takes `most` images at once (None: any number)."""
        self._bundle = bundle
        self._batches = FittingBatches(run_once, most=most)
        self.stages: tuple[str, ...] = (f"{precision}@{bundle.preprocess.size}",)

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts about the runs so far that a user should know; each said once."""
        return self._batches.notes

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """Judge N >= 1 images, uint8 (N, size, size, 3). Raises BackendError."""
        check_pixels(pixels_NHWC, self._bundle.preprocess.size)
        try:
            outputs = self._batches.run(pixels_NHWC)
        except Exception as error:  # engines' classes share no base but Exception
            raise BackendError(
                f"{self.title} failed on {self.device} with {len(pixels_NHWC)} images "
                f"({self.cause(error)}); if memory ran out, use a smaller --batch-size"
            ) from error
        return to_scores(self._bundle, outputs)

    def close(self) -> None:
        """Give back memory and threads; the engine cannot run afterwards."""
        del self._batches

    @staticmethod
    def cause(error: BaseException) -> str:
        """The engine's words about a failure, in one line."""
        return in_one_line(error)
