"""The processes that open photos: one that gets stuck or dies is ended, and the next is served."""

from __future__ import annotations

import errno
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from inspector.core import text
from inspector.workers.process import Deadline, HelperError, Helpers, WorkerDied, WorkerProcess
from tests.workers.processes import is_gone


@pytest.fixture
def helper():
    made = Helpers(_work, 60.0)
    made.start()
    assert made.ask("say", "ready") == "ready"
    yield made
    made.close()


def _work(kind, value):
    if kind == "sleep":
        time.sleep(value)
    if kind == "die":
        os._exit(3)
    if kind == "raise":
        raise ValueError(value)
    if kind == "who":
        return os.getpid()
    return value


def test_a_call_that_takes_too_long_ends_its_process(helper):
    stuck = helper.ask("who", 0)
    helper._seconds = 0.5
    with pytest.raises(HelperError, match=r"took longer than 0\.5 s"):
        helper.ask("sleep", 20)
    assert is_gone(stuck), "it would go on holding memory, and a core"
    helper._seconds = 60.0
    assert helper.ask("say", "again") == "again"


def test_a_call_that_dies_or_fails_says_so(helper):
    with pytest.raises(HelperError, match="ended the process"):
        helper.ask("die", 0)
    with pytest.raises(HelperError, match="no such photo"):
        helper.ask("raise", "no such photo")
    assert helper.ask("say", "again") == "again"


def test_a_process_that_is_busy_is_passed_over():
    several = Helpers(_work, 60.0, 2)
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(several.ask, "sleep", 3)
        assert several.ask("say", 5) == 5
        assert not slow.done()
    several.close()


def test_closing_ends_a_call_in_the_middle(helper):
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(helper.ask, "sleep", 60)
        time.sleep(0.5)
        helper.close()
        with pytest.raises(HelperError):
            slow.result()
    with pytest.raises(HelperError):
        helper.ask("say", "too late")


def test_a_process_starts_whatever_is_among_the_places_of_modules(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.path", [*sys.path, tmp_path, None])
    made = Helpers(_work, 60.0)
    assert made.ask("say", "ready") == "ready"
    made.close()


@pytest.mark.parametrize(("number", "error"), [(errno.EINVAL, WorkerDied), (errno.EIO, OSError)])
def test_a_closed_pipe_has_another_number_on_windows(monkeypatch, number, error):
    class Closed:
        def write(self, _):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(text, "_CLOSED_PIPE", {errno.EPIPE, errno.EINVAL})
    process = WorkerProcess.__new__(WorkerProcess)
    process._requests = Closed()
    with pytest.raises(error):
        process.ask(_work, (), 1.0, Deadline(1.0, Event()))
