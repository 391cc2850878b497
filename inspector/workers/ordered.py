"""Work done by threads ahead of the one who asks for it, in order and with a bound."""

from __future__ import annotations

import sys
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import nullcontext
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

Task = TypeVar("Task")
Made = TypeVar("Made")
_Task = TypeVar("_Task", contravariant=True)
_Made = TypeVar("_Made", covariant=True)


class Maker(Protocol[_Task, _Made]):
    """Works for one thread, which closes it when there is nothing left to do."""

    def make(self, task: _Task, stop: threading.Event) -> _Made:
        """Once `stop` is set, it should end early; what it then returns or raises is dropped."""

    def close(self) -> None: ...


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
    worked on, or done and not taken yet. `tasks` is read in the thread that asks. What it raises
    comes after what precedes it, as in a plain loop; so does what a maker raises. Closing or
    forgetting the generator ends the threads and closes the makers.
    `waiting` makes a context in which the one who asks waits for what is not done yet.
    """
    todo: SimpleQueue[tuple[Task, Future[Made]] | None] = SimpleQueue()
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
    todo: SimpleQueue[tuple[Task, Future[Made]] | None],
    stop: threading.Event,
    tasks: Iterator[Task],
    depth: int,
    waiting: Callable[[], AbstractContextManager[Any]],
) -> Generator[Made | None]:
    """Yield None when work has begun, then what is made."""
    ahead: deque[Future[Made]] = deque()
    more = True

    def hand_out() -> None:
        nonlocal more
        while more and len(ahead) < depth:
            future: Future[Made] = Future()
            try:
                todo.put((next(tasks), future))
            except StopIteration:
                more = False
                return
            except Exception as error:
                more = False
                future.set_exception(error)
            ahead.append(future)

    try:
        hand_out()
        yield None
        while True:
            hand_out()
            if not ahead:
                return
            with waiting():
                ahead[0].exception()
            yield ahead.popleft().result()  # and keep no reference to it
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
    """Do one task; returns False when there will be none. A function of its own, so that nothing of
    the task stays in memory while waiting for the next."""
    job = todo.get()
    if job is None:
        return False
    task, future = job
    try:
        future.set_result(maker.make(task, stop))
    except BaseException as error:
        future.set_exception(error)
    return True
