"""The doctor says what is wrong in words, and is content with what is right."""

from __future__ import annotations

import os
import shutil
import warnings
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from export import ExportConfig, export_bundle
from inspector import doctor
from inspector.core.machine import CACHE_VARIABLE, Gpu
from inspector.doctor import Check, Health, _judge_replay, examine, exit_code, render
from inspector.engines import has_nvidia_driver, open_backend
from inspector.engines.parity import parity
from inspector.errors import InspectorError, UsageError
from inspector.evaluation.run import EvaluateConfig, evaluate
from inspector.model.bundle import GOLDEN, ModelBundle, Thresholds
from inspector.model.golden import Golden, read_golden
from inspector.scanning import ScanConfig, scan
from inspector.types import Scores

ENGINES = {"onnxruntime", "openvino"}
"""Those that replay the golden images here."""


@pytest.fixture
def own_dir(tiny_bundle_dir, tmp_path):
    """A bundle of which `golden.npz`, `model.onnx` and `bundle.json` may be damaged."""
    path = tmp_path / "bundle"
    path.mkdir()
    for file in tiny_bundle_dir.iterdir():
        mine = file.name in (GOLDEN, "model.onnx", "bundle.json")
        (shutil.copy if mine else os.link)(file, path / file.name)
    return path


def failed(report: list[Check]) -> list[Check]:
    return [check for check in report if check.health is Health.FAIL]


@pytest.mark.skipif(has_nvidia_driver(), reason="a GPU adds checks of its own")
def test_a_healthy_machine_and_model(tiny_bundle_dir):
    report = examine(tiny_bundle_dir)
    assert [c for c in report if c.health is not Health.OK and c.name != "onnxruntime"] == []
    assert exit_code(report) == 0
    replays = [check.finding for check in report if "golden images" in check.finding]
    assert len(replays) == len(ENGINES)
    assert all("0 other verdicts" in finding for finding in replays)
    assert any("CPUExecutionProvider" in finding for finding in replays)


def test_the_shipped_model_is_replayed_in_every_precision():
    report = examine(None)
    assert failed(report) == []
    replays = [check.finding for check in report if "golden images" in check.finding]
    for precision in ("fp32", "int8", "fp16"):
        assert any(finding.startswith(f"{precision} on cpu") for finding in replays), precision


def test_formats_that_need_an_extra_are_named(monkeypatch):
    monkeypatch.setattr(
        "inspector.doctor.find_spec", lambda name: None if name == "rawpy" else find_spec(name)
    )
    check = doctor._formats()
    assert check.health is Health.OK
    assert check.finding.startswith("photos are read from JPEG, PNG, ")
    assert 'pip install "crack-inspector[raw]"' in check.remedy


class Thief(torch.nn.Module):
    """A program in the place of a model: it writes as soon as it is loaded."""

    def __init__(self, victim: str) -> None:
        super().__init__()
        self.victim = victim
        self.kept = torch.zeros(1)

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.victim, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.victim = state[0]
        self.training = state[1]
        opened = torch.from_file(self.victim, True, 4, dtype=torch.uint8)
        opened.fill_(33)
        self.kept = opened

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.kept


@pytest.fixture
def stealing(own_dir, tmp_path):
    """A bundle whose TorchScript overwrites a file of the user, and that file."""
    victim = tmp_path / "thesis.txt"
    victim.write_text("my thesis")
    (own_dir / "model.ts").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Thief(str(victim))).save(own_dir / "model.ts")
    ModelBundle.load(own_dir, verify=False).with_files("model.ts").save()
    return own_dir, victim


def test_a_program_in_a_bundle_is_not_run(stealing):
    """Checking a bundle from somebody else must be safe."""
    bundle, victim = stealing
    report = examine(bundle)
    assert victim.read_text() == "my thesis"
    (check,) = [c for c in report if c.name == "torchscript"]
    assert (check.health, "it is a program" in check.finding) == (Health.OK, True)


def test_a_program_in_a_bundle_is_run_by_nothing_else(stealing, tmp_path):
    bundle, victim = stealing
    photos = tmp_path / "photos"
    for kind, shade in (("crack", 20), ("clear", 200)):
        (photos / kind).mkdir(parents=True)
        Image.new("RGB", (64, 64), (shade,) * 3).save(photos / kind / "1.png")

    def scan_with(backend: str) -> None:
        scan(ScanConfig(sources=(str(photos),), out=tmp_path / backend, model=bundle, workers=0,
                        backend=backend))  # fmt: skip

    scan_with("auto")
    evaluate(EvaluateConfig(data=photos, model=bundle, workers=0))
    export_bundle(ExportConfig(bundle=bundle, onnx=True))
    export_bundle(ExportConfig(bundle=bundle, torchscript=True, out=tmp_path / "copy"))
    with pytest.raises(UsageError, match=r"is a program.*add --trust"):
        scan_with("torchscript")
    with pytest.raises(UsageError, match="is a program"):
        evaluate(EvaluateConfig(data=photos, model=bundle, workers=0, backend="torchscript"))
    assert victim.read_text() == "my thesis"


def test_a_trusted_program_runs_where_it_was_asked_for(stealing, tmp_path):
    """What `--trust` means: this is what the others must not do."""
    bundle, victim = stealing
    with pytest.raises(InspectorError):
        open_backend(ModelBundle.load(bundle, trust=True), "torchscript")
    assert victim.read_text() == "!!!!hesis"


def test_a_changed_file_is_named(own_dir):
    with (own_dir / "model.onnx").open("r+b") as file:
        file.write(b"?")
    (own_dir / GOLDEN).unlink()
    report = examine(own_dir)
    assert exit_code(report) == 1
    (check,) = failed(report)
    assert "model.onnx was changed" in check.finding
    assert "golden.npz is missing" in check.finding


def test_no_bundle_at_all(tmp_path):
    report = examine(tmp_path / "nothing")
    assert exit_code(report) == 1
    (check,) = failed(report)
    assert "is not a model bundle" in check.finding


def test_a_bundle_without_variants(own_dir):
    replace(ModelBundle.load(own_dir), variants={}).save()
    (check,) = failed(examine(own_dir))
    assert "no ONNX variant" in check.finding
    assert "inspector export" in check.remedy


def test_an_engine_that_answers_differently_here(own_dir):
    """As a machine with a broken instruction set or GPU would: the golden answers do not fit."""
    bundle = ModelBundle.load(own_dir)
    golden = read_golden(bundle)
    moved = replace(golden.scores, p_crack_N=np.float32(1) - golden.scores.p_crack_N)
    Golden(golden.names, golden.pixels_NHWC, moved).write(own_dir / GOLDEN)
    bundle.with_files(GOLDEN).save()
    wrong = failed(examine(own_dir))
    assert {check.name for check in wrong} == ENGINES
    assert all("has p_crack" in c.finding and "do not trust" in c.remedy for c in wrong)


def answered(p):
    return Scores(
        np.array([p], np.float32), np.zeros((1, 2, 2), np.float32), np.ones(1, np.float32)
    )


@pytest.mark.parametrize(("exact", "health"), [(True, Health.FAIL), (False, Health.OK)])
def test_reduced_precision_must_only_agree_in_verdicts(exact, health):
    thresholds = Thresholds(clear_below=0.3, crack_from=0.7)
    same, other = (parity(["a"], answered(0.9), answered(p), thresholds) for p in (0.88, 0.6))
    assert _judge_replay("onnxruntime", "here", same, exact=exact).health is health
    assert _judge_replay("onnxruntime", "here", other, exact=exact).health is Health.FAIL


def test_a_model_file_of_another_bundle(own_dir):
    bundle = ModelBundle.load(own_dir)
    replace(bundle, temperature=9.0).save()
    assert any("exported from another model" in c.finding for c in failed(examine(own_dir)))


def test_clashing_builds_of_onnxruntime(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1.0")
    report = examine(tmp_path)
    (check,) = [c for c in report if c.name == "onnxruntime"]
    assert check.health is Health.WARN
    assert "both installed" in check.finding


def test_a_missing_package(monkeypatch, tmp_path):
    versions = {"pyarrow": None}
    monkeypatch.setattr(doctor, "installed_version", lambda name: versions.get(name, "1.0"))
    assert any("missing: pyarrow" in c.finding for c in failed(examine(tmp_path)))


def test_a_cache_that_is_not_private_is_said(monkeypatch, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    for folder, count in (("shared", 1), ("own", 0)):
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / folder))
        found = [c for c in examine(tmp_path) if c.name == "cache"]
        assert len(found) == count
        assert all(CACHE_VARIABLE in c.remedy for c in found)


def test_gpus_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr("inspector.core.machine.nvidia_gpus", lambda: [Gpu("A100", "570", "40 GB")])
    (check,) = [c for c in examine(tmp_path) if c.name == "gpu"]
    assert check.finding == "A100, 40 GB, driver 570"


def test_a_driver_without_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr("inspector.core.machine.nvidia_gpus", lambda: None)
    monkeypatch.setattr(doctor, "has_nvidia_driver", lambda: True)
    (check,) = [c for c in examine(tmp_path) if c.name == "gpu"]
    assert check.health is Health.WARN
    assert "passed into this container" in check.remedy


def test_rendered_at_80_columns():
    checks = (
        Check("model", Health.FAIL, "something that is wrong " * 9, "do something about it " * 9),
        Check("memory", Health.OK, "8.0 GiB"),
    )
    lines = render(checks)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("fail  model")
    assert "ok    memory         8.0 GiB" in lines
    assert lines[-1] == "1 failed, 0 to be looked at (see above)."
    assert render(checks[1:])[-1] == "Everything is in order."


def test_warnings_do_not_fail():
    assert exit_code([Check("a", Health.WARN, "b")]) == 0


def test_what_a_container_grants_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("inspector.core.machine.cpu_quota", lambda: 1.5)
    monkeypatch.setattr("inspector.core.machine.memory_limit", lambda: 1 << 30)
    monkeypatch.setattr("inspector.core.machine.shared_memory_free", lambda: 64 << 20)
    monkeypatch.setattr(doctor, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(doctor, "spare_folder", lambda: None)
    monkeypatch.setattr(os, "access", lambda *asked: False)
    found = {check.name: check for check in doctor._hardware()}
    assert "1.5 cores' time" in found["processor"].finding
    assert "1.0 GiB may be used here" in found["memory"].finding
    assert found["shared memory"].health is Health.OK  # nobody needs it without a GPU
    health = {name: found[name].health for name in ("memory", "results", "temporary")}
    assert health == {"memory": Health.WARN, "results": Health.WARN, "temporary": Health.OK}
    monkeypatch.setattr(doctor, "has_nvidia_driver", lambda: True)
    assert doctor._shared_memory(64 << 20).health is Health.WARN
