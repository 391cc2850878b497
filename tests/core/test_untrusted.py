"""A bundle from somebody else is data: what it lists is admitted, and nothing else."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
from dataclasses import replace
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.doctor import _model, render
from inspector.errors import BundleError
from inspector.model.bundle import BUNDLE_JSON, WEIGHTS, ModelBundle
from inspector.model.onnx_files import files_read_by
from tests.hollow import EMPTY_GRAPH, hollow_bundle, rewrite


@pytest.fixture
def bundle(tmp_path) -> ModelBundle:
    return hollow_bundle(tmp_path / "bundle")


MARGIN = ("variants", "onnx-fp32", "margin")
TEMPERATURE = ("temperature",)
OUTSIDE = ("../m.onnx", "/etc/m.onnx", "sub/m.onnx", "..\\m.onnx", "C:m.onnx", "..", ".onnx\0.onnx")


def put(values: Any, way: tuple[str, ...], value: Any) -> None:
    for key in way[:-1]:
        values = values[key]
    values[way[-1]] = value


def refused(bundle: ModelBundle, verify: bool = True) -> str:
    with pytest.raises(BundleError) as caught:
        ModelBundle.load(bundle.path, verify=verify)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_a_margin_changed_on_the_way_is_noticed(bundle):
    """It decides verdicts, and no file's hash covers it."""
    file = bundle.path / BUNDLE_JSON
    file.write_text(file.read_text().replace('"margin": 0.0', '"margin": 0.5'))
    assert "not those that were saved" in refused(bundle, verify=False)


@pytest.mark.parametrize(
    "way", [MARGIN, TEMPERATURE, ("thresholds", "clear_below"), ("training", "x")]
)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_is_not_finite_is_refused(way, number, bundle):
    rewrite(bundle, lambda values: put(values, way, 0.123456))
    file = bundle.path / BUNDLE_JSON
    file.write_text(file.read_text().replace("0.123456", number))
    assert "finite" in refused(bundle)


@pytest.mark.parametrize("value", [-1, -1e-9, "0", True, None, [], 10**400])
@pytest.mark.parametrize("way", [MARGIN, TEMPERATURE])
def test_a_number_that_cannot_be_right_is_refused(way, value, bundle):
    rewrite(bundle, lambda values: put(values, way, value))
    refused(bundle)


@pytest.mark.parametrize(
    "nested", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000]
)
def test_values_nested_too_deeply_are_refused(nested, bundle):
    file = bundle.path / BUNDLE_JSON
    for text in (nested, file.read_text().replace('"seed": 3', f'"seed": {nested}')):
        file.write_text(text)
        assert "nested too deeply" in refused(bundle)


def test_a_bundle_json_without_end_is_not_read_to_its_end(bundle):
    with (bundle.path / BUNDLE_JSON).open("r+b") as stream:
        stream.truncate(1 << 40)  # sparse
    assert "larger than" in refused(bundle)


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes")
def test_a_pipe_is_not_waited_for(bundle):
    for name in (WEIGHTS, BUNDLE_JSON):
        (bundle.path / name).unlink()
        os.mkfifo(bundle.path / name)
        refused(bundle)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_variant_outside_is_refused(name, bundle):
    def change(values: Any) -> None:
        values["variants"]["onnx-fp32"]["file"] = name
        values["files"][name] = values["files"]["model.onnx"]

    rewrite(bundle, change)
    for verify in (True, False):
        assert "is not the name of a file in it" in refused(bundle, verify)


def test_an_engines_file_has_that_engines_ending(bundle):
    """ONNX Runtime and OpenVINO go by the ending, and read several formats."""
    for name in ("model.ort", "model.xml", "model.ts", "model.onnx.bin"):
        rewrite(bundle, lambda values: put(values, (*MARGIN[:2], "file"), name))  # noqa: B023
        assert "is not the name" in refused(bundle)


def test_many_files_are_refused(bundle):
    more = {f"{k}": "0" * 64 for k in range(200)}
    rewrite(bundle, lambda values: values["files"].update(more))
    assert "more than" in refused(bundle)


def test_links_count_as_what_they_lead_to(bundle, tmp_path):
    """As package managers and data version control lay files out."""
    shutil.move(bundle.path / "model.onnx", tmp_path / "blob")
    (bundle.path / "model.onnx").symlink_to("../blob")
    (tmp_path / "link").symlink_to(bundle.path, target_is_directory=True)
    assert ModelBundle.load(tmp_path / "link").labels == bundle.labels
    (tmp_path / "blob").write_bytes(EMPTY_GRAPH)
    assert "model.onnx was changed" in refused(bundle)
    (bundle.path / "model.onnx").unlink()
    (bundle.path / "model.onnx").symlink_to("/dev/zero")
    assert "model.onnx is missing" in refused(bundle)


def tensor_elsewhere(location: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def graph(name: str = "g", **contents: Any) -> onnx.GraphProto:
    return onnx.GraphProto(name=name, **contents)


def in_graph(inner: onnx.GraphProto) -> onnx.ModelProto:
    return onnx.ModelProto(ir_version=8, graph=inner)


def node(**attribute: Any) -> onnx.NodeProto:
    made = onnx.NodeProto(op_type="If")
    made.attribute.append(onnx.AttributeProto(name="a", **attribute))
    return made


HIDDEN = {
    "an initialiser": lambda t: in_graph(graph(initializer=[t])),
    "an attribute": lambda t: in_graph(graph(node=[node(t=t)])),
    "a list": lambda t: in_graph(graph(node=[node(tensors=[t])])),
    "a branch": lambda t: in_graph(graph(node=[node(g=graph(initializer=[t]))])),
    "a branch of a branch": lambda t: in_graph(
        graph(node=[node(graphs=[graph(node=[node(g=graph(initializer=[t]))])])])
    ),
    "a sparse tensor": lambda t: in_graph(
        graph(sparse_initializer=[onnx.SparseTensorProto(values=t)])
    ),
    "a sparse tensor's places": lambda t: in_graph(
        graph(node=[node(sparse_tensor=onnx.SparseTensorProto(indices=t))])
    ),
    "a function": lambda t: onnx.ModelProto(
        graph=graph(), functions=[onnx.FunctionProto(node=[node(t=t)])]
    ),
    "training": lambda t: onnx.ModelProto(
        graph=graph(),
        training_info=[onnx.TrainingInfoProto(algorithm=graph(initializer=[t]))],
    ),
}


@pytest.mark.parametrize("place", HIDDEN)
@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "unlisted.bin", "sub/x", "./weights.safetensors"]
)
def test_an_onnx_file_reads_only_what_is_listed(place, location, bundle):
    for name, listed in ((WEIGHTS, True), (location, False)):
        proto = HIDDEN[place](tensor_elsewhere(name))
        (bundle.path / "model.onnx").write_bytes(proto.SerializeToString())
        bundle.with_files("model.onnx").save()
        if listed:
            ModelBundle.load(bundle.path)
        else:
            assert f"model.onnx reads {location!r}, which is not listed" in refused(bundle)


def test_a_compiled_engine_in_an_onnx_file_is_refused(bundle):
    proto = in_graph(graph(node=[onnx.NodeProto(op_type="EPContext", domain="com.microsoft")]))
    (bundle.path / "model.onnx").write_bytes(proto.SerializeToString())
    bundle.with_files("model.onnx").save()
    assert "compiled engine" in refused(bundle)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<?xml version='1.0'?><net/>",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x3a",
        b"\x80" * 20,
        b"ORTM" * 9,
        b"\x08\x08",
    ],
)
def test_what_is_no_onnx_is_refused(content, bundle):
    (bundle.path / "model.onnx").write_bytes(content)
    bundle.with_files("model.onnx").save()
    assert "is no ONNX model" in refused(bundle)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=60), cut=st.integers(0, 200), at=st.integers(0, 200))
def test_any_bytes_are_read_as_onnx_or_refused(content, cut, at, tmp_path_factory):
    whole = HIDDEN["a branch"](tensor_elsewhere("x")).SerializeToString()
    file = tmp_path_factory.getbasetemp() / "any.onnx"
    file.write_bytes(whole[:at] + content + whole[at + cut % 7 :])
    with contextlib.suppress(ValueError):
        assert files_read_by(file) >= set()


def test_figures_that_are_no_numbers_are_kept_as_null(bundle):
    """Training leaves NaN where a figure cannot be computed; JSON has none."""
    replace(bundle, training={"auc": float("nan"), "parts": [{"loss": float("inf")}]}).save()
    assert ModelBundle.load(bundle.path).training == {"auc": None, "parts": [{"loss": None}]}


def mutate(values: Any, draw: random.Random) -> None:
    """Replace, remove or add something anywhere inside a JSON value."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        key = draw.choice(keys)
        inner = values[key]
        if isinstance(inner, dict | list) and inner and draw.random() < 0.7:
            values = inner
            continue
        if draw.random() < 0.2:
            del values[key]
        else:
            values[key] = draw.choice(ODD)
        return


ODD: list[Any] = [
    None, True, -1, 0, 1, 7, 0.3, 1e300, 10**400, 2**63, "", "x", "../x", "model.onnx", [], [1], {},
    {"a": 1}, "\ud800", "\x1b[31m", "x" * 5000, "fp32", "int8", "onnxruntime", "torchscript",
]  # fmt: skip


def test_any_change_of_a_bundle_is_refused_in_one_line_or_harmless(tiny_bundle_copy, tmp_path):
    """As whoever uses one meets it: `doctor` looks at it, and it leaves nothing behind."""
    before = sorted(os.listdir(tiny_bundle_copy.path))
    draw = random.Random(7)
    usable = 0
    for _ in range(30):
        tiny_bundle_copy.save()
        rewrite(tiny_bundle_copy, lambda values: mutate(values, draw))
        checks = list(_model(tiny_bundle_copy.path))
        assert checks
        usable += any("golden images" in check.finding for check in checks)
        for check in checks:
            assert "Traceback" not in check.finding
            assert render([check])
    assert usable > 2, "most changes decide nothing"
    assert sorted(os.listdir(tiny_bundle_copy.path)) == before
