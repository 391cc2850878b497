"""The program of a worker process: it answers one request after the other, and it is mortal.

It lives as long as its main process: it ends when its pipes are closed, however that came about,
and an alarm of the operating system ends it where it is stuck in a file with nobody there to end
it. `process.WorkerProcess` is the other end of the pipes.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import struct
import sys
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from inspector.core.text import is_closed_pipe
from inspector.photos.decode import decode
from inspector.photos.objects import OBJECTS
from inspector.types import Decoded, Photo, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from inspector.model.preprocess import PreprocessSpec, Views
    from inspector.photos.opened import DecodeLimits
    from inspector.types import Failure, ImageRef

    Parted = tuple[Photo | Failure, NDArray[np.uint8] | None]
    """A photo and its pixels (H, W, 3), or why it has none."""
    Answer = tuple[Any, NDArray[np.uint8] | None]
    """A value to be pickled, and pixels (H, W, 3) that are sent after it, row by row."""
    Handler = Callable[..., Iterator[Answer]]

READY = b"\0inspector is ready\0"
"""The first thing that is said; whatever stands before it was printed by somebody else."""

_SENT_AT_ONCE = 8 << 20
"""Bytes of pixels that are brought in order together, where they lie otherwise in memory."""

HEADER = struct.Struct("<QQ")
"""Before each answer: bytes of what is pickled, and of the pixels after it."""

ALARM_GRACE_S = 5.0
"""Seconds beyond an answer's time limit, which the main process keeps; the alarm is for when that
is gone."""
_LONGEST_ALARM_S = 4e6
"""Operating systems refuse much longer ones."""

HANGUP = getattr(signal, "SIGHUP", None)
"""What a terminal sends when it goes away; Windows has none."""
STOPPING = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, HANGUP)))
"""Signals that end a scan, and often reach its whole process group."""

_OOM_SCORE = "500"
"""Thousandths of the memory that count as used here when the kernel looks for a process to kill:
enough that it takes a worker and not the scan, and not so much that it takes small workers when
some other program has eaten everything."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How photos are decoded: what becomes of the pixels, within which bounds."""

    spec: PreprocessSpec
    limits: DecodeLimits
    views: Views


def decode_photos(refs: list[ImageRef], how: Decoding) -> Iterator[Parted]:
    """Decode each photo of `refs` in turn; answer with its pixels (H, W, 3), or why it failed. They
    are forgotten here before the next one is decoded. Photos in stores are fetched ahead."""
    with OBJECTS.fetched(refs):
        for ref in refs:
            yield without_pixels(decode(ref, how.spec, how.limits, how.views))


def without_pixels(outcome: Decoded | Failure) -> Parted:
    """Part a decoded photo from its pixels (H, W, 3)."""
    if not isinstance(outcome, Decoded):
        return outcome, None
    height, width, _ = outcome.pixels_HWC.shape
    shape = None if outcome.view is View.WHOLE else (height, width)
    photo = Photo(outcome.ref, outcome.facts, outcome.shrink, outcome.view, shape)
    return photo, outcome.pixels_HWC


def call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[Answer]:
    """Call `function` once: whether it succeeds, and what it returns or else raises."""
    try:
        yield (True, function(*arguments)), None
    except Exception as error:  # of any library that reads files
        yield (False, str(error) or type(error).__name__), None


def main() -> None:
    """Serve the process at the other end of stdin and stdout until it hangs up."""
    requests, answers = _claim_pipes()
    _settle()
    status = 0
    try:
        _serve(requests, answers)
    except BaseException as error:
        if not (isinstance(error, OSError) and is_closed_pipe(error)):
            traceback.print_exc()
            sys.stderr.flush()
            status = 1
    # At once, so that whoever sees the pipes close can also see how this process ended.
    os._exit(status)


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take stdin and stdout for this module alone. What libraries print goes nowhere, what Python
    says about its end goes to the main process."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    sys.stderr = os.fdopen(os.dup(2), "w", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    return requests, answers


def _settle() -> None:
    warnings.simplefilter("ignore")  # nobody reads them here, and a full pipe would block
    for number in STOPPING:  # the main process decides what to finish
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    with suppress(OSError, ImportError):
        import resource

        # A memory image per bad photo would fill the disk.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_OOM_SCORE)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    answers.write(READY)
    answers.flush()
    while True:
        try:
            handler, arguments, seconds = pickle.load(requests)
        except (EOFError, pickle.UnpicklingError):  # hung up, perhaps in the middle of a request
            return
        _answer(answers, handler(*arguments), min(seconds + ALARM_GRACE_S, _LONGEST_ALARM_S))


def _answer(answers: BinaryIO, made: Iterator[Answer], seconds: float) -> None:
    while True:
        _set_alarm(seconds)
        answer = next(made, None)
        _set_alarm(0)
        if answer is None:
            return
        item, pixels_HWC = pickle.dumps(answer[0]), answer[1]
        answers.write(HEADER.pack(len(item), 0 if pixels_HWC is None else pixels_HWC.nbytes) + item)
        if pixels_HWC is not None:
            _send_pixels(answers, pixels_HWC)
        answers.flush()
        del answer, pixels_HWC  # a large photo is gone before the next one is made


def _send_pixels(answers: BinaryIO, pixels_HWC: NDArray[np.uint8]) -> None:
    """Without a second copy of a large photo that is turned."""
    rows = len(pixels_HWC)
    if not pixels_HWC.flags.c_contiguous:
        rows = max(_SENT_AT_ONCE // max(pixels_HWC[0].nbytes, 1), 1)
    for start in range(0, len(pixels_HWC), rows):
        answers.write(np.ascontiguousarray(pixels_HWC[start : start + rows]).data)


def _set_alarm(seconds: float) -> None:
    """Set SIGALRM, which without a handler ends the process even within C code; on Windows, a
    thread that does."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
    elif seconds:
        faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    else:
        faulthandler.cancel_dump_traceback_later()
