"""What a process that only decodes does: it answers for one file after the other, and it is mortal.

It lives as long as its main process: it ends when its pipes are closed, however that came about,
and an alarm of the operating system ends it where it is stuck in a file with nobody there to end
it. See `decoder_process` for the other end of the pipes.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
import traceback
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from inspector.photos.decode import decode
from inspector.types import Decoded, Photo

if TYPE_CHECKING:
    from inspector.model.preprocess import PreprocessSpec
    from inspector.photos.limits import DecodeLimits
    from inspector.types import ImageRef

READY = b"\0inspector decodes\0"
"""The first thing that is said; whatever stands before it was printed by somebody else."""

HEADER = struct.Struct("<II")
"""Before each answer: bytes of the pickled `Photo` or `Failure`, bytes of the pixels after it."""

ALARM_GRACE_S = 5.0
"""Beyond a file's time limit, which the main process keeps; the alarm is for when that is gone."""
_LONGEST_ALARM_S = 1e7
"""Operating systems refuse much longer ones."""

_OOM_SCORE = "500"
"""Thousandths of the memory that count as used here when the kernel looks for a process to kill:
enough that it takes a decoder and not the scan, and not so much that it takes small decoders when
some other program has eaten everything."""


def main() -> None:
    """Serve the process at the other end of stdin and stdout until it hangs up."""
    requests, answers = _claim_pipes()
    _settle()
    status = 0
    try:
        _serve(requests, answers)
    except BrokenPipeError:
        pass
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        status = 1
    # At once, so that whoever sees the pipes close can also see how this process ended.
    os._exit(status)


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for this module alone. What libraries print goes nowhere, what Python says
    about its end goes to the main process."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    sys.stderr = os.fdopen(os.dup(2), "w", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    return requests, answers


def _settle() -> None:
    warnings.simplefilter("ignore")  # nobody reads them here, and a full pipe would block
    for number in (signal.SIGINT, signal.SIGTERM):
        # Both often reach the whole process group, and the main process decides what to finish.
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
            refs, spec, limits = pickle.load(requests)
        except (EOFError, pickle.UnpicklingError):  # hung up, perhaps in the middle of a request
            return
        for ref in refs:
            _answer(answers, ref, spec, limits)


def _answer(answers: BinaryIO, ref: ImageRef, spec: PreprocessSpec, limits: DecodeLimits) -> None:
    _set_alarm(min(limits.max_seconds + ALARM_GRACE_S, _LONGEST_ALARM_S))
    outcome = decode(ref, spec, limits)
    _set_alarm(0)
    if isinstance(outcome, Decoded):
        pixels_HWC = np.ascontiguousarray(outcome.pixels_HWC)
        item = pickle.dumps(Photo(outcome.ref, outcome.facts, outcome.shrink))
        answers.write(HEADER.pack(len(item), pixels_HWC.nbytes) + item)
        answers.write(pixels_HWC.data)
    else:
        item = pickle.dumps(outcome)
        answers.write(HEADER.pack(len(item), 0) + item)
    answers.flush()


def _set_alarm(seconds: float) -> None:
    """With no handler set, SIGALRM ends the process even where C code holds the interpreter."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
