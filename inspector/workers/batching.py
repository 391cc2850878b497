"""Making batches: photos of a listing together, and the pixels of their views."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from inspector.types import Batch, Photo
from inspector.workers.child import decode_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from inspector.model.preprocess import PreprocessSpec
    from inspector.photos.limits import DecodeLimits
    from inspector.types import Failure, ImageRef

    Items = tuple[Photo | Failure, ...]
    Shape = tuple[int, int, int, int]


def chunks_of(refs: Iterable[ImageRef], size: int) -> Iterator[list[ImageRef]]:
    """Yield `size` consecutive refs at a time; the last list may be shorter."""
    waiting = iter(refs)
    while chunk := list(islice(waiting, size)):
        yield chunk


class ViewBuffer:
    """The pixels of a batch's views, one photo after the other. There is room for one view of each
    of `photos`; it grows where photos have more.

    Args:
        new: Makes an array of uint8 for a shape N, H, W, C.
    """

    def __init__(
        self,
        photos: int,
        spec: PreprocessSpec,
        new: Callable[[Shape], NDArray[np.uint8]] = lambda shape: np.empty(shape, np.uint8),
    ) -> None:
        self._new = new
        self._pixels_NHWC = new((photos, spec.size, spec.size, 3))
        self.filled = 0
        """Views that are complete."""
        self.bytes_each = spec.size**2 * 3

    @property
    def filled_NHWC(self) -> NDArray[np.uint8]:
        return self._pixels_NHWC[: self.filled]

    def room_for(self, views: int) -> NDArray[np.uint8]:
        """Return the place of the next `views`; count them in `filled` once they are there."""
        end = self.filled + views
        if end > len(self._pixels_NHWC):
            larger_NHWC = self._new((2 * end, *self._pixels_NHWC.shape[1:]))
            larger_NHWC[: self.filled] = self.filled_NHWC
            self._pixels_NHWC = larger_NHWC
        return self._pixels_NHWC[self.filled : end]


def load_batch(refs: list[ImageRef], spec: PreprocessSpec, limits: DecodeLimits) -> Batch:
    """Decode `refs` in this thread."""
    started = time.perf_counter()
    views = ViewBuffer(len(refs), spec)
    items = decode_into(views, refs, spec, limits)
    return Batch(items, views.filled_NHWC, time.perf_counter() - started)


def decode_into(
    views: ViewBuffer, refs: list[ImageRef], spec: PreprocessSpec, limits: DecodeLimits
) -> Items:
    """Decode `refs`; the views of those that succeed fill `views`."""
    items: list[Photo | Failure] = []
    for item, views_NHWC in decode_views(refs, spec, limits):
        if views_NHWC is not None:
            views.room_for(len(views_NHWC))[:] = views_NHWC
            views.filled += len(views_NHWC)
        items.append(item)
    return tuple(items)
