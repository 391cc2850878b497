"""The bundle on disk: what is written comes back, and no damage passes unnoticed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from inspector.errors import BundleError, InspectorError, UsageError
from inspector.model.bundle import BUNDLE_JSON, WEIGHTS, ModelBundle, Thresholds
from inspector.model.preprocess import PreprocessSpec
from tests.hollow import hollow_bundle, rewrite


@pytest.fixture
def bundle(tmp_path) -> ModelBundle:
    return hollow_bundle(tmp_path / "bundle")


def test_round_trip(bundle):
    assert ModelBundle.load(bundle.path) == bundle


def test_saving_leaves_nothing_else_behind(bundle):
    bundle.save()
    assert {p.name for p in bundle.path.iterdir()} == {BUNDLE_JSON, WEIGHTS, "model.onnx"}


DECISIVE: dict[str, Any] = {
    "labels": ("Positive", "Negative"),
    "positive": "Negative",
    "preprocess": PreprocessSpec(size=128),
    "temperature": 1.6,
    "thresholds": Thresholds(clear_below=0.2, crack_from=0.81, chosen="on nothing"),
    "files": {WEIGHTS: "0" * 64},
}
INDIFFERENT: dict[str, Any] = {
    "path": Path("elsewhere"),
    "variants": {},
    "training": {"seed": 4},
    "thresholds": Thresholds(clear_below=0.2, crack_from=0.8, chosen="on more data"),
}


@pytest.mark.parametrize("name", DECISIVE)
def test_the_digest_changes_with_what_decides_a_verdict(name, bundle):
    assert replace(bundle, **{name: DECISIVE[name]}).digest != bundle.digest


@pytest.mark.parametrize("name", INDIFFERENT)
def test_the_digest_does_not_change_with_anything_else(name, bundle):
    assert replace(bundle, **{name: INDIFFERENT[name]}).digest == bundle.digest


def test_another_variant_keeps_the_digest(bundle):
    (bundle.path / "model.ts").write_bytes(b"other")
    assert bundle.with_files("model.ts").digest == bundle.digest


def test_the_digest_survives_the_disk(bundle):
    stored = json.loads((bundle.path / BUNDLE_JSON).read_text())
    assert stored["digest"] == ModelBundle.load(bundle.path).digest == bundle.digest


@pytest.mark.parametrize("name", [WEIGHTS, "model.onnx"])
def test_one_changed_bit_is_named(name, bundle):
    data = bytearray((bundle.path / name).read_bytes())
    data[50] ^= 1
    (bundle.path / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} was changed"):
        ModelBundle.load(bundle.path)
    assert ModelBundle.load(bundle.path, verify=False) == bundle


def test_all_damage_is_named_at_once(bundle):
    (bundle.path / WEIGHTS).unlink()
    (bundle.path / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=rf"model\.onnx was changed; {WEIGHTS} is missing"):
        ModelBundle.load(bundle.path)


@pytest.mark.parametrize("name", ["../outside", "sub/model.onnx"])
def test_a_file_outside_is_refused(name, bundle):
    (bundle.path.parent / "outside").write_bytes(b"x")
    replace(bundle, files={**bundle.files, name: "0" * 64}).save()
    with pytest.raises(BundleError, match=f"{re.escape(name)}' is not the name of a file in it"):
        ModelBundle.load(bundle.path)


@pytest.mark.parametrize("name", [WEIGHTS, "model.onnx"])
def test_a_file_without_a_hash_is_refused(name, bundle):
    rewrite(bundle, lambda values: values["files"].pop(name))
    for verify in (True, False):
        with pytest.raises(BundleError, match=f"{name} has no hash"):
            ModelBundle.load(bundle.path, verify=verify)


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(BundleError, match=r"is not a model bundle.*inspector train DATA --out"):
        ModelBundle.load(tmp_path)
    with pytest.raises(BundleError, match="is not a model bundle"):
        ModelBundle.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="is not a model bundle"):
        ModelBundle.load(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "\0", "{}"])
def test_a_bundle_json_that_is_none(text, bundle):
    (bundle.path / BUNDLE_JSON).write_text(text)
    with pytest.raises(BundleError):
        ModelBundle.load(bundle.path)


def test_a_bundle_json_that_is_not_text(bundle):
    (bundle.path / BUNDLE_JSON).write_bytes(b"\xff\xfe{}")
    with pytest.raises(BundleError, match="cannot read"):
        ModelBundle.load(bundle.path)


@pytest.mark.parametrize("version", [0, 1, "2", None])
def test_another_format_says_what_to_do(version, bundle):
    values = json.loads((bundle.path / BUNDLE_JSON).read_text())
    values["format"] = version
    (bundle.path / BUNDLE_JSON).write_text(json.dumps(values))
    with pytest.raises(BundleError, match="install the matching crack-inspector"):
        ModelBundle.load(bundle.path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside a JSON value."""
    if isinstance(values, dict):
        inner = list(values.items())
    elif isinstance(values, list):
        inner = list(enumerate(values))
    else:
        inner = []
    return [(*path, key) for key, _ in inner] + [
        way for key, value in inner for way in places(value, (*path, key))
    ]


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_inside_is_an_error_for_users_or_harmless(data, bundle):
    """Whatever value is replaced or removed: a BundleError, or a bundle that can be told apart."""
    bundle.save()

    def change(values: Any) -> None:
        *way, last = data.draw(st.sampled_from(places(values)))
        holder = values
        for key in way:
            holder = holder[key]
        if data.draw(st.booleans()):
            holder[last] = data.draw(JSON)
        else:
            del holder[last]

    rewrite(bundle, change)
    try:
        loaded = ModelBundle.load(bundle.path)
    except BundleError as error:
        assert str(bundle.path) in str(error) or "must be" in str(error)
    else:
        assert loaded.digest
        assert loaded.labels[loaded.positive_index] == loaded.positive


@pytest.mark.parametrize(
    "labels", [(), ("Positive",), ("Positive", "Positive"), ("A", "B"), ("A", "Positive", "A")]
)
def test_labels_are_two_and_one_is_positive(labels, bundle):
    with pytest.raises(BundleError, match="labels"):
        replace(bundle, labels=labels)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf")])
def test_a_temperature_is_positive(temperature, bundle):
    with pytest.raises(BundleError, match="temperature"):
        replace(bundle, temperature=temperature)


def test_the_index_follows_the_labels(bundle):
    assert bundle.positive_index == 1
    assert replace(bundle, labels=("Positive", "Negative")).positive_index == 0


def test_a_missing_variant_names_those_there_are(bundle):
    assert bundle.variant("onnxruntime", "fp32").file == "model.onnx"
    with pytest.raises(BundleError, match=r"no int8 variant.*it has: onnx-fp32.*inspector export"):
        bundle.variant("onnxruntime", "int8")
    with pytest.raises(BundleError, match="it has: none"):
        replace(bundle, variants={}).variant("torchscript", "fp32")


@given(low=st.floats(), high=st.floats())
@example(low=0.5, high=0.5)
@example(low=0.0, high=1.0)
@example(low=float("nan"), high=0.5)
def test_thresholds_are_ordered_probabilities(low, high):
    if 0 <= low <= high <= 1:
        assert Thresholds(clear_below=low, crack_from=high).crack_from == high
    else:
        with pytest.raises(UsageError, match="clear_below <= crack_from"):
            Thresholds(clear_below=low, crack_from=high)


def test_errors_are_one_family():
    assert issubclass(BundleError, InspectorError)
    assert BundleError.exit_code == 1
    assert UsageError.exit_code == 2
