"""A process that only decodes, seen from the one that started it: two pipes and a death.

Plain processes and pipes instead of `multiprocessing`: that has servers of its own, which leave
directories behind when everything is killed, and it would import the user's script again.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from inspector.workers.child import HEADER, READY
from inspector.workers.start import deaf_from_birth

if TYPE_CHECKING:
    from threading import Event
    from typing import IO, Any

    import numpy as np
    from numpy.typing import NDArray

    from inspector.types import Failure, Photo

PROGRAM = "from inspector.workers.child import main; main()"
"""What the process runs, once it finds modules where this process finds them."""

_SLICE_S = 0.1
_REAP_S = 2.0
"""For a killed process to be gone; one that its storage keeps from dying is not waited for."""
_MOST_WORDS = 4096
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""NumPy's libraries would start a thread per core, for arithmetic that no decoder does."""


class Died(Exception):
    """The process is gone, or talks nonsense: then the text says which."""


class Late(Exception):
    """There is no answer, and no time left for it."""


class Stopped(Exception):
    """Nobody wants the answer any more."""


class Patience:
    """Up to `seconds` of waiting, and none once `stop` is set.

    Counted in short waits that came to nothing, not by a clock: while this process is suspended
    (Ctrl-Z, a laptop's lid) the other one is as well, and no photo is to blame.
    """

    def __init__(self, seconds: float, stop: Event) -> None:
        self._left = seconds
        self._stop = stop

    def wait_for(self, pipe: IO[bytes], events: int) -> None:
        """Return when something of `events` (see `select.poll`) has happened to `pipe`. Raises
        Late, Stopped."""
        waiting = select.poll()
        waiting.register(pipe, events)
        while not waiting.poll(_SLICE_S * 1000):
            self._left -= _SLICE_S
            self.check()

    def check(self) -> None:
        """Raises Late, Stopped."""
        if self._stop.is_set():
            raise Stopped
        if self._left <= 0:
            raise Late


class DecoderProcess:
    """Starts at once; raises OSError when it cannot. It is killed and reaped by `end`, and also
    when this object is forgotten or this process exits.

    On Windows, where a pipe cannot be waited for, there is no limit to any patience.
    """

    def __init__(self) -> None:
        with deaf_from_birth(tracked=False):
            self._process = subprocess.Popen(
                _command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, **_ONE_THREAD},
            )
        self._release = weakref.finalize(self, _release, self._process)
        process: Any = self._process
        self._requests, self._answers, self._words = process.stdin, process.stdout, process.stderr
        if sys.platform != "win32":
            for pipe in (self._requests, self._answers, self._words):
                os.set_blocking(pipe.fileno(), False)
        self._is_ready = False

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self, patience: Patience) -> None:
        """Raises Died, Late, Stopped."""
        said = bytearray()
        while not self._is_ready:
            said += self._read(1, patience)
            self._is_ready = said.endswith(READY)

    def ask(self, request: object, patience: Patience) -> None:
        """Send `request`, when all earlier ones are answered. Raises Died, Late, Stopped."""
        left = memoryview(pickle.dumps(request))
        while left:
            try:
                sent = self._requests.write(left)
            except BrokenPipeError as error:
                raise Died from error
            if sent is None:
                patience.wait_for(self._requests, select.POLLOUT)
            else:
                left = left[sent:]

    def answer(self, pixels_HWC: NDArray[np.uint8], patience: Patience) -> Photo | Failure:
        """The next answer; a photo's pixels fill `pixels_HWC`. Raises Died, Late, Stopped."""
        patience.check()
        item_bytes, pixel_bytes = HEADER.unpack(self._read(HEADER.size, patience))
        item: Photo | Failure = pickle.loads(self._read(item_bytes, patience))
        if pixel_bytes:
            if pixel_bytes != pixels_HWC.nbytes:
                raise Died(f"answered with {pixel_bytes} bytes of pixels")
            self._read_into(pixels_HWC.data.cast("B"), patience)
        return item

    def end(self) -> str:
        """Kill and reap it. Says how it had ended before, if it had."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAP_S)
        how = _how_ended(self._process.returncode)
        words = (self._words.read(_MOST_WORDS) or b"").decode(errors="replace").split("\n")
        last_words = next((line for line in reversed(words) if line.strip()), "")
        self._release()
        return f"{how} ({last_words.strip()})" if last_words else how

    def _read(self, count: int, patience: Patience) -> bytearray:
        read = bytearray(count)
        self._read_into(memoryview(read), patience)
        return read

    def _read_into(self, left: memoryview, patience: Patience) -> None:
        while left:
            count = self._answers.readinto(left)
            if count is None:
                patience.wait_for(self._answers, select.POLLIN)
            elif not count:
                raise Died
            else:
                left = left[count:]


def _command() -> list[str]:
    """Everything is imported from where this process would import it; the current directory does
    not get in front."""
    program = f"import sys; sys.path[:] = {sys.path!r}; {PROGRAM}"
    return [sys.executable, "-P", "-X", f"utf8={sys.flags.utf8_mode}", "-c", program]


def _release(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_REAP_S)


def _how_ended(status: int | None) -> str:
    if status is None:
        return "could not be ended"
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # one of those without a name
        return f"was ended by signal {-status}"
