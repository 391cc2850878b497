"""Loading batches of photos in listing order, whoever decodes them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from inspector.photos.reading import DecodeLimits
from inspector.workers.ordered import make_ahead
from inspector.workers.pool import Decoder, chunks_of, load_batch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from inspector.model.preprocess import PreprocessSpec
    from inspector.types import Batch, ImageRef
    from inspector.workers.torch_loader import TorchBatches

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
