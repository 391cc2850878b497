"""Batch inspection of concrete photos for cracks.

Everything the command line does, the library does; names load when they are first used, so that
`import inspector` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspector.bundle import ModelBundle as ModelBundle
    from inspector.errors import InspectorError as InspectorError
    from inspector.scan import ScanConfig as ScanConfig
    from inspector.scan import ScanSummary as ScanSummary
    from inspector.scan import scan as scan
    from inspector.summary.config import SummaryConfig as SummaryConfig
    from inspector.summary.contents import Summary as Summary
    from inspector.summary.run import summarise as summarise
    from inspector.train import TrainConfig as TrainConfig
    from inspector.train import train as train

# Since 1.29 ONNX Runtime tells its maker about every model that is loaded. Whoever wants that sets
# the variable to 0; it is read when onnxruntime is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "InspectorError": "inspector.errors",
    "ModelBundle": "inspector.bundle",
    "ScanConfig": "inspector.scan",
    "ScanSummary": "inspector.scan",
    "Summary": "inspector.summary.contents",
    "SummaryConfig": "inspector.summary.config",
    "TrainConfig": "inspector.train",
    "scan": "inspector.scan",
    "summarise": "inspector.summary.run",
    "train": "inspector.train",
}

__all__ = [
    "InspectorError",
    "ModelBundle",
    "ScanConfig",
    "ScanSummary",
    "Summary",
    "SummaryConfig",
    "TrainConfig",
    "scan",
    "summarise",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'inspector' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
