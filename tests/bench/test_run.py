"""`inspector bench` from beginning to end on a tiny real model, with real processes."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.alone import engine_cases, engine_results, measure_engine
from bench.config import QUICK, BenchConfig
from bench.engines import EngineSpec
from bench.paths import PathCase, variants
from bench.prepare import prepare, with_torchscript
from bench.processes import Ended
from bench.results import read_results
from inspector.core.untrusted import sha256_of
from inspector.model.bundle import INPUT_NAME, WEIGHTS, ModelBundle
from inspector.model.preprocess import IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture(scope="module")
def suite(measured_small):
    return measured_small[0]


def by_id(results):
    return {case.id: case for case in results.cases}


def test_every_case_is_there_once_and_right_or_says_why(suite):
    cases = by_id(suite)
    assert len(cases) == len(suite.cases)
    able = {id for id, case in cases.items() if case.status == "ok"}
    engines = {f"engine/{name} fp32/{size}" for name in ("onnxruntime", "eager") for size in (1, 3)}
    paths = {f"{what}/{images}" for what in ("scan/onnxruntime fp32", "peer/plain")
             for images in ("tiles", "photos")}  # fmt: skip
    settings = {id for id in able if id.endswith(("workers", "loader"))}
    # On a machine that is busy, one engine's runs of 3 may take seconds; they have no turn then.
    late = {id for id in engines - able if id.endswith("/3")}
    assert able == (engines - late) | paths | settings and len(late) < 2
    assert len({id for id in settings if id.endswith("workers")}) == 2, "for each input"
    missing = {id: case.reason for id, case in cases.items() if case.status != "ok"}
    assert set(missing) == {"engine/onnxruntime int8"}
    assert all("has no" in reason for reason in missing.values())
    assert {cases[id].status for id in missing} == {"unavailable"}


def test_figures_follow_from_the_raw_times(suite):
    for case in suite.cases:
        if case.status != "ok":
            continue
        assert [case.rate.median] == pytest.approx(case.rates), case.id
        if case.level == "engine":
            size = case.batch_size
            rates = [1e3 * size * len(runs) / sum(runs) for runs in case.runs_ms]
            assert case.rates == pytest.approx(rates)
            times = np.concatenate(case.runs_ms)
            assert case.latency_ms["p95"] == np.percentile(times, 95, method="inverted_cdf")
            assert case.start_up["import_s"] > 0 < case.start_up["open_s"]
        else:
            assert case.start_up["start_s"] > 0 and case.usage.peak_mib > 20
            assert case.usage.cpu_percent > 0


def test_answers_are_compared_and_the_truth_is_known(suite):
    for case in suite.cases:
        if case.status == "ok":
            answers = case.answers
            assert answers.largest_difference < 1e-4
            assert (answers.other_verdicts, answers.missed_cracks) == (0, 0)
            there = {"pixels": 18, "tiles": 20, "photos": 2}[case.input]
            if case.input == "pixels":
                assert case.batch_size <= answers.images <= there, "what its time allowed"
            else:
                assert answers.images == there
            if case.input != "photos":
                assert answers.roc_auc == pytest.approx(answers.reference_roc_auc, abs=1e-3)


def test_scans_say_what_they_took_and_the_fastest_is_recommended(suite):
    picked = suite.recommendation.tiles
    assert (picked.backend, picked.precision) == ("onnxruntime", "fp32")
    scans = [c for c in suite.cases if (c.level, c.input) == ("scan", "tiles")]
    assert picked.images_per_second in {case.rate.median for case in scans}
    assert sum(case.best for case in scans) == 1
    assert "onnxruntime fp32" in suite.recommendation.sentence
    variant = by_id(suite)["scan/onnxruntime fp32/tiles/0 workers"]
    assert variant.workers == 0 and "--workers 0" in variant.about


def test_results_are_json_and_name_no_folder(suite, tmp_path_factory):
    text = json.dumps(dataclasses.asdict(suite), allow_nan=False)
    assert str(tmp_path_factory.getbasetemp()) not in text
    assert "/tmp/" not in text


def test_results_are_written_and_read_back_as_they_were(measured_small):
    results, out, said = measured_small
    assert read_results(out) == results
    assert {file.name for file in out.iterdir()} == {"results.json", "report.md", "report.html"}
    assert any(text.startswith("whole path, round 1") for text in said)


def test_every_ceiling_is_measured_and_shares_are_known(suite):
    assert set(suite.ceilings) == {"fp32", "int8", "bf16", "jpeg_tiles", "jpeg_photos"}
    assert not any(ceiling.reason for ceiling in suite.ceilings.values())
    for case in suite.cases:
        if case.counts:
            assert case.shares and min(case.shares.values()) > 0, case.id


def test_fastest_scan_is_tried_with_other_settings_and_the_other_loader(prepared):
    _, bench = prepared
    spec = EngineSpec(engine="onnxruntime", precision="fp32")
    fastest = PathCase(job=bench.jobs[0], spec=spec)
    said = {"batch_size": 8, "workers": 1, "loader": "processes"}
    fastest.ended.append(Ended(said=said, wall_s=1.0))
    found = variants(fastest, (8, 32), (0, 1))
    names = {case.id.removeprefix("scan/onnxruntime fp32/tiles/"): case for case in found}
    assert set(names) == {"batch 32", "0 workers", "torch loader"}
    assert names["torch loader"].about.endswith(" --loader torch")
    assert not any(case.usual or case.ended for case in found)


def rewired(source, place, nodes, constants):
    """A copy of the bundle whose ONNX file alters the pixels before the network sees them."""
    shutil.copytree(source, place)
    bundle = ModelBundle.load(place)
    file = bundle.file(bundle.variant("onnxruntime", "fp32").file)
    model = onnx.load(file)
    for node in model.graph.node:
        node.input[:] = ["altered" if name == INPUT_NAME else name for name in node.input]
    for place_of, node in enumerate(nodes):
        model.graph.node.insert(place_of, node)
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items()
    )
    onnx.save(model, file)
    dataclasses.replace(bundle, files={**bundle.files, file.name: sha256_of(file)}).save()
    return place


def swapped_channels():
    nodes = [helper.make_node("Gather", [INPUT_NAME, "order"], ["altered"], axis=3)]
    return nodes, {"order": np.array([2, 1, 0])}


def wrong_normalisation():
    """What a graph with mean and std of 0.5 does, as a change of the pixels before this one's."""
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["wide", "wrong_scale"], ["wrong_scaled"]),
        helper.make_node("Add", ["wrong_scaled", "wrong_offset"], ["moved"]),
        helper.make_node("Clip", ["moved", "least", "most"], ["kept"]),
        helper.make_node("Cast", ["kept"], ["altered"], to=TensorProto.UINT8),
    ]
    constants = {
        "wrong_scale": 2 * std,
        "wrong_offset": 255 * (mean - std),
        "least": 0,
        "most": 255,
    }
    return nodes, {name: np.array(v, np.float32) for name, v in constants.items()}


@pytest.fixture(scope="module")
def prepared(small, tiny_bundle_dir, tmp_path_factory):
    config = BenchConfig(model=tiny_bundle_dir, mode=QUICK, device="cpu")
    bundle = ModelBundle.load(tiny_bundle_dir)
    return config, prepare(config, bundle, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("broken", [swapped_channels, wrong_normalisation])
def test_a_broken_engine_is_caught(prepared, tiny_bundle_dir, tmp_path, broken):
    config, bench = prepared
    model = rewired(tiny_bundle_dir, tmp_path / "model", *broken())
    spec = EngineSpec(engine="onnxruntime", precision="fp32")
    (case,) = engine_cases(config, bench, [spec])
    measure_engine(
        case, dataclasses.replace(bench, engines_bundle=ModelBundle.load(model)), 0, 0.01
    )
    assert case.status == "failed", case.reason
    assert "probabilities are wrong" in case.reason
    assert [found.status for found in engine_results(case, bench)] == ["failed"] * 2


def test_torchscript_is_exported_for_the_run_and_no_scan_is_advised_to_use_it(
    prepared, tiny_bundle_copy, tmp_path
):  # fmt: skip
    config, bench = prepared
    kept = tiny_bundle_copy.variants["onnx-fp32"]
    lean = dataclasses.replace(tiny_bundle_copy, variants={"onnx-fp32": kept})
    lean.save()
    made = with_torchscript(lean, tmp_path / "made")
    spec = EngineSpec(engine="torchscript", precision="fp32")
    (case,) = engine_cases(config, bench, [spec])
    measure_engine(case, dataclasses.replace(bench, engines_bundle=made), 0, 0.01)
    assert case.status == "ok", case.reason
    assert not spec.scans


def test_a_bundles_own_torchscript_is_not_run(prepared, tiny_bundle_copy, tmp_path):
    config, bench = prepared
    tiny_bundle_copy.file("model.ts").write_bytes(b"a program")
    theirs = tiny_bundle_copy.with_files("model.ts")
    theirs.save()
    assert with_torchscript(theirs, tmp_path / "made").file("model.ts").stat().st_size > 10_000
    (case,) = engine_cases(config, bench, [EngineSpec(engine="torchscript", precision="fp32")])
    measure_engine(case, dataclasses.replace(bench, engines_bundle=theirs), 0, 0.01)
    assert (case.status, "is a program" in case.reason) == ("unavailable", True)


def test_a_model_without_weights_has_no_torchscript_to_compare(tiny_bundle_copy, tmp_path):
    lean = dataclasses.replace(tiny_bundle_copy, variants={})
    tiny_bundle_copy.file(WEIGHTS).write_bytes(b"damaged")
    assert with_torchscript(lean, tmp_path / "made") is lean


def test_an_engine_that_breaks_down_later_has_failed(prepared, monkeypatch):
    config, bench = prepared
    spec = EngineSpec(engine="onnxruntime", precision="fp32")
    (case,) = engine_cases(config, bench, [spec])
    measure_engine(case, bench, 0, 0.01)
    assert case.status == "ok", case.reason
    bench.pool_file.rename(bench.pool_file.with_suffix(".away"))
    measure_engine(case, bench, 1, 0.01)
    bench.pool_file.with_suffix(".away").rename(bench.pool_file)
    assert case.status == "failed" and "it ended with" in case.reason
