"""No command, option or documented line comes without its journey."""

from __future__ import annotations

import pytest

from tests.journeys import documented
from tests.journeys.steps import LEARNING, SCANS

STEPS = [step for step in (*SCANS, *LEARNING) if step.words and not step.words[0].startswith("-")]


def steps_of(command: str):
    return [step for step in STEPS if documented.named(step.words) == command]


@pytest.mark.parametrize("command", documented.commands())
def test_every_option_is_taken_in_a_journey(command):
    there = {param.name for param in documented.commands()[command].params}
    arguments = {
        param.name
        for param in documented.commands()[command].params
        if param.param_type_name == "argument"
    }
    used = {name for step in steps_of(command) for name in documented.options(step.words)}
    assert there - arguments - used == set(), f"add a step with them to {command}"


@pytest.mark.parametrize("command", documented.commands())
def test_every_command_is_seen_at_80_and_60_columns_and_without_a_terminal(command):
    assert {step.columns for step in steps_of(command)} == {80, 60, None}


@pytest.mark.parametrize("line", documented.shown(), ids=" ".join)
def test_every_line_that_people_are_shown_is_gone_through(line):
    command, wanted = documented.named(line), documented.options(line)
    taken = [documented.options(step.words) for step in steps_of(command) if step.code != 2]
    assert any(wanted <= options for options in taken), f"add a step with {sorted(wanted)}"
