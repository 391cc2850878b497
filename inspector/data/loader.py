"""From names to batches of pixels, in listing order, decoded by threads or worker processes.

torch is imported only when there are workers: they are those of its `DataLoader`.
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.data.decode import decode
from inspector.data.limits import DecodeLimits
from inspector.data.threads import Ahead
from inspector.data.worker import begin_worker, start_method
from inspector.errors import LoaderError
from inspector.types import Batch, Decoded, Failure, Photo

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from threading import Event

    import torch
    from numpy.typing import NDArray

    from inspector.preprocess import PreprocessSpec
    from inspector.types import ImageRef

    Items = tuple[Photo | Failure, ...]

PREFETCH = 2
"""Batches that each worker or thread may be ahead: one in the making, one waiting to be fetched."""

_WORKER_ERRORS = (RuntimeError, MemoryError, OSError, EOFError)
"""What DataLoader raises for a worker that is gone, that failed, or that cannot be reached."""


def load_batches(
    refs: Iterable[ImageRef],
    spec: PreprocessSpec,
    *,
    batch_size: int,
    workers: int,
    threads: int = 1,
    limits: DecodeLimits | None = None,
) -> Generator[Batch]:
    """Batches of `batch_size` consecutive photos (the last may be smaller), in the order of
    `refs`, whatever the number of workers or threads.

    `workers` are processes. With none of them, that many `threads` of this process decode while
    its caller does something else: decoders and engines let go of the interpreter. With 0 of
    both, all happens in the caller's thread, one batch at a time. Workers and threads start at
    once, not at the first batch.

    `refs` is read in the caller's thread, `PREFETCH` batches per worker or thread ahead. Bound on
    memory, with n workers or threads: (n x PREFETCH + 1) x batch_size x size^2 x 3 bytes, of
    workers mostly shared memory, and for each of the n one photo at its full size.

    Close the generator to stop them; a thread finishes the photo it is at. Raises LoaderError
    when a worker dies; what `refs` raises comes through.
    """
    limits = limits or DecodeLimits()
    chunks = _chunks(refs, batch_size)
    if workers:
        return _load_in_workers(_start_workers(chunks, spec, limits, workers))
    if threads:
        load = partial(_load_batch, spec, limits)
        return Ahead(load, chunks, threads=threads, depth=threads * PREFETCH)
    return (_load_batch(spec, limits, refs) for refs in chunks)


def bytes_in_flight(spec: PreprocessSpec, *, batch_size: int, workers: int) -> int:
    """The bound on batches in memory that `load_batches` states."""
    return (workers * PREFETCH + 1) * batch_size * spec.size**2 * 3


def _chunks(refs: Iterable[ImageRef], size: int) -> Iterator[list[ImageRef]]:
    waiting = iter(refs)
    while chunk := list(islice(waiting, size)):
        yield chunk


def _decode_into(
    pixels_NHWC: NDArray[np.uint8],
    refs: Iterable[ImageRef],
    spec: PreprocessSpec,
    limits: DecodeLimits,
) -> Items:
    """Decode `refs`; the k-th photo that succeeds fills `pixels_NHWC[k]`."""
    items: list[Photo | Failure] = []
    photos = 0
    for ref in refs:
        outcome = decode(ref, spec, limits)
        if isinstance(outcome, Decoded):
            pixels_NHWC[photos] = outcome.pixels_HWC
            photos += 1
            items.append(Photo(ref, outcome.facts, outcome.shrink))
        else:
            items.append(outcome)
    return tuple(items)


def _photos(items: Items) -> int:
    return sum(isinstance(item, Photo) for item in items)


def _load_batch(
    spec: PreprocessSpec, limits: DecodeLimits, refs: list[ImageRef], stop: Event | None = None
) -> Batch:
    """The photos of `refs`; once `stop` is set, only those that were decoded before."""
    started = time.perf_counter()
    pixels_NHWC = np.empty((len(refs), spec.size, spec.size, 3), np.uint8)
    wanted = takewhile(lambda _: stop is None or not stop.is_set(), refs)
    items = _decode_into(pixels_NHWC, wanted, spec, limits)
    return Batch(items, pixels_NHWC[: _photos(items)], time.perf_counter() - started)


class _Photos:
    """The dataset that travels to the workers: its "index" is a list of refs, so that listing
    streams and nothing but names goes there."""

    def __init__(self, spec: PreprocessSpec, limits: DecodeLimits) -> None:
        self.spec = spec
        self.limits = limits

    def __getitem__(self, refs: list[ImageRef]) -> tuple[Items, torch.Tensor, float]:
        import torch

        started = time.perf_counter()
        shape = (len(refs), self.spec.size, self.spec.size, 3)
        # Shared from the start: where shared memory runs out, the error then has a way back to
        # the scan; raised later, while the batch is being sent, it would be lost and the scan hang.
        images: Any = torch.empty(shape, dtype=torch.uint8)
        images.share_memory_()
        items = _decode_into(images.numpy(), refs, self.spec, self.limits)
        return items, images[: _photos(items)], time.perf_counter() - started


def _start_workers(
    chunks: Iterator[list[ImageRef]], spec: PreprocessSpec, limits: DecodeLimits, workers: int
) -> Iterator[tuple[Items, torch.Tensor, float]]:
    method = start_method("torch.utils.data", "inspector.data.loader")
    from torch.utils.data import DataLoader

    with warnings.catch_warnings():
        # More workers than cores are asked for on purpose: they wait for slow storage.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader: Any = DataLoader(
            _Photos(spec, limits),  # type: ignore[arg-type]
            sampler=chunks,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=workers,
            prefetch_factor=PREFETCH,
            multiprocessing_context=method,
            worker_init_fn=begin_worker,
        )
        return iter(loader)


def _as_it_is(loaded: Any) -> Any:
    return loaded


def _load_in_workers(
    loaded: Iterator[tuple[Items, torch.Tensor, float]],
) -> Generator[Batch]:
    while True:
        try:
            items, images, seconds = next(loaded)
        except StopIteration:
            return
        except _WORKER_ERRORS as error:
            last_line = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise LoaderError(
                f"a process that decodes photos failed ({last_line}); if memory or /dev/shm ran "
                "out, use fewer --workers or a smaller --batch-size; --workers 0 decodes in the "
                "main process"
            ) from error
        yield Batch(items, images.numpy(), seconds)
