"""Batches cut down to what an engine's memory holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from inspector.engines.contract import as_one

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inspector.engines.contract import Answers

    RunOnce = Callable[[NDArray[np.uint8]], Answers]
    """Runs an engine on uint8 (N, size, size, 3)."""

_SIGNS = (
    "out of memory",
    "outofmemory",
    "failed to allocate",
    "smaller than requested bytes",
    "alloc_failed",
    "bad_alloc",
    "bad allocation",
)
"""What ONNX Runtime's arenas, OpenVINO, CUDA and its libraries, and the C++ library write when
memory is short; their exceptions have no class of their own for it."""


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

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Answers:
        """The answers in the order of the N >= 1 images. Raises what the engine raises, unless
        smaller batches help."""
        n = len(pixels_NHWC)
        if self._most is None or n <= self._most:
            answers = self._try(pixels_NHWC)
            if answers is not None:
                return answers
        most = self._most or n
        parts = [self.run(pixels_NHWC[start : start + most]) for start in range(0, n, most)]
        return as_one(parts)

    def _try(self, pixels_NHWC: NDArray[np.uint8]) -> Answers | None:
        """None when memory ran out and the size was cut down. The engine's exception must be gone
        by then: its traceback would keep the buffers of the failed run alive."""
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
