"""Decoding in a process that may die: it is replaced, and its culprit gets a row.

The process answers for its files one by one and in order, so the first file without an answer is
the one it was at: to find a culprit among its neighbours takes one step and no second look at them.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import LoaderError
from inspector.types import Batch, Failure, FailureCode, Photo
from inspector.workers.batching import batch_shape, count_photos
from inspector.workers.process import DecoderProcess, Died, Late, Patience

if TYPE_CHECKING:
    from threading import Event

    from numpy.typing import NDArray

    from inspector.model.preprocess import PreprocessSpec
    from inspector.photos.limits import DecodeLimits
    from inspector.types import ImageRef

MOST_IN_A_ROW = 50
"""Files that may end or stall one decoder with no other file between them. Bad photos stand between
good ones, or come by the dozen from one broken card; beyond that it is rather the machine."""

GRACE_S = 0.5
"""Beyond a file's time limit, for its answer to get through."""
_START_S = 60.0
"""For a process to start and to listen; 0.3 seconds where nothing else is going on."""
_START_TRIES = 3
_START_PAUSE_S = 0.2


class Decoder:
    """Decodes files in a process of its own, which starts at once. Not to be shared by threads."""

    def __init__(self, spec: PreprocessSpec, limits: DecodeLimits) -> None:
        self._spec = spec
        self._limits = limits
        self._in_a_row = 0
        self._process: DecoderProcess | None = None
        with suppress(OSError):  # tried again, and reported, when there is something to decode
            self._process = DecoderProcess()

    def make(self, refs: list[ImageRef], stop: Event) -> Batch:
        """The batch of `refs`, whatever they do to the process.

        A file at which it dies is tried once more, as the first in a new process: perhaps it was
        only there when something else killed the first one. If that one dies too, the file's code
        is `decoder_crash`. One without an answer in time gets `timeout`.

        Raises LoaderError when processes do not start or more than `MOST_IN_A_ROW` files in a row
        cost one; Stopped when `stop` is set.
        """
        started = time.perf_counter()
        pixels_NHWC = np.empty(batch_shape(refs, self._spec), np.uint8)
        items: list[Photo | Failure] = []
        suspect = -1
        while (place := len(items)) < len(refs):
            asked = refs[place : place + 1] if place == suspect else refs[place:]
            try:
                self._decode(asked, items, pixels_NHWC, stop)
            except Died as death:
                how = self._bury()
                how = str(death) or how
                if len(items) == suspect:
                    crash = f"its decoder {how}, twice"
                    items.append(self._convict(refs[suspect], FailureCode.DECODER_CRASH, crash))
                else:
                    suspect = len(items)
            except Late:
                self._bury()
                late = f"no answer within {self._limits.max_seconds:g} seconds"
                items.append(self._convict(refs[len(items)], FailureCode.TIMEOUT, late))
        seconds = time.perf_counter() - started
        return Batch(tuple(items), pixels_NHWC[: count_photos(items)], seconds)

    def close(self) -> None:
        """End the process, in the middle of a file if need be."""
        self._bury()

    def _decode(
        self,
        refs: list[ImageRef],
        items: list[Photo | Failure],
        pixels_NHWC: NDArray[np.uint8],
        stop: Event,
    ) -> None:
        """Append the answers for `refs` to `items` as they come. Raises Died, Late, Stopped."""
        process = self._ready(stop)
        try:
            process.ask((refs, self._spec, self._limits), Patience(_START_S, stop))
        except Late as error:  # it does not even listen, so no file is to blame
            raise Died("did not listen") from error
        photos = count_photos(items)
        for ref in refs:
            patience = Patience(self._limits.max_seconds + GRACE_S, stop)
            item = process.answer(pixels_NHWC[photos], patience)
            if item.ref.index != ref.index:
                raise Died("answered for another file")
            photos += isinstance(item, Photo)
            items.append(item)
            self._in_a_row = 0

    def _ready(self, stop: Event) -> DecoderProcess:
        """The process; a new one if that has died since it was last used."""
        if self._process and not self._process.is_alive:
            self._bury()
        how = ""
        for _ in range(_START_TRIES):
            try:
                self._process = self._process or DecoderProcess()
                self._process.wait_until_ready(Patience(_START_S, stop))
                return self._process
            except OSError as error:
                how = str(error)
            except (Died, Late):
                how = f"it {self._bury()}"
            stop.wait(_START_PAUSE_S)
        raise LoaderError(
            f"a process that decodes photos does not start: {how}; see that there is memory for "
            "it, use fewer --workers, or let the scan's own process decode with --workers 0"
        )

    def _bury(self) -> str:
        """End the process and say how it ended."""
        process, self._process = self._process, None
        return process.end() if process else "never started"

    def _convict(self, ref: ImageRef, code: FailureCode, detail: str) -> Failure:
        self._in_a_row += 1
        if self._in_a_row > MOST_IN_A_ROW:
            raise LoaderError(
                f"{self._in_a_row} photos in a row could not be decoded, the last of them "
                f"{ref.path!r} ({code}: {detail}); that is rather the machine or the storage than "
                "the photos: see that memory is free and that they can be read, then run the same "
                "command again"
            )
        return Failure(ref, code, detail)
