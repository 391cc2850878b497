"""What a benchmark has found out is remembered, for this bundle on this machine only."""

from __future__ import annotations

import dataclasses
import json

import pytest

from inspector.core import cache as remembered
from inspector.core.cache import CACHE_VARIABLE, cache_file
from inspector.engines.advice import Advice, Pace, find_advice, keep_advice

ADVICE = Advice(
    precision="int8", device="cpu",
    tiles=Pace(backend="onnxruntime", batch_size=64, workers=2),
    photos=Pace(backend="openvino", batch_size=8, workers=1),
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_memory(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "memory"))


def test_it_comes_back_as_it_was(tiny_bundle):
    assert find_advice(tiny_bundle, "cpu") is None
    keep_advice(tiny_bundle, ADVICE)
    assert find_advice(tiny_bundle, "cpu") == ADVICE
    assert find_advice(tiny_bundle, "cuda") is None
    better = dataclasses.replace(ADVICE, precision="fp32")
    keep_advice(tiny_bundle, better)
    assert find_advice(tiny_bundle, "cpu") == better


def test_another_model_machine_or_version_knows_nothing_of_it(tiny_bundle, monkeypatch):
    keep_advice(tiny_bundle, ADVICE)
    changed = {**tiny_bundle.files, "model.onnx": "0" * 64}
    assert find_advice(dataclasses.replace(tiny_bundle, files=changed), "cpu") is None
    for name, other in (("usable_cores", 999), ("cpu_model", "another"), ("_version", "9.9")):
        with monkeypatch.context() as patch:
            patch.setattr(remembered, name, lambda *_, other=other: other)
            assert find_advice(tiny_bundle, "cpu") is None


@pytest.mark.parametrize("wrong", [3, {}, {"tiles": {}}, {"tiles": 1, "photos": 2}, None, []])
def test_what_no_version_wrote_is_no_advice(tiny_bundle, wrong):
    keep_advice(tiny_bundle, ADVICE)
    known = json.loads(cache_file().read_text())
    cache_file().write_text(json.dumps(dict.fromkeys(known, wrong)))
    assert find_advice(tiny_bundle, "cpu") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0), ("batch_size", -1), ("batch_size", 1.5), ("batch_size", None),
        ("workers", -1), ("workers", "2"), ("workers", True), ("backend", "torchscript"),
        ("backend", "eager"), ("backend", 3), ("more", 1),
    ],
)  # fmt: skip
def test_a_pace_that_no_scan_can_follow_is_no_advice(tiny_bundle, name, value):
    keep_advice(tiny_bundle, ADVICE)
    known = json.loads(cache_file().read_text())
    for entry in known.values():
        entry["photos"][name] = value
    cache_file().write_text(json.dumps(known))
    assert find_advice(tiny_bundle, "cpu") is None
