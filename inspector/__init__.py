"""Batch inspection of concrete photos for cracks.

Everything the command line does, the library does; names load when they are first used, so that
`import inspector` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspector.errors import InspectorError as InspectorError
    from inspector.model.bundle import ModelBundle as ModelBundle
    from inspector.reporting.config import SummaryConfig as SummaryConfig
    from inspector.reporting.contents import Summary as Summary
    from inspector.reporting.run import summarise as summarise
    from inspector.scanning import ScanConfig as ScanConfig
    from inspector.scanning import ScanSummary as ScanSummary
    from inspector.scanning import scan as scan
    from inspector.training import TrainConfig as TrainConfig
    from inspector.training import train as train

# Since 1.29 ONNX Runtime tells its maker about every model that is loaded. Whoever wants that sets
# the variable to 0; it is read when onnxruntime is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "InspectorError": "inspector.errors",
    "ModelBundle": "inspector.model.bundle",
    "ScanConfig": "inspector.scanning",
    "ScanSummary": "inspector.scanning",
    "Summary": "inspector.reporting.contents",
    "SummaryConfig": "inspector.reporting.config",
    "TrainConfig": "inspector.training",
    "scan": "inspector.scanning",
    "summarise": "inspector.reporting.run",
    "train": "inspector.training",
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
