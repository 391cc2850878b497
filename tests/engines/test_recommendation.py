"""A benchmark's recommendation is cached, for this bundle on this machine only."""

from __future__ import annotations

import dataclasses
import json

import pytest

from inspector.core import machine
from inspector.core.machine import CACHE_VARIABLE, cache_file
from inspector.engines.tuned import (
    Recommendation,
    Settings,
    find_recommendation,
    keep_recommendation,
)

FOUND = Recommendation(
    precision="int8", device="cpu",
    tiles=Settings(backend="onnxruntime", batch_size=64, workers=2),
    photos=Settings(backend="openvino", batch_size=8, workers=1),
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "memory"))


def test_find_recommendation_gives_back_what_was_kept(tiny_bundle):
    assert find_recommendation(tiny_bundle, "cpu") is None
    keep_recommendation(tiny_bundle, FOUND)
    assert find_recommendation(tiny_bundle, "cpu") == FOUND
    assert find_recommendation(tiny_bundle, "cuda") is None
    better = dataclasses.replace(FOUND, precision="fp32")
    keep_recommendation(tiny_bundle, better)
    assert find_recommendation(tiny_bundle, "cpu") == better


def test_find_recommendation_knows_nothing_of_another_model_machine_or_version(
    tiny_bundle, monkeypatch
):
    keep_recommendation(tiny_bundle, FOUND)
    changed = {**tiny_bundle.files, "model.onnx": "0" * 64}
    assert find_recommendation(dataclasses.replace(tiny_bundle, files=changed), "cpu") is None
    for name, other in (
        ("usable_cores", 999),
        ("cpu_model", "another"),
        ("installed_version", "9.9"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(machine, name, lambda *_, other=other: other)
            assert find_recommendation(tiny_bundle, "cpu") is None


@pytest.mark.parametrize("wrong", [3, {}, {"tiles": {}}, {"tiles": 1, "photos": 2}, None, []])
def test_find_recommendation_ignores_what_no_version_wrote(tiny_bundle, wrong):
    keep_recommendation(tiny_bundle, FOUND)
    known = json.loads(cache_file().read_text())
    cache_file().write_text(json.dumps(dict.fromkeys(known, wrong)))
    assert find_recommendation(tiny_bundle, "cpu") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0), ("batch_size", -1), ("batch_size", 1.5), ("batch_size", None),
        ("workers", -1), ("workers", "2"), ("workers", True), ("backend", "torchscript"),
        ("backend", "eager"), ("backend", 3), ("more", 1),
    ],
)  # fmt: skip
def test_find_recommendation_ignores_settings_that_no_scan_can_have(tiny_bundle, name, value):
    keep_recommendation(tiny_bundle, FOUND)
    known = json.loads(cache_file().read_text())
    for entry in known.values():
        entry["photos"][name] = value
    cache_file().write_text(json.dumps(known))
    assert find_recommendation(tiny_bundle, "cpu") is None
