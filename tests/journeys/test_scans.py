"""Scan, prove, look through and hand in, as typed into a terminal."""

from __future__ import annotations

import pytest

from tests.journeys.steps import SCANS


@pytest.mark.parametrize("step", SCANS, ids=str)
def test_a_person_scans_and_reads_the_results(step, room):
    step.take(room)
