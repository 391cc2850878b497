"""Starting worker processes: those of `multiprocessing` (torch's DataLoader) and our own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from contextlib import contextmanager
from multiprocessing import connection, parent_process, resource_tracker
from typing import TYPE_CHECKING

from inspector.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """Start processes that never hear Ctrl-C, which reaches the whole process group, not even
    before they come to say so themselves: each would answer with a traceback.

    Args:
        tracked: Whether `multiprocessing` starts them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if tracked:
        resource_tracker.ensure_running()  # which ends by hearing Ctrl-C again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(_: int = 0) -> None:
    """Make a worker deaf to Ctrl-C, and mortal; for `DataLoader(worker_init_fn=...)`.

    Ctrl-C reaches the whole process group, and the main process decides what is still finished.
    torch's own watchdog compares parent process ids; under `forkserver` the parent is the fork
    server, which lives as long as its children, so a killed main process would leave them forever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_main_process, daemon=True).start()


def _end_with_main_process() -> None:
    main = parent_process()
    if main is not None:
        connection.wait([main.sentinel])
        os._exit(ORPHANED)
