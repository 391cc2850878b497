"""Work done by threads ahead of the one who asks for it, in order and with a bound."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Task = TypeVar("Task")
Made = TypeVar("Made")
_Task = TypeVar("_Task", contravariant=True)
_Made = TypeVar("_Made", covariant=True)


class Maker(Protocol[_Task, _Made]):
    """Works for one thread, which closes it when there is nothing left to do."""

    def make(self, task: _Task, stop: threading.Event) -> _Made:
        """Once `stop` is set, it should end early; what it then returns or raises is dropped."""

    def close(self) -> None: ...


class Ahead(Generator[Made, None, None], Generic[Task, Made]):
    """What `makers` make of `tasks`, in their order; each of them has a thread of its own.

    A generator that begins at once, not when it is first asked; `depth` tasks, at least 1, are
    being worked on or done and not yet asked for. `tasks` is read in the thread that asks. What
    it raises comes after what precedes it, as in a plain loop; so does what a maker raises.

    Closing it ends the threads and closes the makers; being forgotten and the end of the program
    make them do so.
    """

    def __init__(
        self, makers: Sequence[Maker[Task, Made]], tasks: Iterator[Task], *, depth: int
    ) -> None:
        self._tasks = tasks
        self._depth = depth
        self._todo: SimpleQueue[tuple[Task, Future[Made]] | None] = SimpleQueue()
        self._waiting: deque[Future[Made]] = deque()
        self._more = True
        stop = threading.Event()
        self._tell_to_end = weakref.finalize(self, _tell_to_end, self._todo, stop, len(makers))
        # Daemons: a program that ends without closing this must not wait for what they are at.
        self._threads = [
            threading.Thread(
                target=_work, args=(maker, self._todo, stop), name="inspector-decode", daemon=True
            )
            for maker in makers
        ]
        for thread in self._threads:
            thread.start()
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
        self._tell_to_end()
        for thread in self._threads:
            thread.join()
        raise kind if value is None else value

    def _top_up(self) -> None:
        while self._more and len(self._waiting) < self._depth:
            made: Future[Made] = Future()
            try:
                task = next(self._tasks)
            except StopIteration:
                self._more = False
                return
            except Exception as error:
                self._more = False
                made.set_exception(error)
            else:
                self._todo.put((task, made))
            self._waiting.append(made)


def _tell_to_end(todo: SimpleQueue[Any], stop: threading.Event, threads: int) -> None:
    stop.set()
    for _ in range(threads):
        todo.put(None)


def _work(
    maker: Maker[Task, Made],
    todo: SimpleQueue[tuple[Task, Future[Made]] | None],
    stop: threading.Event,
) -> None:
    try:
        while not stop.is_set() and _work_off(maker, todo, stop):
            pass
    finally:
        maker.close()


def _work_off(
    maker: Maker[Task, Made],
    todo: SimpleQueue[tuple[Task, Future[Made]] | None],
    stop: threading.Event,
) -> bool:
    """One task; its own function, so that nothing of it stays in memory while waiting for the next.
    Returns False when there will be none."""
    job = todo.get()
    if job is None:
        return False
    task, made = job
    try:
        made.set_result(maker.make(task, stop))
    except BaseException as error:
        made.set_exception(error)
    return True
