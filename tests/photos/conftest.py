"""Decoding bytes as if they were a file."""

from __future__ import annotations

import pytest

from inspector.model.preprocess import PreprocessSpec
from inspector.types import Decoded, Failure
from tests.photos.files import SPEC, decode_path


@pytest.fixture
def decode_bytes(tmp_path):
    def run(data: bytes, spec: PreprocessSpec = SPEC, **limits: int) -> Decoded | Failure:
        path = tmp_path / "photo.jpg"
        path.write_bytes(data)
        return decode_path(path, spec, **limits)

    return run
