"""A batch in the making, and the bound on the bytes of pixels that are in memory."""

from __future__ import annotations

import threading
import time
import weakref
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from inspector.types import Batch, Photo
from inspector.workers.process import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from inspector.model.preprocess import PreprocessSpec
    from inspector.types import Failure
    from inspector.workers.ordered import Turn

    Shape = tuple[int, ...]

PIXELS_IN_FLIGHT = 512 << 20
"""Bytes of pixels, of photos at their own scale, that decoders may be ahead; fourteen photos of
12 megapixels."""
BATCH_BYTES = 32 << 20
"""Bytes of such pixels at which a batch is closed, so that a stop or the first row does not wait
for many large photos."""

_POLL_S = 0.02


class TooMuchError(Exception):
    """The photos of a batch have more pixels than travel by shared memory."""


class PixelBudget:
    """Bounds the bytes of the arrays that it makes, as long as anybody holds them, whatever the
    size of their files: a flat picture of 178 megapixels may have 200 kB. Used by threads."""

    def __init__(self, most: int = PIXELS_IN_FLIGHT) -> None:
        self.most = most
        self.held = 0
        """Bytes of all arrays that exist."""
        self._changed = threading.Condition()

    def array(self, shape: Shape, turn: Turn) -> NDArray[np.uint8]:
        """Make a uint8 array as soon as there is room for it; at once where it is the only one, or
        where somebody waits for this very task: whoever holds the others may be the one. Raises
        Stopped."""
        size = prod(shape)
        with self._changed:
            while self.held and self.held + size > self.most and not turn.is_awaited:
                if turn.stop.is_set():
                    raise Stopped
                self._changed.wait(_POLL_S)
            self.held += size
        pixels_HWC = np.empty(shape, np.uint8)
        weakref.finalize(pixels_HWC, self._give_back, size).atexit = False
        return pixels_HWC

    def _give_back(self, size: int) -> None:
        with self._changed:
            self.held -= size
            self._changed.notify_all()


class Gathering:
    """Batches in the making, one after the other. There is room for `photos` that are judged whole;
    `new` makes the arrays, where they have to lie in memory of some other kind."""

    def __init__(
        self,
        photos: int,
        spec: PreprocessSpec,
        new: Callable[[Shape], NDArray[np.uint8]] | None = None,
    ) -> None:
        self._left = photos
        self._size = spec.size
        self._new = new
        self.done = 0
        """Items of all batches."""
        self._begin()

    def _begin(self) -> None:
        self.items: list[Photo | Failure] = []
        self.pixels_NHWC = self._array((self._left - self.done, self._size, self._size, 3))
        self.whole = 0
        self.native: list[NDArray[np.uint8]] = []
        self.native_bytes = 0
        self._started = time.perf_counter()

    def _array(self, shape: Shape) -> NDArray[np.uint8]:
        return np.empty(shape, np.uint8) if self._new is None else self._new(shape)

    def bytes_of(self, item: Photo | Failure) -> int:
        """Return the number of bytes of its pixels."""
        if isinstance(item, Photo):
            return prod(item.shape or (self._size, self._size)) * 3
        return 0

    def room_for(self, photo: Photo, budget: PixelBudget, turn: Turn) -> NDArray[np.uint8]:
        """Return the place for its pixels; `add` it once they are there. Raises Stopped."""
        if photo.shape is None:
            room_HWC: NDArray[np.uint8] = self.pixels_NHWC[self.whole]
            return room_HWC
        since = time.perf_counter()
        room_HWC = budget.array((*photo.shape, 3), turn)
        self._started += time.perf_counter() - since  # waiting is not decoding
        return room_HWC

    def add(self, item: Photo | Failure, pixels_HWC: NDArray[np.uint8] | None = None) -> None:
        """Take the next file with its pixels, in their place already or to be copied there."""
        if isinstance(item, Photo) and pixels_HWC is not None:
            if item.shape is None:
                row_HWC = self.pixels_NHWC[self.whole]
                if not np.may_share_memory(row_HWC, pixels_HWC):
                    row_HWC[:] = pixels_HWC
                self.whole += 1
            else:
                self.native.append(self._kept(pixels_HWC))
                self.native_bytes += pixels_HWC.nbytes
        self.items.append(item)
        self.done += 1

    def _kept(self, pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """As it is, unless it has to lie otherwise in memory, or elsewhere."""
        if self._new is None and pixels_HWC.flags.c_contiguous:
            return pixels_HWC
        kept_HWC = self._array(pixels_HWC.shape)
        kept_HWC[:] = pixels_HWC
        return kept_HWC

    @property
    def is_full(self) -> bool:
        """Whether the batch has so many bytes at native scale that no more photos should join."""
        return self.native_bytes >= BATCH_BYTES

    def taken(self) -> Batch:
        """Return the batch, and begin the next one."""
        batch = Batch(
            tuple(self.items),
            self.pixels_NHWC[: self.whole],
            time.perf_counter() - self._started,
            tuple(self.native),
        )
        self._begin()
        return batch
