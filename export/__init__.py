"""A model bundle's weights as ONNX and TorchScript, and the gates that refuse one that differs.

Names load when they are first used: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.config import ExportConfig as ExportConfig
    from export.run import export_bundle as export_bundle

_HOME = {"ExportConfig": "export.config", "export_bundle": "export.run"}

__all__ = ["ExportConfig", "export_bundle"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
