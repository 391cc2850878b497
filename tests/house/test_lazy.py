"""What a start costs: nothing heavy loads before the command that needs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import inspector
from inspector.results.labels import Decision, Label, open_labels

EXTRAS = {"torch", "torchvision", "onnx", "sklearn", "scipy", "matplotlib", "obstore"}
HEAVY = EXTRAS | {"onnxruntime", "pyarrow", "duckdb", "PIL", "numpy"}

RUN_MAIN = """
import json, sys
sys.argv = ["inspector", *sys.argv[1:]]
from inspector.cli import main
try:
    main()
finally:
    print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})), file=sys.stderr)
"""


def packages_loaded_by(code: str, *args: str) -> set[str]:
    """Top-level packages in memory when `code` ends; it prints them to stderr, last line."""
    run = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stderr.splitlines()[-1]))


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["scan", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(args):
    loaded = packages_loaded_by(RUN_MAIN, *args)
    assert "typer" in loaded
    assert not loaded & HEAVY
    assert "tarfile" not in loaded, "nor what reads photos"


def test_neither_a_scan_on_the_cpu_nor_its_report_loads_an_extra(
    tiny_bundle_dir, repository, tmp_path
):
    words = [repository / "samples", "--out", tmp_path, "--model", tiny_bundle_dir, "--limit", "4"]
    loaded = packages_loaded_by(RUN_MAIN, "scan", *map(str, words), "--device", "cpu")
    assert "onnxruntime" in loaded
    assert not loaded & (EXTRAS | {"duckdb", "pandas"})
    (row, *_) = inspector.Results(tmp_path).to_arrow().to_pylist()
    names = "uri", "content_hash", "size_bytes", "mtime", "verdict", "p_crack"
    decided = Decision(label=Label.CRACK, model=None, **{name: row[name] for name in names})
    with open_labels(tmp_path, "ann") as labels:
        labels.add(decided)
    loaded = packages_loaded_by(RUN_MAIN, "report", str(tmp_path))
    assert "duckdb" in loaded
    assert not loaded & (EXTRAS | {"pandas"}), "40 MB"


def test_no_telemetry_is_sent_or_kept(tmp_path):
    """ONNX Runtime notes its session beside temporary files when it means to report."""
    code = "import json, sys, inspector, onnxruntime; print(json.dumps([]), file=sys.stderr)"
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    subprocess.run(
        [sys.executable, "-c", code], env=environment | {"TMPDIR": str(tmp_path)}, check=True,
        capture_output=True,
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import json, sys, inspector; assert 'scan' in inspector.__all__; "
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    assert not packages_loaded_by(code) & (HEAVY | {"typer", "rich"})


def test_every_public_name_resolves():
    assert sorted(inspector.__all__) == sorted(inspector._HOME)
    for name in inspector.__all__:
        assert getattr(inspector, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'scam'"):
        getattr(inspector, "scam")  # noqa: B009


@pytest.mark.parametrize("before", ["", "import inspector.scanning.config", "inspector.ScanConfig"])
def test_scan_can_be_called_whatever_was_imported_before(before):
    """It is a package too, and an imported package takes the place of a function of its name."""
    assert_callable("scan", before)


def test_train_can_be_called():
    assert_callable("train", "inspector.TrainConfig")


def assert_callable(name: str, before: str) -> None:
    code = f"import inspector\n{before}\nfrom inspector import {name} as function\n" + (
        "try: function(no_such_option=1)\n"
        "except TypeError as error: assert 'no_such_option' in str(error), error"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
