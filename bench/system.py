"""The machine and the software that figures were measured with, without names or folders."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
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
_NO_LIMIT = 1 << 60
"""Version 1 of the control groups says a number near 2^63 where there is no bound."""
_CPUINFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_CUDA = re.compile(r"CUDA (?:UMD )?Version\s*:\s*([\d.]+)")
_NVIDIA_SMI_TIMEOUT_S = 20
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/:;,'\"()]+/)+")


def describe_system() -> JsonObject:
    """Taken before the measurement, so that `load_average` (runnable processes over the last
    minute) tells how busy the machine was with other work."""
    memory = machine.memory_bytes()
    gpus = machine.nvidia_gpus() or []
    return {
        "cpu": machine.cpu_model(),
        "cpu_flags": cpu_flags(),
        "cpu_governor": cpu_governor(),
        "logical_cores": os.cpu_count(),
        "physical_cores": physical_cores(),
        "usable_cores": machine.usable_cores(),
        "container_cores": machine.cpu_quota(),
        "container_memory_gib": container_memory_gib(),
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "gpus": [f"{gpu.name}, driver {gpu.driver}, {gpu.memory}" for gpu in gpus],
        "driver": gpus[0].driver if gpus else None,
        "cuda": cuda_version() if gpus else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "crack-inspector": __version__,
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cpu_flags() -> list[str]:
    """What the processor can do beyond the ordinary; empty where the system does not tell."""
    lines = _cpuinfo()
    flags = (line for line in lines if line.startswith(("flags", "Features")))
    return sorted(_CPU_FLAGS & set(next(flags, "").split()))


def cpu_governor() -> str | None:
    """How the kernel chooses the clock of the first core, such as `performance` or `powersave`;
    None where it does not tell, as in most virtual machines."""
    try:
        return _GOVERNOR.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def physical_cores() -> int | None:
    """Cores of the machine, however many threads each runs at a time; None where the system does
    not tell."""
    cores, socket = set(), ""
    for line in _cpuinfo():
        name, _, value = line.partition(":")
        if name.strip() == "physical id":
            socket = value
        elif name.strip() == "core id":
            cores.add((socket, value))
    return len(cores) or None


def cuda_version() -> str | None:
    """The newest CUDA that the NVIDIA driver supports, as nvidia-smi says; None where it does not
    answer."""
    try:
        ended = subprocess.run(
            ["nvidia-smi"], capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _CUDA.search(ended.stdout)
    return found[1] if found else None


def _cpuinfo() -> list[str]:
    try:
        return _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def container_memory_gib() -> float | None:
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
