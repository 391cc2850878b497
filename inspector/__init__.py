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

_CALIBRATE, _EVALUATE = "inspector.calibration.run", "inspector.evaluation.run"
_CALLS = {
    "bench": ("bench.run:bench", "bench.config:BenchConfig"),
    "calibrate": (f"{_CALIBRATE}:calibrate", f"{_CALIBRATE}:CalibrateConfig"),
    "evaluate": (f"{_EVALUATE}:evaluate", f"{_EVALUATE}:EvaluateConfig"),
    "export": ("export.run:export_bundle", "export.config:ExportConfig"),
    "merge": ("inspector.results.merge:merge", "inspector.results.merge:MergeConfig"),
    "publish": ("inspector.results.publish:publish", "inspector.results.publish:PublishConfig"),
    "rejudge": ("inspector.scanning:rejudge", "inspector.scanning:RejudgeConfig"),
    "report": ("inspector.reporting.report:report", "inspector.reporting.report:ReportConfig"),
    "review": ("inspector.reviewing.server:review", "inspector.reviewing.server:ReviewConfig"),
    "scan": ("inspector.scanning:scan", "inspector.scanning:ScanConfig"),
    "train": ("inspector.training:train", "inspector.training:TrainConfig"),
    "verify": ("inspector.results.verify:verify", "inspector.results.verify:VerifyConfig"),
    "watch": ("inspector.scanning:watch", "inspector.scanning:ScanConfig"),
}
"""Where each function and its config live."""
_LINES = {
    "bench": "bench.report.markdown:terminal_lines",
    "calibrate": f"{_CALIBRATE}:calibrated_lines",
    "evaluate": "inspector.evaluation.wording:evaluated_lines",
    "merge": "inspector.results.merge:merged_lines",
    "publish": "inspector.results.publish:published_lines",
    "rejudge": "inspector.scanning.outcome:rejudged_lines",
    "report": "inspector.reporting.wording:report_lines",
    "scan": "inspector.scanning.outcome:summary_lines",
    "verify": "inspector.results.verify.findings:result_lines",
    "watch": "inspector.scanning.outcome:watched_lines",
}
"""Where it is worded what a function found, for a terminal or a notebook."""
_HOME = {
    "Calibrated": _CALIBRATE,
    "Evaluation": "inspector.evaluation.figures",
    "InspectorError": "inspector.errors",
    "MergeResult": "inspector.results.merge",
    "Model": "inspector.library.predictor",
    "ModelBundle": "inspector.model.bundle",
    "Prediction": "inspector.library.predictor",
    "PublishResult": "inspector.results.publish",
    "RejudgeResult": "inspector.scanning",
    "Report": "inspector.reporting.contents",
    "Results": "inspector.library.frames",
    "ReviewResult": "inspector.reviewing.server",
    "ScanSummary": "inspector.scanning",
    "TrainResult": "inspector.training",
    "VerifyResult": "inspector.results.verify",
    **{kind.partition(":")[2]: kind.partition(":")[0] for _, kind in _CALLS.values()},
    **dict.fromkeys(_CALLS, "inspector.library.calls"),
}
"""Module of each name."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'inspector' has no attribute {name!r}")
    module = import_module(_HOME[name])
    value = module.load(name) if name in _CALLS else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
