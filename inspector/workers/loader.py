"""Loading batches of photos in listing order, decoded here or by processes that may die.

A worker process answers photo by photo and in order, so the first one without an answer is the one
it died at; the process is replaced.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import LoaderError
from inspector.photos.reading import DecodeLimits
from inspector.types import Batch, Failure, FailureCode, Photo
from inspector.workers.child import decode_views
from inspector.workers.ordered import make_ahead
from inspector.workers.process import (
    START_S,
    Deadline,
    WorkerDied,
    WorkerProcess,
    WorkerTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from threading import Event

    from numpy.typing import NDArray

    from inspector.model.preprocess import PreprocessSpec
    from inspector.photos.reading import DecodeLimits
    from inspector.types import Batch, Failure, ImageRef
    from inspector.workers.torch_loader import TorchBatches

    Items = tuple[Photo | Failure, ...]
    Shape = tuple[int, int, int, int]


PREFETCH = 2
"""Batches that each process may be ahead: one in the making, one waiting to be fetched."""

_log = logging.getLogger(__name__)


def load_batches(
    refs: Iterable[ImageRef],
    spec: PreprocessSpec,
    *,
    batch_size: int,
    workers: int,
    dataloader: bool = False,
    limits: DecodeLimits | None = None,
) -> Generator[Batch]:
    """Load photos as batches, in the order of `refs`, whoever decodes them.

    A photo that ends or stalls the process that decodes it becomes a `Failure`. `refs` is read in
    the caller's thread, up to `PREFETCH` batches per worker and one more ahead. Bound on memory,
    with n workers: (n x PREFETCH + 1) x batch_size x size^2 x 3 bytes, with `dataloader` mostly of
    shared memory; and for each process what Python and one photo at its full size take.

    Args:
        workers: Processes that decode; they start at once, not at the first batch. With 0 all
            happens in the caller's thread, one batch at a time: nothing then stands between a file
            and this process, and no time limit is kept.
        dataloader: Whether they are those of a torch `DataLoader`. If that fails, the photos that
            it has not handed out are decoded by processes as without it.

    Close the generator to end the processes. Raises LoaderError when processes do not start or
    keep dying; what `refs` raises comes through.
    """
    limits = limits or DecodeLimits()
    chunks = chunks_of(refs, batch_size)
    if not workers:
        return (load_batch(refs, spec, limits) for refs in chunks)
    if not dataloader:
        return _decode_ahead(chunks, spec, limits, workers)
    from inspector.workers.torch_loader import TorchBatches

    loaded = TorchBatches(chunks, spec, limits, workers=workers, prefetch=PREFETCH)
    return _load_with_torch(loaded, spec, limits, workers)


def bytes_in_flight(spec: PreprocessSpec, *, batch_size: int, workers: int) -> int:
    """Return the bound on batches in memory that `load_batches` states."""
    return (workers * PREFETCH + 1) * batch_size * spec.size**2 * 3


def _decode_ahead(
    chunks: Iterator[list[ImageRef]], spec: PreprocessSpec, limits: DecodeLimits, workers: int
) -> Generator[Batch]:
    decoders = [Decoder(spec, limits) for _ in range(workers)]
    return make_ahead(decoders, chunks, depth=workers * PREFETCH + 1)


def _load_with_torch(
    loaded: TorchBatches, spec: PreprocessSpec, limits: DecodeLimits, workers: int
) -> Generator[Batch]:
    try:
        yield from loaded
        return
    except Exception as error:
        last_line = (str(error).strip() or type(error).__name__).splitlines()[-1]
        _log.warning("the DataLoader failed (%s); other processes decode from here", last_line)
    finally:
        loaded.close()
    yield from _decode_ahead(loaded.left, spec, limits, workers)


MOST_IN_A_ROW = 50
"""Photos that may end or stall one decoder with no other photo between them. Bad photos stand
between good ones, or come by the dozen from one broken card; beyond that it is rather the
machine."""

GRACE_S = 0.5
"""Seconds beyond a photo's time limit, for its answer to get through."""
_START_TRIES = 3
_START_PAUSE_S = 0.2


class Decoder:
    """Decodes photos in a process of its own, which starts at once. Not to be shared by threads."""

    def __init__(self, spec: PreprocessSpec, limits: DecodeLimits) -> None:
        self._spec = spec
        self._limits = limits
        self._in_a_row = 0
        self._process: WorkerProcess | None = None
        with suppress(OSError):  # tried again, and reported, when there is something to decode
            self._process = WorkerProcess()

    def make(self, refs: list[ImageRef], stop: Event) -> Batch:
        """Decode a batch, whatever its photos do to the process.

        A photo at which it dies is tried once more, as the first in a new process: perhaps it was
        only there when something else killed the first one. If that one dies too, the photo's code
        is `decoder_crash`. One without an answer in time gets `timeout`.

        Raises LoaderError when processes do not start or more than `MOST_IN_A_ROW` photos in a row
        cost one; Stopped when `stop` is set.
        """
        started = time.perf_counter()
        views = ViewBuffer(len(refs), self._spec)
        items: list[Photo | Failure] = []
        suspect = -1
        while (place := len(items)) < len(refs):
            asked = refs[place : place + 1] if place == suspect else refs[place:]
            try:
                self._decode(asked, items, views, stop)
            except WorkerDied as death:
                how = self._end_process()
                how = str(death) or how
                if len(items) == suspect:
                    crash = f"its decoder {how}, twice"
                    items.append(self._quarantine(refs[suspect], FailureCode.DECODER_CRASH, crash))
                else:
                    suspect = len(items)
            except WorkerTimeout:
                self._end_process()
                late = f"no answer within {self._limits.max_seconds:g} seconds"
                items.append(self._quarantine(refs[len(items)], FailureCode.TIMEOUT, late))
        return Batch(tuple(items), views.filled_NHWC, time.perf_counter() - started)

    def close(self) -> None:
        """End the process, in the middle of a photo if need be."""
        self._end_process()

    def _decode(
        self, refs: list[ImageRef], items: list[Photo | Failure], views: ViewBuffer, stop: Event
    ) -> None:
        """Append the answers for `refs` to `items` and `views` as they come. Raises WorkerDied,
        WorkerTimeout, Stopped."""
        process = self._ready(stop)
        seconds = self._limits.max_seconds
        try:
            request = (refs, self._spec, self._limits)
            process.ask(decode_views, request, seconds, Deadline(START_S, stop))
        except WorkerTimeout as error:  # it does not even listen, so no photo is to blame
            raise WorkerDied("did not listen") from error
        for ref in refs:
            deadline = Deadline(seconds + GRACE_S, stop)
            item, pixel_bytes = process.answer(deadline)
            count = item.views if isinstance(item, Photo) else 0
            if pixel_bytes != count * views.bytes_each:
                raise WorkerDied(f"answered with {pixel_bytes} bytes of pixels")
            if count:
                process.read_into(views.room_for(count).data.cast("B"), deadline)
            if item.ref.index != ref.index:
                raise WorkerDied("answered for another file")
            views.filled += count
            items.append(item)
            self._in_a_row = 0

    def _ready(self, stop: Event) -> WorkerProcess:
        """Return the process; a new one if that has died since it was last used."""
        if self._process and not self._process.is_alive:
            self._end_process()
        how = ""
        for _ in range(_START_TRIES):
            try:
                self._process = self._process or WorkerProcess()
                self._process.wait_until_ready(Deadline(START_S, stop))
                return self._process
            except OSError as error:
                how = str(error)
            except (WorkerDied, WorkerTimeout):
                how = f"it {self._end_process()}"
            stop.wait(_START_PAUSE_S)
        raise LoaderError(
            f"a process that decodes photos does not start: {how}; see that there is memory for "
            "it, use fewer --workers, or let the scan's own process decode with --workers 0"
        )

    def _end_process(self) -> str:
        """End the process and say how it ended."""
        process, self._process = self._process, None
        return process.end() if process else "never started"

    def _quarantine(self, ref: ImageRef, code: FailureCode, detail: str) -> Failure:
        """Return the failure of a photo that no process is given again. Raises LoaderError for too
        many in a row."""
        self._in_a_row += 1
        if self._in_a_row > MOST_IN_A_ROW:
            raise LoaderError(
                f"{self._in_a_row} photos in a row could not be decoded, the last of them "
                f"{ref.path!r} ({code}: {detail}); that is rather the machine or the storage than "
                "the photos: see that memory is free and that they can be read, then run the same "
                "command again"
            )
        return Failure(ref, code, detail)


def chunks_of(refs: Iterable[ImageRef], size: int) -> Iterator[list[ImageRef]]:
    """Yield `size` consecutive refs at a time; the last list may be shorter."""
    waiting = iter(refs)
    while chunk := list(islice(waiting, size)):
        yield chunk


class ViewBuffer:
    """The pixels of a batch's views, one photo after the other. There is room for one view of each
    of `photos`; it grows where photos have more. `new` makes the array."""

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
