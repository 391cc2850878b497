"""Batch inspection of concrete photos for cracks.

Each command of the command line is a function here, with a frozen config and a result:

    from inspector import ScanConfig, scan
    summary = scan(ScanConfig(sources=("/photos",), out="results"))

Functions return values and print nothing; those that take long report to an optional `Progress`.
Names load when they are first used, so `import inspector` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.config import BenchConfig as BenchConfig
    from bench.run import bench as bench
    from export.config import ExportConfig as ExportConfig
    from export.run import export_bundle as export
    from inspector.calibration.run import CalibrateConfig as CalibrateConfig
    from inspector.calibration.run import Calibrated as Calibrated
    from inspector.calibration.run import calibrate as calibrate
    from inspector.errors import InspectorError as InspectorError
    from inspector.evaluation.figures import Evaluation as Evaluation
    from inspector.evaluation.run import EvaluateConfig as EvaluateConfig
    from inspector.evaluation.run import evaluate as evaluate
    from inspector.model.bundle import ModelBundle as ModelBundle
    from inspector.reporting.contents import Report as Report
    from inspector.reporting.report import ReportConfig as ReportConfig
    from inspector.reporting.report import report as report
    from inspector.results.verify import VerifyConfig as VerifyConfig
    from inspector.results.verify import VerifyResult as VerifyResult
    from inspector.results.verify import verify as verify
    from inspector.reviewing.server import ReviewConfig as ReviewConfig
    from inspector.reviewing.server import ReviewResult as ReviewResult
    from inspector.reviewing.server import review as review
    from inspector.scanning import RejudgeConfig as RejudgeConfig
    from inspector.scanning import RejudgeResult as RejudgeResult
    from inspector.scanning import ScanConfig as ScanConfig
    from inspector.scanning import ScanSummary as ScanSummary
    from inspector.scanning import rejudge as rejudge
    from inspector.scanning import scan as scan
    from inspector.training import TrainConfig as TrainConfig
    from inspector.training import TrainResult as TrainResult
    from inspector.training import train as train

# ONNX Runtime 1.29 and later report every model that is loaded to its maker, unless this is set
# before onnxruntime is imported. Set it to 0 to allow that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "BenchConfig": "bench.config",
    "CalibrateConfig": "inspector.calibration.run",
    "Calibrated": "inspector.calibration.run",
    "EvaluateConfig": "inspector.evaluation.run",
    "Evaluation": "inspector.evaluation.figures",
    "ExportConfig": "export.config",
    "InspectorError": "inspector.errors",
    "ModelBundle": "inspector.model.bundle",
    "RejudgeConfig": "inspector.scanning",
    "RejudgeResult": "inspector.scanning",
    "Report": "inspector.reporting.contents",
    "ReportConfig": "inspector.reporting.report",
    "ReviewConfig": "inspector.reviewing.server",
    "ReviewResult": "inspector.reviewing.server",
    "ScanConfig": "inspector.scanning",
    "ScanSummary": "inspector.scanning",
    "TrainConfig": "inspector.training",
    "TrainResult": "inspector.training",
    "VerifyConfig": "inspector.results.verify",
    "VerifyResult": "inspector.results.verify",
    "bench": "bench.run:bench",
    "calibrate": "inspector.calibration.run",
    "evaluate": "inspector.evaluation.run",
    "export": "export.run:export_bundle",
    "rejudge": "inspector.scanning",
    "report": "inspector.reporting.report",
    "review": "inspector.reviewing.server",
    "scan": "inspector.scanning",
    "train": "inspector.training",
    "verify": "inspector.results.verify",
}
"""Module of each name, and after a colon what it is called there."""

__all__ = [
    "BenchConfig",
    "CalibrateConfig",
    "Calibrated",
    "EvaluateConfig",
    "Evaluation",
    "ExportConfig",
    "InspectorError",
    "ModelBundle",
    "RejudgeConfig",
    "RejudgeResult",
    "Report",
    "ReportConfig",
    "ReviewConfig",
    "ReviewResult",
    "ScanConfig",
    "ScanSummary",
    "TrainConfig",
    "TrainResult",
    "VerifyConfig",
    "VerifyResult",
    "bench",
    "calibrate",
    "evaluate",
    "export",
    "rejudge",
    "report",
    "review",
    "scan",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'inspector' has no attribute {name!r}")
    module, _, original = _HOME[name].partition(":")
    return getattr(import_module(module), original or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
