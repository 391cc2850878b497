"""Batch inspection of concrete photos for cracks.

Each command of the command line is a function here. It takes its options by name, or a frozen
config of them, and returns a value:

    import inspector
    summary = inspector.scan("/photos", out="results")
    summary = inspector.scan(inspector.ScanConfig(sources=("/photos",), out="results"))

`Model` judges single photos, `Results` is a table with what people said. Functions print nothing;
those that take long report to an optional `Progress`, and in a notebook show it. Names load when
they are first used, so `import inspector` costs nothing; `__init__.pyi` has their types.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

# ONNX Runtime 1.29 and later report every model that is loaded to its maker, unless this is set
# before onnxruntime is imported. Set it to 0 to allow that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_CALLS = "inspector.library.calls"
_HOME = {
    "BenchConfig": "bench.config",
    "CalibrateConfig": "inspector.calibration.run",
    "Calibrated": "inspector.calibration.run",
    "EvaluateConfig": "inspector.evaluation.run",
    "Evaluation": "inspector.evaluation.figures",
    "ExportConfig": "export.config",
    "InspectorError": "inspector.errors",
    "MergeConfig": "inspector.results.merge",
    "MergeResult": "inspector.results.merge",
    "Model": "inspector.library.predictor",
    "ModelBundle": "inspector.model.bundle",
    "Prediction": "inspector.library.predictor",
    "PublishConfig": "inspector.results.publish",
    "PublishResult": "inspector.results.publish",
    "RejudgeConfig": "inspector.scanning",
    "RejudgeResult": "inspector.scanning",
    "Report": "inspector.reporting.contents",
    "ReportConfig": "inspector.reporting.report",
    "Results": "inspector.library.frames",
    "ReviewConfig": "inspector.reviewing.server",
    "ReviewResult": "inspector.reviewing.server",
    "ScanConfig": "inspector.scanning",
    "ScanSummary": "inspector.scanning",
    "TrainConfig": "inspector.training",
    "TrainResult": "inspector.training",
    "VerifyConfig": "inspector.results.verify",
    "VerifyResult": "inspector.results.verify",
    "bench": _CALLS,
    "calibrate": _CALLS,
    "evaluate": _CALLS,
    "export": _CALLS,
    "merge": _CALLS,
    "publish": _CALLS,
    "rejudge": _CALLS,
    "report": _CALLS,
    "review": _CALLS,
    "scan": _CALLS,
    "train": _CALLS,
    "verify": _CALLS,
    "watch": _CALLS,
}
"""Module of each name."""

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'inspector' has no attribute {name!r}")
    module = import_module(_HOME[name])
    value = module.load(name) if _HOME[name] == _CALLS else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
