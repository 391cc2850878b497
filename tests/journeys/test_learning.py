"""Train, measure, export and compare, as typed into a terminal."""

from __future__ import annotations

import pytest

from tests.journeys.steps import LEARNING


@pytest.mark.parametrize("step", LEARNING, ids=str)
def test_a_person_makes_a_model_of_their_own(step, room):
    step.take(room)
