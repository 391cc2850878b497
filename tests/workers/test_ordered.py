"""Threads that work ahead: in order, bounded, no later than asked, and gone when told to go."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.workers.ordered import make_ahead

if TYPE_CHECKING:
    from collections.abc import Callable


class Slow:
    """Makes the negative of a number, now and then later than its neighbours."""

    def __init__(self, seconds=0.02):
        self.seconds = seconds
        self.seen: list[int] = []
        self.closed_by: list[threading.Thread] = []

    def make(self, task, turn):
        self.seen.append(task)
        turn.stop.wait(random.uniform(0, self.seconds))
        yield -task

    def close(self):
        self.closed_by.append(threading.current_thread())


class Endless(Slow):
    def make(self, task, turn):
        self.seen.append(task)
        turn.stop.wait(60)
        yield from ()


def wait_until(done: Callable[[], bool]) -> None:
    """Up to a minute, for a machine that is busy with other things."""
    deadline = time.monotonic() + 60
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done()


def own_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("inspector-decode")]


@pytest.fixture(autouse=True)
def all_threads_end():
    yield
    wait_until(lambda: own_threads() == [])


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 30), threads=st.integers(1, 4), depth=st.integers(1, 9))
def test_the_order_of_the_tasks(count, threads, depth):
    makers = [Slow(0.001) for _ in range(threads)]
    assert list(make_ahead(makers, iter(range(count)), depth=depth)) == [-k for k in range(count)]
    assert sorted(k for maker in makers for k in maker.seen) == list(range(count))
    assert all(len(maker.closed_by) == 1 for maker in makers)


@pytest.mark.parametrize("threads", [1, 3])
def test_reading_ahead_is_bounded_and_here(threads):
    read, readers = [], set()

    def listing():
        for k in range(24):
            read.append(k)
            readers.add(threading.current_thread())
            yield k

    made = make_ahead([Slow() for _ in range(threads)], listing(), depth=2 * threads)
    for taken in range(4):
        time.sleep(0.05)
        assert len(read) <= taken + 2 * threads
        next(made)
    list(made)
    assert len(read) == 24
    assert readers == {threading.current_thread()}


def test_work_begins_before_it_is_asked_for_and_each_maker_has_its_thread():
    maker = Slow()
    made = make_ahead([maker], iter(range(9)), depth=4)
    wait_until(lambda: maker.seen == [0, 1, 2, 3])
    (thread,) = own_threads()
    made.close()
    assert maker.closed_by == [thread]


def test_closing_stops_what_is_being_done():
    makers = [Endless(), Endless()]
    made = make_ahead(makers, iter(range(24)), depth=4)
    wait_until(lambda: sum(len(maker.seen) for maker in makers) == 2)
    made.close()
    assert own_threads() == []
    assert sum(len(maker.seen) for maker in makers) == 2
    assert list(made) == []
    made.close()


def test_what_is_forgotten_ends_its_threads():
    maker = Endless()
    make_ahead([maker], iter(range(24)), depth=4)
    wait_until(lambda: own_threads() == [])
    assert len(maker.closed_by) == 1


def test_what_the_listing_raises_comes_after_what_precedes_it():
    def listing():
        yield from range(3)
        raise OSError("the share is gone")

    made = make_ahead([Slow(), Slow()], listing(), depth=9)
    assert [next(made) for _ in range(3)] == [0, -1, -2]
    with pytest.raises(OSError, match="the share is gone"):
        next(made)
    assert own_threads() == []
    assert list(made) == []


def test_what_a_maker_raises_comes_in_its_place():
    class Buggy(Slow):
        def make(self, task, turn):
            if task == 2:
                raise ZeroDivisionError("bug")
            yield from super().make(task, turn)

    made = make_ahead([Buggy(), Buggy()], iter(range(9)), depth=5)
    assert [next(made), next(made)] == [0, -1]
    with pytest.raises(ZeroDivisionError, match="bug"):
        next(made)
    assert own_threads() == []


def test_an_interrupt_while_waiting_ends_the_threads():
    @contextmanager
    def interrupted():
        raise KeyboardInterrupt
        yield

    made = make_ahead([Endless()], iter(range(9)), depth=1, waiting=interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(made)
    assert own_threads() == []


def test_a_program_that_ends_does_not_wait():
    program = (
        "import time; from inspector.workers.ordered import make_ahead\n"
        "class Deaf:\n"
        "    def make(self, task, turn): time.sleep(600); yield\n"
        "    def close(self): pass\n"
        "made = make_ahead([Deaf()], iter([1]), depth=1)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class Several(Slow):
    """Makes as many things of a number as it says."""

    def make(self, task, turn):
        self.seen.append(task)
        for k in range(task):
            turn.stop.wait(random.uniform(0, self.seconds))
            yield task, k


@settings(max_examples=40, deadline=None)
@given(tasks=st.lists(st.integers(0, 4), max_size=12), threads=st.integers(1, 3))
def test_a_task_may_make_several_things_or_none(tasks, threads):
    made = make_ahead([Several(0.001) for _ in range(threads)], iter(tasks), depth=4)
    assert list(made) == [(task, k) for task in tasks for k in range(task)]


def test_the_first_of_several_things_comes_before_the_last_is_made():
    class Stuck(Slow):
        def make(self, task, turn):
            yield task
            turn.stop.wait(60)
            yield -1

    made = make_ahead([Stuck()], iter([7]), depth=1)
    assert next(made) == 7
    made.close()


def test_only_the_task_that_is_waited_for_is_awaited():
    free = threading.Event()
    turns = {}

    class Waits(Slow):
        def make(self, task, turn):
            turns[task] = turn
            while not (turn.is_awaited or turn.stop.is_set()):
                time.sleep(0.001)
            yield task
            free.wait(60)

    made = make_ahead([Waits(), Waits()], iter(range(2)), depth=2)
    assert next(made) == 0
    wait_until(lambda: len(turns) == 2)
    assert not turns[0].is_awaited and not turns[1].is_awaited
    free.set()
    assert next(made) == 1
    assert list(made) == []


def test_what_was_made_is_not_kept():
    """Large photos: nobody but the one who took it holds it, while the next one is being made."""

    class Thing:
        pass

    class Things(Slow):
        def make(self, task, turn):
            yield Thing()
            turn.stop.wait(60)

    made = make_ahead([Things()], iter(range(9)), depth=1)
    thing = weakref.ref(next(made))
    wait_until(lambda: thing() is None)
    made.close()
