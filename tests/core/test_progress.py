"""The line of progress: what it leaves out where there is no room, and what it never does."""

from __future__ import annotations

import pytest

from inspector.core.progress import CountingBar, Part, State, duration, line_of, time_left, words_of


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_a_line_keeps_the_bar_the_total_and_failures(columns):
    state = State(
        ((0.2, "cyan"), (0.3, "red"), (0.25, "green")),
        [
            Part("300,000 of 400,000"), Part("12 h 59 min left", 60), Part("crack 120,000", 50),
            Part("clear 99,999", 20), Part("review 12,345", 40), Part("failed 12,345"),
            Part("12.5/s", 30), Part("151 MP/s", 10),
        ],
    )  # fmt: skip
    line = line_of(state, columns).plain
    assert len(line) < columns
    bar, _, rest = line.partition("  ")
    assert 8 <= len(bar) <= 30 and bar.count("━") == round(0.75 * len(bar))
    assert rest.startswith("300,000 of 400,000") and "failed 12,345" in rest
    assert ("left" in rest, "crack" in rest, "MP/s" in rest) == {
        60: (False, False, False), 80: (True, True, False), 140: (True, True, True),
    }[columns]  # fmt: skip
    assert line_of(state, columns, plain=True).plain.isascii()
    assert words_of(state).endswith("12.5/s, 151 MP/s")


def test_time_left_is_not_guessed():
    assert time_left(5, 0, 60) == ""  # nobody knows how many there are
    assert time_left(5, 10, 1) == ""  # nobody knows how fast it is
    assert time_left(0, 10, 60) == ""
    assert time_left(10, 10, 60) == ""
    assert time_left(5, 10, 60) == "1 min left"
    assert duration(46_000) == "12 h 47 min"


def test_phases_have_names_and_say_more_where_there_is_room():
    bar = CountingBar(quiet=True)
    bar("epoch 1/6  loss 0.1234 acc 97.00%  123 images/s", 3, 10)
    assert "3 of 10" in line_of(bar.state(), 60).plain
    wide, narrow = (line_of(bar.state(), columns).plain for columns in (80, 50))
    assert "loss" in wide and "loss" not in narrow and "epoch 1/6" in narrow
    bar("learning what is no concrete\x1b[31m", 0, 0)
    assert r"concrete\x1b[31m  0 s" in line_of(bar.state(), 80).plain
