"""Results in a bucket, from the scan to the table that is brought here."""

from __future__ import annotations

import pytest

from bench.faults.store import ObjectServer
from tests.journeys.steps import IN_A_BUCKET

pytest.importorskip("obstore", reason="obstore is not installed: no table was put into a bucket")


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory):
    with ObjectServer() as opened, pytest.MonkeyPatch.context() as patch:
        for name, value in opened.environment.items():
            patch.setenv(name, value)
        patch.setenv("INSPECTOR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield opened


@pytest.mark.parametrize("step", IN_A_BUCKET, ids=str)
def test_a_person_keeps_the_results_in_a_bucket(step, room):
    step.take(room)
