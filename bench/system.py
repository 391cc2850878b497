"""The machine and the software that figures were measured with, without names or folders."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from inspector import machine
from inspector.version import __version__

if TYPE_CHECKING:
    from inspector.types import JsonObject

_PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "pillow", "numpy", "pyarrow")
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/:;,'\"()]+/)+")


def describe_system() -> JsonObject:
    """Taken before the measurement, so that `load_average` (runnable processes over the last
    minute) tells how busy the machine was with other work."""
    memory = machine.memory_bytes()
    gpus = machine.nvidia_gpus() or []
    return {
        "cpu": machine.cpu_model(),
        "usable_cores": machine.usable_cores(),
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "gpus": [f"{gpu.name}, driver {gpu.driver}, {gpu.memory}" for gpu in gpus],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "crack-inspector": __version__,
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def without_folders(text: str) -> str:
    """An error's text for a report: absolute paths keep their last name only."""
    return _FOLDERS.sub("", text)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
