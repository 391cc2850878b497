"""Work done by threads ahead of the one who asks for it, in order and with a bound."""

from __future__ import annotations

import sys
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import nullcontext
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

Task = TypeVar("Task")
Made = TypeVar("Made")
_Task = TypeVar("_Task", contravariant=True)
_Made = TypeVar("_Made", covariant=True)


class Turn:
    """What a maker may ask about the task that it is at."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        """Once it is set, nobody wants any more; what is then made or raised is dropped."""
        self.is_awaited = False
        """Everything before it was taken, and somebody waits for what this task makes next: were it
        to wait for room that only they can give, nothing would ever go on."""


class Maker(Protocol[_Task, _Made]):
    """Works for one thread, which closes it when there is nothing left to do."""

    def make(self, task: _Task, turn: Turn) -> Iterator[_Made]:
        """Yield what is made of `task`, in order; end early once `turn.stop` is set."""

    def close(self) -> None: ...


class _Job(Turn, Generic[Made]):
    """What was made of a task so far; None follows the last of it."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self._made: SimpleQueue[Future[Made] | None] = SimpleQueue()
        self._lock = threading.Lock()

    def put(self, made: Future[Made] | None) -> None:
        with self._lock:
            self.is_awaited = False
            self._made.put(made)

    def fail(self, error: BaseException) -> None:
        failed: Future[Made] = Future()
        failed.set_exception(error)
        self.put(failed)

    def take(self) -> Future[Made] | None:
        """Wait for the next thing."""
        with self._lock:
            self.is_awaited = self._made.empty()
        return self._made.get()


def make_ahead(
    makers: Sequence[Maker[Task, Made]],
    tasks: Iterator[Task],
    *,
    depth: int,
    name: str = "inspector-decode",
    waiting: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Generator[Made]:
    """Yield what `makers` make of `tasks`, in their order; each maker has a thread of its own.

    Work begins at once, not when it is first asked for; up to `depth` tasks (at least 1) are being
    worked on, or done and not all taken yet. `tasks` is read in the thread that asks. What it
    raises comes after what precedes it, as in a plain loop; so does what a maker raises. Closing or
    forgetting the generator ends the threads and closes the makers.
    `waiting` makes a context in which the one who asks waits for what is not done yet.
    """
    todo: SimpleQueue[tuple[Task, _Job[Made]] | None] = SimpleQueue()
    stop = threading.Event()
    # Daemons: a program that ends without closing this must not wait for what they are at.
    threads = [
        threading.Thread(target=_work, args=(maker, todo, stop), name=name, daemon=True)
        for maker in makers
    ]
    for thread in threads:
        thread.start()
    made: Generator[Any] = _in_order(threads, todo, stop, tasks, depth, waiting)
    next(made)  # up to the first yield
    return made


def _in_order(
    threads: Sequence[threading.Thread],
    todo: SimpleQueue[tuple[Task, _Job[Made]] | None],
    stop: threading.Event,
    tasks: Iterator[Task],
    depth: int,
    waiting: Callable[[], AbstractContextManager[Any]],
) -> Generator[Made | None]:
    """Yield None when work has begun, then what is made."""
    ahead: deque[_Job[Made]] = deque()
    taken: list[Future[Made]] = []
    more = True

    def hand_out() -> None:
        nonlocal more
        while more and len(ahead) < depth:
            job: _Job[Made] = _Job(stop)
            try:
                todo.put((next(tasks), job))
            except StopIteration:
                more = False
                return
            except Exception as error:
                more = False
                job.fail(error)
            ahead.append(job)

    try:
        hand_out()
        yield None
        while True:
            hand_out()
            if not ahead:
                return
            with waiting():
                made = ahead[0].take()
            if made is None:
                ahead.popleft()
                continue
            taken.append(made)
            del made
            yield taken.pop().result()  # and keep no reference to it
    finally:
        stop.set()
        for _ in threads:
            todo.put(None)
        for thread in threads:
            # At the end of the program they do not run any more.
            if not (thread is threading.current_thread() or sys.is_finalizing()):
                thread.join()


def _work(
    maker: Maker[Task, Made],
    todo: SimpleQueue[tuple[Task, _Job[Made]] | None],
    stop: threading.Event,
) -> None:
    try:
        while not stop.is_set() and _work_off(maker, todo):
            pass
    finally:
        maker.close()


def _work_off(maker: Maker[Task, Made], todo: SimpleQueue[tuple[Task, _Job[Made]] | None]) -> bool:
    """Do one task; returns False when there will be none. A function of its own, so that nothing of
    the task stays in memory while waiting for the next; nor does what was made of it."""
    asked = todo.get()
    if asked is None:
        return False
    task, job = asked
    try:
        for made in maker.make(task, job):
            done: Future[Made] = Future()
            done.set_result(made)
            job.put(done)
            del made, done
            if job.stop.is_set():
                break
    except BaseException as error:
        job.fail(error)
    job.put(None)
    return True
