"""The table that the suites here damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.results.verify.table import write


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write(tmp_path_factory.mktemp("original"), range(15))


@pytest.fixture
def out(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "out"))
