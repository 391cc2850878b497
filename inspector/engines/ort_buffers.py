"""An ONNX Runtime session whose input stays in buffers on its device."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.engines.contract import Answers

_KEPT = 4
"""Idle buffers that are kept: for two batches in flight, each once at its full size and once at
the size of a scan's last batch."""


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
    for the batch before it. May be called from several threads; each call has its own buffer."""

    def __init__(self, session: Any, device: str, index: int = 0) -> None:
        """`device` is ONNX Runtime's name of where the session's input lies: `cuda` or `cpu`."""
        self._session = session
        self._place = (device, index)
        self._idle: deque[_Buffer] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def __call__(self, pixels_NHWC: NDArray[np.uint8]) -> Answers:
        """Raises what ONNX Runtime raises, after all idle buffers were given back."""
        try:
            buffer = self._take(pixels_NHWC.shape)
            buffer.images.update_inplace(np.ascontiguousarray(pixels_NHWC))
            self._session.run_with_iobinding(buffer.binding)
            probabilities_NC, cam_NHW, ood_N = buffer.binding.copy_outputs_to_cpu()
            # Copies: the next run may write its answers into the same memory.
            answers = np.array(probabilities_NC), np.array(cam_NHW), np.array(ood_N)
        except Exception:
            with self._lock:
                self._idle.clear()
            raise
        with self._lock:
            self._idle.append(buffer)
        return answers

    def _take(self, shape: tuple[int, ...]) -> _Buffer:
        with self._lock:
            for buffer in self._idle:
                if buffer.shape == shape:
                    self._idle.remove(buffer)
                    return buffer
        return _Buffer(self._session, shape, *self._place)
