"""The machine and the software that figures were measured with, without names or folders."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from inspector import machine
from inspector.version import __version__

if TYPE_CHECKING:
    from inspector.types import JsonObject

_PACKAGES = (
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "pillow",
    "simplejpeg",
    "timm",
    "numpy",
    "pyarrow",
)
_CPU_FLAGS = frozenset(
    "avx2 avx512f avx512_vnni avx512_bf16 avx_vnni amx_tile amx_bf16 amx_int8 asimddp i8mm".split()
)
"""Those that decide how fast a network runs: wider vectors, 8-bit and bfloat16 products."""
_NO_LIMIT = 1 << 60
"""Version 1 of the control groups says a number near 2^63 where there is no bound."""
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/:;,'\"()]+/)+")


def describe_system() -> JsonObject:
    """Taken before the measurement, so that `load_average` (runnable processes over the last
    minute) tells how busy the machine was with other work."""
    memory = machine.memory_bytes()
    gpus = machine.nvidia_gpus() or []
    return {
        "cpu": machine.cpu_model(),
        "cpu_flags": cpu_flags(),
        "usable_cores": machine.usable_cores(),
        "container_cores": machine.cpu_quota(),
        "container_memory_gib": _memory_limit_gib(),
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "gpus": [f"{gpu.name}, driver {gpu.driver}, {gpu.memory}" for gpu in gpus],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "crack-inspector": __version__,
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cpu_flags() -> list[str]:
    """What the processor can do beyond the ordinary; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    lines = (line for line in text.splitlines() if line.startswith(("flags", "Features")))
    return sorted(_CPU_FLAGS & set(next(lines, "").split()))


def _memory_limit_gib() -> float | None:
    """The container's, by its control group; None without one."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = int((Path("/sys/fs/cgroup") / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or "max"
            continue
        return round(limit / 2**30, 1) if limit < _NO_LIMIT else None
    return None


def without_folders(text: str) -> str:
    """An error's text for a report: absolute paths keep their last name only."""
    return _FOLDERS.sub("", text)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
