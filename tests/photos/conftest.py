"""Decoding bytes as if they were a file."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from inspector.model.preprocess import PreprocessSpec
from inspector.photos import formats
from inspector.types import Decoded, Failure
from tests.photos.files import SPEC, decode_path


@pytest.fixture
def decode_bytes(tmp_path):
    def run(data: bytes, spec: PreprocessSpec = SPEC, **limits: int) -> Decoded | Failure:
        path = tmp_path / "photo.jpg"
        path.write_bytes(data)
        return decode_path(path, spec, **limits)

    return run


@pytest.fixture
def without(monkeypatch):
    """A function after which a module is as if it were not installed."""

    def hide(module: str) -> None:
        monkeypatch.setattr(
            "inspector.photos.formats.find_spec",
            lambda name: None if name == module else find_spec(name),
        )
        formats.decodable.cache_clear()

    yield hide
    formats.decodable.cache_clear()
