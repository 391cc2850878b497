"""Decoding in the worker processes of a torch `DataLoader`, which hand batches over in shared
memory. It can fail as a whole; the photos that it has not handed out are then still known."""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from inspector.types import Batch
from inspector.workers.child import decode_photos
from inspector.workers.gathering import BATCH_BYTES, Gathering, TooMuchError
from inspector.workers.process import START_S, begin_worker, start_method

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from inspector.types import Failure, ImageRef, Photo
    from inspector.workers.child import Decoding
    from inspector.workers.gathering import Shape

    Loaded = tuple[tuple[Photo | Failure, ...], list[torch.Tensor], float]
    """Items, the array of model inputs and those of photos at their own scale, seconds."""


class TorchBatches(Iterator[Batch]):
    """The batches of `chunks`, in their order, from `workers` processes that are each `prefetch`
    batches ahead, and start at once.

    After an exception there are no more of them: end it by `close` and take what is `left`
    elsewhere. It comes from a process that died, from one that gives no answer in the time that a
    file may take, from a batch with more pixels than travel by shared memory (TooMuchError), or
    from `chunks`, whose `left` then raises it again in its place.
    """

    def __init__(
        self, chunks: Iterator[list[ImageRef]], how: Decoding, *, workers: int, prefetch: int
    ) -> None:
        self._chunks = chunks
        self._handed_out: deque[list[ImageRef]] = deque()
        self._error: Exception | None = None
        self._seconds = min(how.limits.max_seconds + START_S, threading.TIMEOUT_MAX)
        self._loaded: Any = _start(self._listed(), _Photos(how), workers, prefetch)

    def __next__(self) -> Batch:
        # Not the DataLoader's own `timeout`: what a worker has sent is fetched from it without
        # one, and a worker that is stuck does not hand it over.
        watchdog = threading.Timer(self._seconds, self._kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            items, arrays, seconds = next(self._loaded)
        finally:
            watchdog.cancel()
        self._handed_out.popleft()
        whole_NHWC, *native = (each.numpy() for each in arrays)
        return Batch(items, whole_NHWC, seconds, tuple(native))

    @property
    def left(self) -> Iterator[list[ImageRef]]:
        """Yield the chunks whose batches did not come out."""
        while self._handed_out:
            yield self._handed_out.popleft()
        if self._error:
            raise self._error
        yield from self._chunks

    def close(self) -> None:
        """End the processes, in the middle of a file if need be."""
        self._kill()
        self._loaded._shutdown_workers()

    def _listed(self) -> Iterator[list[ImageRef]]:
        """Yield the chunks, and remember those on their way and how the listing ended."""
        try:
            for chunk in self._chunks:
                self._handed_out.append(chunk)
                yield chunk
        except Exception as error:
            self._error = error
            raise

    def _kill(self) -> None:
        for worker in self._loaded._workers:
            worker.kill()


class _Photos:
    """The dataset, a copy of which goes to each worker. Its "index" is a list of refs, so that the
    listing streams."""

    def __init__(self, how: Decoding) -> None:
        self.how = how

    def __getitem__(self, refs: list[ImageRef]) -> Loaded:
        import torch

        started = time.perf_counter()
        # Shared from the start: where shared memory runs out, the error then has a way back to
        # the scan; raised later, while the batch is being sent, it would be lost and the scan hang.
        shared: list[torch.Tensor] = []

        def new(shape: Shape) -> NDArray[np.uint8]:
            pixels: Any = torch.empty(shape, dtype=torch.uint8)
            shared.append(pixels.share_memory_())
            array: NDArray[np.uint8] = shared[-1].numpy()
            return array

        gathering = Gathering(len(refs), self.how.spec, new)
        for item, pixels_HWC in decode_photos(refs, self.how):
            if gathering.bytes_of(item) + gathering.native_bytes > BATCH_BYTES:
                raise TooMuchError
            gathering.add(item, pixels_HWC)
        whole, *native = shared
        arrays = [whole[: gathering.whole], *native]
        return tuple(gathering.items), arrays, time.perf_counter() - started


def _start(listed: Iterator[list[ImageRef]], photos: _Photos, workers: int, prefetch: int) -> Any:
    method = start_method("torch.utils.data", "inspector.workers.torch_loader")
    from torch.utils.data import DataLoader

    with warnings.catch_warnings():
        # More workers than cores are asked for on purpose: they wait for slow storage.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader: Any = DataLoader(
            photos,  # type: ignore[arg-type]
            sampler=listed,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=workers,
            prefetch_factor=prefetch,
            multiprocessing_context=method,
            worker_init_fn=begin_worker,
        )
        return iter(loader)


def _as_it_is(loaded: Any) -> Any:
    return loaded
