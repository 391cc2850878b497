"""Loading batches of photos in listing order, decoded here or by processes that may die.

A worker process answers photo by photo and in order, so the first one without an answer is the one
it died at; the process is replaced.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from inspector.errors import LoaderError
from inspector.model.preprocess import ALL_WHOLE
from inspector.photos.address import shown
from inspector.photos.opened import DecodeLimits
from inspector.types import Failure, FailureCode, Photo, View
from inspector.workers.child import Decoding, decode_photos
from inspector.workers.gathering import BATCH_BYTES, Gathering, PixelBudget, TooMuchError
from inspector.workers.ordered import make_ahead
from inspector.workers.process import START_S, Deadline, WorkerDied, WorkerProcess, WorkerTimeout

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from threading import Event

    from inspector.model.preprocess import PreprocessSpec, Views
    from inspector.types import Batch, ImageRef
    from inspector.workers.ordered import Turn
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
    views: Views = ALL_WHOLE,
    dataloader: bool = False,
    limits: DecodeLimits | None = None,
) -> Generator[Batch]:
    """Load photos as batches, in the order of `refs`, whoever decodes them.

    A photo that ends or stalls the process that decodes it becomes a `Failure`. `refs` is read in
    the caller's thread, up to `PREFETCH` batches per worker and one more ahead.

    Bound on memory, with n workers: for photos that are judged whole, (n x PREFETCH + 1) x
    batch_size x size^2 x 3 bytes, with `dataloader` mostly of shared memory. For photos at their
    own scale, by the bytes of their pixels: `PIXELS_IN_FLIGHT`, and beyond that only the batch that
    the caller waits for and those that it still holds, each closed at `BATCH_BYTES` or after one
    photo. And for each process what Python and one photo at its full size take.

    Args:
        workers: Processes that decode; they start at once, not at the first batch. With 0 all
            happens in the caller's thread, one batch at a time: nothing then stands between a file
            and this process, and no time limit is kept.
        views: Which photos come at their own scale.
        dataloader: Whether they are those of a torch `DataLoader`. If that fails, the photos that
            it has not handed out are decoded by processes as without it; likewise from the first
            batch on whose photos at their own scale have more than `BATCH_BYTES`.

    Close the generator to end the processes. Raises LoaderError when processes do not start or
    keep dying; what `refs` raises comes through.
    """
    how = Decoding(spec, limits or DecodeLimits(), views)
    chunks = chunks_of(refs, batch_size)
    if not workers:
        return _decode_here(chunks, how)
    if not dataloader:
        return _decode_ahead(chunks, how, workers)
    from inspector.workers.torch_loader import TorchBatches

    loaded = TorchBatches(chunks, how, workers=workers, prefetch=PREFETCH)
    return _load_with_torch(loaded, how, workers)


def bytes_in_flight(spec: PreprocessSpec, views: Views, *, batch_size: int, workers: int) -> int:
    """Return the bound on batches that a `DataLoader` may have in shared memory."""
    each = batch_size * spec.size**2 * 3
    if views.big is not View.WHOLE:
        each = max(each, BATCH_BYTES)
    return (workers * PREFETCH + 1) * each


def _decode_here(chunks: Iterator[list[ImageRef]], how: Decoding) -> Generator[Batch]:
    for refs in chunks:
        gathering = Gathering(len(refs), how.spec)
        for item, pixels_HWC in decode_photos(refs, how):
            gathering.add(item, pixels_HWC)
            del pixels_HWC
            if gathering.is_full:
                yield gathering.taken()
        if gathering.items:
            yield gathering.taken()


def _decode_ahead(
    chunks: Iterator[list[ImageRef]], how: Decoding, workers: int
) -> Generator[Batch]:
    budget = PixelBudget()
    decoders = [Decoder(how, budget) for _ in range(workers)]
    return make_ahead(decoders, chunks, depth=workers * PREFETCH + 1)


def _load_with_torch(loaded: TorchBatches, how: Decoding, workers: int) -> Generator[Batch]:
    try:
        yield from loaded
        return
    except TooMuchError:
        _log.info("photos this large do not travel by DataLoader; other processes decode from here")
    except Exception as error:
        last_line = (str(error).strip() or type(error).__name__).splitlines()[-1]
        _log.warning("the DataLoader failed (%s); other processes decode from here", last_line)
    finally:
        loaded.close()
    yield from _decode_ahead(loaded.left, how, workers)


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

    def __init__(self, how: Decoding, budget: PixelBudget) -> None:
        """`budget` bounds the pixels of photos at their own scale, of all decoders together."""
        self._how = how
        self._seconds = how.limits.max_seconds
        self._budget = budget
        self._in_a_row = 0
        self._process: WorkerProcess | None = None
        with suppress(OSError):  # tried again, and reported, when there is something to decode
            self._process = WorkerProcess()

    def make(self, refs: list[ImageRef], turn: Turn) -> Iterator[Batch]:
        """Decode a batch, or several of them where photos are large, whatever they do to the
        process.

        A photo at which it dies is tried once more, as the first in a new process: perhaps it was
        only there when something else killed the first one. If that one dies too, the photo's code
        is `decoder_crash`. One without an answer in time gets `timeout`.

        Raises LoaderError when processes do not start or more than `MOST_IN_A_ROW` photos in a row
        cost one; Stopped when `turn.stop` is set.
        """
        gathering = Gathering(len(refs), self._how.spec)
        suspect = -1
        while (place := gathering.done) < len(refs):
            asked = refs[place : place + 1] if place == suspect else refs[place:]
            try:
                for _ in self._decode(asked, gathering, turn):
                    if gathering.is_full:
                        yield gathering.taken()
            except WorkerDied as death:
                ended = self._end_process()
                how = str(death) or ended
                if (place := gathering.done) == suspect:
                    crash = f"its decoder {how}, twice"
                    gathering.add(self._quarantine(refs[place], FailureCode.DECODER_CRASH, crash))
                else:
                    suspect = place
            except WorkerTimeout:
                self._end_process()
                late = f"no answer within {self._seconds:g} seconds"
                timed_out = refs[gathering.done]
                gathering.add(self._quarantine(timed_out, FailureCode.TIMEOUT, late))
        if gathering.items:
            yield gathering.taken()

    def close(self) -> None:
        """End the process, in the middle of a photo if need be."""
        self._end_process()

    def _decode(self, refs: list[ImageRef], gathering: Gathering, turn: Turn) -> Iterator[None]:
        """Add the answers for `refs` to `gathering` as they come, one at a time. Raises WorkerDied,
        WorkerTimeout, Stopped."""
        process = self._ready(turn.stop)
        try:
            deadline = Deadline(START_S, turn.stop)
            process.ask(decode_photos, (refs, self._how), self._seconds, deadline)
        except WorkerTimeout as error:  # it does not even listen, so no photo is to blame
            raise WorkerDied("did not listen") from error
        for ref in refs:
            item, pixel_bytes = process.answer(Deadline(self._seconds + GRACE_S, turn.stop))
            if pixel_bytes != gathering.bytes_of(item):
                raise WorkerDied(f"answered with {pixel_bytes} bytes of pixels")
            room_HWC = None
            if isinstance(item, Photo):
                room_HWC = gathering.room_for(item, self._budget, turn)
                deadline = Deadline(self._seconds + GRACE_S, turn.stop)
                process.read_into(room_HWC.data.cast("B"), deadline)
            if item.ref.index != ref.index:
                raise WorkerDied("answered for another file")
            gathering.add(item, room_HWC)
            del room_HWC
            self._in_a_row = 0
            yield

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
                f"{shown(ref.path)!r} ({code}: {detail}); that is rather the machine or the "
                "storage than the photos: see that memory is free and that they can be read, then "
                "run the same command again"
            )
        return Failure(ref, code, detail)


def chunks_of(refs: Iterable[ImageRef], size: int) -> Iterator[list[ImageRef]]:
    """Yield `size` consecutive refs at a time; the last list may be shorter."""
    waiting = iter(refs)
    while chunk := list(islice(waiting, size)):
        yield chunk
