"""Work done by threads ahead of the one who asks for it, in order and with a bound."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Task = TypeVar("Task")
Made = TypeVar("Made")


class Ahead(Generator[Made, None, None], Generic[Task, Made]):
    """What `make` returns for each of `tasks`, in their order, made by `threads` threads.

    A generator that begins at once, not when it is first asked; `depth` tasks, at least 1, are
    being worked on or done and not yet asked for. `tasks` is read in the thread that asks. What
    it raises comes after what precedes it, as in a plain loop; so does what `make` raises.

    Closing it ends the threads: `make` is given an event that is then set, and should return
    early; what it returns is dropped.
    """

    def __init__(
        self,
        make: Callable[[Task, threading.Event], Made],
        tasks: Iterator[Task],
        *,
        threads: int,
        depth: int,
    ) -> None:
        self._make = make
        self._tasks = tasks
        self._depth = depth
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="inspector-decode")
        self._waiting: deque[Future[Made]] = deque()
        self._more = True
        self._top_up()

    def send(self, _: None) -> Made:
        if not self._waiting:
            self.throw(StopIteration())
        try:
            made = self._waiting[0].result()
            self._waiting.popleft()
            self._top_up()
        except BaseException as error:
            self.throw(error)
        return made

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> NoReturn:
        """Ends the threads and raises, as a generator does that handles nothing."""
        self._more = False
        self._waiting.clear()
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)
        raise kind if value is None else value

    def __del__(self) -> None:
        self._stop.set()  # forgotten, not closed: what is still to be done is not worth doing

    def _top_up(self) -> None:
        while self._more and len(self._waiting) < self._depth:
            try:
                task = next(self._tasks)
            except StopIteration:
                self._more = False
            except Exception as error:
                self._more = False
                failed: Future[Made] = Future()
                failed.set_exception(error)
                self._waiting.append(failed)
            else:
                self._waiting.append(self._pool.submit(self._make, task, self._stop))
