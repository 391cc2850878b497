"""Processes that can be killed and replaced, seen from the one that starts them: two pipes each.

Plain processes and pipes instead of `multiprocessing`: that has servers of its own, which leave
directories behind when everything is killed, and it would import the user's script again.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import weakref
from contextlib import contextmanager, suppress
from multiprocessing import connection, parent_process, resource_tracker
from queue import SimpleQueue
from typing import TYPE_CHECKING

from inspector.core.text import is_closed_pipe
from inspector.errors import UsageError
from inspector.workers.child import HEADER, READY, STOPPING, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Any

    from inspector.workers.child import Handler


PROGRAM = "from inspector.workers.child import main; main()"
"""The program of a process, once it finds modules where this process finds them."""
START_S = 60.0
"""Seconds for a process to start and to listen; it takes 0.3 where nothing else is going on."""

_UNHEARD = {number for number in STOPPING if number != signal.SIGTERM}
"""`multiprocessing` ends its processes by SIGTERM."""
_SLICE_S = 0.1
_REAP_S = 2.0
"""Seconds for a killed process to be gone; one that its storage keeps from dying is left alone."""
_MOST_WORDS = 4096
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""NumPy's libraries would start a thread per core, for arithmetic that no decoder does."""


class WorkerDied(Exception):
    """The process is gone, or talks nonsense: then the text says which."""


class WorkerTimeout(Exception):
    """There is no answer, and no time left for it."""


class Stopped(Exception):
    """Nobody wants the answer any more."""


class HelperError(Exception):
    """A call ended its process, took too long, or failed; the message says which."""


class Deadline:
    """A time limit of `seconds` in which to wait, over at once when `stop` is set.

    Counted in short waits that came to nothing, not by a clock: while this process is suspended
    (Ctrl-Z, a laptop's lid) the other one is as well, and no photo is to blame.
    """

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self._left = seconds
        self._stop = stop

    def wait_for(self, pipe: IO[bytes], events: int) -> None:
        """Return when something of `events` (see `select.poll`) has happened to `pipe`. Raises
        WorkerTimeout, Stopped."""
        waiting = select.poll()
        waiting.register(pipe, events)
        while not waiting.poll(_SLICE_S * 1000):
            self._left -= _SLICE_S
            self.check()

    def check(self) -> None:
        """Raises WorkerTimeout, Stopped."""
        if self._stop.is_set():
            raise Stopped
        if self._left <= 0:
            raise WorkerTimeout


class WorkerProcess:
    """A process that starts at once; raises OSError when it cannot. It is killed and reaped by
    `end`, and also when this object is forgotten or this process exits. Methods with a deadline
    raise WorkerDied, WorkerTimeout, Stopped.

    On Windows, where a pipe cannot be waited for, no deadline is kept: a process that gets stuck
    ends itself.
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

    def wait_until_ready(self, deadline: Deadline) -> None:
        said = bytearray()
        while not self._is_ready:
            said += self._read(1, deadline)
            self._is_ready = said.endswith(READY)

    def ask(
        self, handler: Handler, arguments: tuple[Any, ...], seconds: float, deadline: Deadline
    ) -> None:
        """Have `handler`, a function that can be imported, make answers from `arguments`, when all
        earlier ones have been fetched. Left alone, the process ends itself after `seconds` without
        an answer."""
        left = memoryview(pickle.dumps((handler, arguments, seconds)))
        while left:
            try:
                sent = self._requests.write(left)
            except OSError as error:
                if is_closed_pipe(error):
                    raise WorkerDied from error
                raise
            if sent is None:
                deadline.wait_for(self._requests, select.POLLOUT)
            else:
                left = left[sent:]

    def answer(self, deadline: Deadline) -> tuple[Any, int]:
        """Return the next answer, and the number of bytes to be fetched by `read_into` after it."""
        deadline.check()
        item_bytes, more_bytes = HEADER.unpack(self._read(HEADER.size, deadline))
        return pickle.loads(self._read(item_bytes, deadline)), more_bytes

    def read_into(self, left: memoryview, deadline: Deadline) -> None:
        """Fill `left` with bytes from the process."""
        while left:
            count = self._answers.readinto(left)
            if count is None:
                deadline.wait_for(self._answers, select.POLLIN)
            elif not count:
                raise WorkerDied
            else:
                left = left[count:]

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

    def _read(self, count: int, deadline: Deadline) -> bytearray:
        read = bytearray(count)
        self.read_into(memoryview(read), deadline)
        return read


class Helpers:
    """Calls of `handler`, a function that can be imported, in `count` processes of their own; from
    any thread, one call at a time in each. A process keeps what the handler's module remembers, and
    is replaced after a call that ended it or took more than `seconds`."""

    def __init__(self, handler: Callable[..., Any], seconds: float, count: int = 1) -> None:
        self._handler = handler
        self._seconds = seconds
        self._stop = threading.Event()
        self._count = count
        self._free: SimpleQueue[WorkerProcess | None] = SimpleQueue()
        for _ in range(count):
            self._free.put(None)

    def start(self) -> None:
        """Start the processes ahead of the first call."""
        for _ in range(self._count):
            self._free.put(self._free.get() or WorkerProcess())

    def ask(self, *arguments: Any) -> Any:
        """Call the handler as soon as a process is free, and return what it returns. Raises
        HelperError."""
        process = self._free.get()
        try:
            if process is None or not process.is_alive:
                process = WorkerProcess()
            process.wait_until_ready(Deadline(START_S, self._stop))
            deadline = Deadline(self._seconds, self._stop)
            process.ask(call, (self._handler, arguments), self._seconds, deadline)
            succeeded, answer = process.answer(deadline)[0]
        except Exception as error:
            if process:
                process.end()
            process = None
            if isinstance(error, WorkerTimeout):
                raise HelperError(f"took longer than {self._seconds:g} s") from error
            if isinstance(error, (WorkerDied, Stopped, OSError)):
                raise HelperError("ended the process that opened it") from error
            raise
        finally:
            self._free.put(process)
        if not succeeded:
            raise HelperError(answer)
        return answer

    def close(self) -> None:
        """End the processes, in the middle of a call if need be; there can be no more calls."""
        self._stop.set()
        for _ in range(self._count):
            if process := self._free.get():
                process.end()
            self._free.put(None)


def _command() -> list[str]:
    """Return a command that imports everything from where this process would; the current directory
    does not get in front."""
    places = [place for place in sys.path if isinstance(place, str)]  # others find nothing here
    program = f"import sys; sys.path[:] = {places!r}; {PROGRAM}"
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


ORPHANED = 1
"""Exit status of a worker whose main process is gone."""


def start_method(*preload: str) -> str:
    """Return the `multiprocessing_context` of a DataLoader: workers never start by forking this
    process, whose engine may have threads.

    On POSIX workers are forked from a server that imports `preload` while this process does the
    same; the first call in a process decides.
    """
    if sys.platform == "win32":
        return "spawn"
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload(list(preload))
    with deaf_from_birth():
        forkserver.ensure_running()
    return "forkserver"


def refuse_reimport(function: str) -> None:
    """Raise UsageError where a worker process imports the caller's script and so would call
    `function`, which starts workers, once more."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            f"{function}() was called while a worker process imported this script; call it under "
            "`if __name__ == '__main__':`"
        )


@contextmanager
def deaf_from_birth(*, tracked: bool = True) -> Iterator[None]:
    """Start processes that never hear Ctrl-C or that the terminal is gone, not even before they say
    so themselves: each would answer with a traceback, or end. `tracked`: whether `multiprocessing`
    starts them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _UNHEARD)
    try:
        if tracked:
            resource_tracker.ensure_running()  # which ends by hearing Ctrl-C again
            signal.pthread_sigmask(signal.SIG_BLOCK, _UNHEARD)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(_: int = 0) -> None:
    """Make a worker deaf likewise, and mortal; for `DataLoader(worker_init_fn=...)`.

    torch's own watchdog compares parent process ids; under `forkserver` the parent is the fork
    server, which lives as long as its children, so a killed main process would leave them forever.
    """
    for number in _UNHEARD:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_main_process, daemon=True).start()


def _end_with_main_process() -> None:
    main = parent_process()
    if main is not None:
        connection.wait([main.sentinel])
        os._exit(ORPHANED)
