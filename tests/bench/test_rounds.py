"""Which case is measured when, and when enough is enough."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from bench.rounds import LEAST_ROUNDS, NARROW, half_width, repeat


@dataclass
class Fake:
    name: str
    rate: float = 100.0
    jitter: float = 0.0
    fails_in: int | None = None
    usual: bool = False
    rates: list[float] = field(default_factory=list)

    @property
    def open(self):
        return self.fails_in is None or len(self.rates) < self.fails_in

    @property
    def measured(self):
        return [self.rates] if self.rates else []


def run(cases, *, rounds=8, deadline=1e9, seed=0, seconds=0.0):
    turns = []

    def measure(case, number):
        turns.append((number, case.name))
        case.rates.append(case.rate * (1 + case.jitter * (number % 2)))
        time.sleep(seconds)

    repeat(cases, measure, rounds=rounds, deadline=time.perf_counter() + deadline, seed=seed)
    return turns


def test_every_case_has_a_turn_per_round_in_a_new_order():
    cases = [Fake(str(k), jitter=0.5) for k in range(6)]
    turns = run(cases, rounds=4)
    orders = [[name for number, name in turns if number == r] for r in range(4)]
    assert all(sorted(order) == sorted(c.name for c in cases) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert turns == run([Fake(str(k), jitter=0.5) for k in range(6)], rounds=4)
    other = run([Fake(str(k), jitter=0.5) for k in range(6)], rounds=4, seed=1)
    assert turns != other


def test_a_narrow_case_ends_early_and_a_wide_one_goes_on():
    narrow, wide, failing = Fake("a"), Fake("b", jitter=0.2), Fake("c", fails_in=1)
    run([narrow, failing])
    assert [len(case.rates) for case in (narrow, failing)] == [LEAST_ROUNDS, 1]
    run([wide, narrow := Fake("a")], rounds=12)
    assert LEAST_ROUNDS == len(narrow.rates) < len(wide.rates) == 12
    assert half_width(wide.rates) > NARROW


def test_one_round_is_always_there_and_the_next_only_where_time_is_left():
    slow = Fake("slow", jitter=0.5)
    run([slow], deadline=0.0, seconds=0.01)
    assert len(slow.rates) == 1
    run([other := Fake("other", jitter=0.5)], deadline=0.035, seconds=0.01)
    assert 2 <= len(other.rates) <= 3


def test_after_the_end_only_usual_cases_have_a_first_turn():
    usual, other = Fake("usual", usual=True), Fake("other")
    turns = []

    def measure(case, number):
        turns.append(case.name)
        case.rates.append(1.0)

    for seed in range(5):
        repeat([other, usual], measure, rounds=1, deadline=0.0, end=0.0, seed=seed)
    assert turns == ["usual"] * 5
    repeat([other, usual], measure, rounds=1, deadline=0.0, end=1e12, seed=0)
    assert turns[5:] == ["usual", "other"], "what others are compared with comes first"
