"""The library is the command line: every command is a function that returns a value and prints
nothing."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from dataclasses import fields

import pytest

import inspector
from inspector import (
    BenchConfig,
    CalibrateConfig,
    EvaluateConfig,
    ExportConfig,
    RejudgeConfig,
    ReportConfig,
    ReviewConfig,
    ScanConfig,
    TrainConfig,
    VerifyConfig,
    bench,
    calibrate,
    evaluate,
    export,
    rejudge,
    report,
    review,
    scan,
    train,
    verify,
    watch,
)
from inspector.calibration.thresholds import Rule
from tests.stub import FILE, stub
from tests.training.conftest import save_scene

COMMANDS = {
    bench: BenchConfig, calibrate: CalibrateConfig, evaluate: EvaluateConfig, export: ExportConfig,
    rejudge: RejudgeConfig, report: ReportConfig, review: ReviewConfig, scan: ScanConfig,
    train: TrainConfig, verify: VerifyConfig, watch: ScanConfig,
}  # fmt: skip


def test_every_name_is_listed_lazy_and_typed():
    assert FILE.read_text(encoding="utf-8") == stub(), "run: python -m tests.stub"
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    imported = [a for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names if a.asname]
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    typed = {str(alias.asname) for alias in imported} | set(defined)
    assert typed >= set(inspector.__all__) and sorted(inspector.__all__) == sorted(inspector._HOME)
    assert set(inspector.__all__) <= set(dir(inspector))


@pytest.mark.parametrize("name", [name for name in inspector.__all__ if name.islower()])
def test_no_module_takes_the_place_of_a_function(name):
    assert importlib.util.find_spec(f"inspector.{name}") is None
    assert callable(getattr(inspector, name))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_takes_its_config_or_its_options(command):
    kind = COMMANDS[command]
    taken = list(inspect.signature(command).parameters)
    assert taken[: len(fields(kind))] == [field.name for field in fields(kind)]
    original = inspect.signature(inspect.unwrap(command)).parameters
    assert next(iter(original.values())).annotation == kind.__name__ and inspect.getdoc(command)
    assert taken[len(fields(kind)) :] == list(original)[1:]


def test_train_returns_a_bundle_that_every_command_takes(tmp_path, capfd):
    photos, out = tmp_path / "photos", tmp_path / "results"
    for k in range(8):
        save_scene(photos / "Positive" / f"{k}.jpg", crack=True, seed=k)
        save_scene(photos / "Negative" / f"{k}.jpg", crack=False, seed=100 + k)
    phases = []
    trained = train(
        TrainConfig(
            data=photos, out=tmp_path / "model", init="random", epochs=1, batch_size=4, size=64,
            device="cpu", workers=0,
        ),
        progress=lambda phase, done, total: phases.append(phase),
    )  # fmt: skip
    assert {"onnx-fp32", "torchscript-fp32"} <= set(trained.bundle.variants)
    assert phases[0] == "listing the labelled photos" and phases[-1] == "putting the files in place"
    assert any(phase.startswith("epoch 1/1") for phase in phases)
    model = tmp_path / "model"
    summary = scan(ScanConfig(sources=(str(photos),), out=out, model=model, workers=1))
    assert summary.table.rows == 16
    assert verify(VerifyConfig(out=out)).rows == 16
    assert report(ReportConfig(out=out)).total.photos == 16
    rejudge(RejudgeConfig(out=out, model=model, threshold=0.4))
    found = evaluate(EvaluateConfig(data=photos, model=model, device="cpu", workers=0))
    assert found.overall.images == 16
    rule = Rule(target_recall=0.5, target_specificity=0.5)
    chosen = calibrate(CalibrateConfig(data=photos, model=model, rule=rule, workers=0))
    assert 0 <= chosen.thresholds.clear_below <= chosen.thresholds.crack_from <= 1
    copy = export(ExportConfig(bundle=model, onnx=True, out=tmp_path / "copy"))
    assert copy.digest == trained.bundle.digest
    assert capfd.readouterr() == ("", "")
