"""A process of its own for work on files from anywhere: what ends it does not end the server."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from typing import TYPE_CHECKING, Any

from inspector.workers.start import begin_worker, deaf_from_birth

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    Handler = Callable[..., Any]


class HelperError(Exception):
    """The work ended its process, took too long, or failed; the message says which."""


class Helper:
    """Calls `handler` in another process, one call at a time, from any thread. The process keeps
    what the handler's module remembers, and is replaced after a call that ended it or took more
    than `seconds`."""

    def __init__(self, handler: Handler, seconds: float) -> None:
        self._handler = handler
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    @property
    def busy(self) -> bool:
        return self._lock.locked()

    def start(self) -> None:
        """Start the process ahead of the first call."""
        with self._lock:
            if self._pipe is None:
                self._start()

    def ask(self, *arguments: Any) -> Any:
        """What the handler returns. Raises HelperError."""
        with self._lock:
            pipe = self._pipe or self._start()
            try:
                pipe.send(arguments)
                if not pipe.poll(self._seconds):
                    self._end()
                    raise HelperError(f"took longer than {self._seconds:g} s")
                fine, answer = pipe.recv()
            except (EOFError, OSError) as error:
                self._end()
                raise HelperError("ended the process that opened it") from error
        if not fine:
            raise HelperError(str(answer))
        return answer

    def close(self) -> None:
        """End the process, also in the middle of a call."""
        self._end()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._handler), daemon=True)
        with deaf_from_birth():
            self._process.start()
        theirs.close()
        return self._pipe

    def _end(self) -> None:
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if process is not None:
            process.kill()
            process.join()
        if pipe is not None:
            pipe.close()


class Helpers:
    """Several helpers of one kind; a call goes to one that is free, if there is one."""

    def __init__(self, handler: Handler, seconds: float, count: int) -> None:
        self._all = [Helper(handler, seconds) for _ in range(count)]

    def start(self) -> None:
        for helper in self._all:
            helper.start()

    def ask(self, *arguments: Any) -> Any:
        """As `Helper.ask`."""
        free = next((helper for helper in self._all if not helper.busy), self._all[0])
        return free.ask(*arguments)

    def close(self) -> None:
        for helper in self._all:
            helper.close()


def _serve(pipe: Connection, handler: Handler) -> None:
    begin_worker()
    with contextlib.suppress(EOFError):
        while True:
            arguments = pipe.recv()
            try:
                answer = (True, handler(*arguments))
            except Exception as error:  # of any library that reads files
                answer = (False, str(error) or type(error).__name__)
            pipe.send(answer)
