"""The processes that open photos: one that gets stuck or dies is ended, and the next is served."""

from __future__ import annotations

import os
import time

import pytest

from inspector.workers.process import Helper, HelperError, Helpers


@pytest.fixture
def helper():
    made = Helper(_work, 60.0)
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
    return value


def test_a_stuck_picture_is_given_up_and_its_process_ended(helper):
    stuck = helper._process
    helper._seconds = 0.5
    with pytest.raises(HelperError, match=r"took longer than 0\.5 s"):
        helper.ask("sleep", 20)
    assert not stuck.is_alive, "it would go on holding memory, and a core"
    helper._seconds = 60.0
    assert helper.ask("say", "again") == "again"


def test_one_that_dies_or_fails_is_said(helper):
    with pytest.raises(HelperError, match="ended the process"):
        helper.ask("die", 0)
    with pytest.raises(HelperError, match="no such photo"):
        helper.ask("raise", "no such photo")
    assert helper.ask("say", "again") == "again"


def test_a_busy_helper_is_passed_over():
    several = Helpers(_work, 60.0, 2)
    first, second = several._all
    with first._lock:
        assert several.ask("say", 5) == 5
    assert (first._process, second._process is None) == (None, False)
    several.close()
