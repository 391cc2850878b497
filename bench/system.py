"""Machine and software that figures were measured with, without names or folders, and how much of
the machine others take meanwhile."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core import machine
from inspector.version import __version__

if TYPE_CHECKING:
    from inspector.types import JsonObject

_PACKAGES = (
    "torch",
    "torchvision",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "pillow",
    "simplejpeg",
    "timm",
    "ray",
    "daft",
    "numpy",
    "pyarrow",
)
_CPU_FLAGS = frozenset(
    "avx2 avx512f avx512_vnni avx512_bf16 avx_vnni amx_tile amx_bf16 amx_int8 asimddp i8mm".split()
)
"""Those that decide how fast a network runs: wider vectors, 8-bit and bfloat16 products."""
_CPUINFO = Path("/proc/cpuinfo")
_PROBE_S = 0.03
_BLOCK = bytes(1 << 18)
"""Hashed without Python's lock, so that threads use all cores."""
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/:;,'\"()]+/)+")


def describe_system() -> JsonObject:
    """Processor, memory, GPUs and versions. Taken before a measurement, so that `load_average`
    (runnable processes over the last minute) tells how busy the machine was with other work."""
    memory = machine.memory_bytes()
    gpus = machine.nvidia_gpus() or []
    return {
        "cpu": machine.cpu_model(),
        "cpu_flags": cpu_flags(),
        "logical_cores": os.cpu_count(),
        "usable_cores": machine.usable_cores(),
        "container_cores": machine.cpu_quota(),
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "gpus": [f"{gpu.name}, driver {gpu.driver}, {gpu.memory}" for gpu in gpus],
        "driver": gpus[0].driver if gpus else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "crack-inspector": __version__,
        "packages": {
            name: found for name in _PACKAGES if (found := machine.installed_version(name))
        },
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cpu_flags() -> list[str]:
    """Instruction sets that the processor has; empty where the system does not tell."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    flags = (line for line in lines if line.startswith(("flags", "Features")))
    return sorted(_CPU_FLAGS & set(next(flags, "").split()))


def without_folders(text: str) -> str:
    """An error's text for a report: absolute paths keep their last name only."""
    return _FOLDERS.sub("", text)


def share_of_others() -> float:
    """Share of the cores, 0 to 1, that this process does not get while it asks for all of them: a
    quota, a hypervisor or another program takes it."""
    threads = machine.usable_cores()
    with ThreadPoolExecutor(threads) as pool:
        got = list(pool.map(lambda _: _worked(), range(threads)))
    return min(1.0, max(0.0, 1 - sum(got) / threads))


def _worked() -> float:
    """Processor time per wall time of a thread that does nothing but work."""
    began, began_cpu = time.perf_counter(), time.thread_time()
    while time.perf_counter() - began < _PROBE_S:
        hashlib.sha256(_BLOCK)
    return (time.thread_time() - began_cpu) / (time.perf_counter() - began)
