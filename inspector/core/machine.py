"""CPU cores, memory and GPUs that this process may use, and installed versions."""

from __future__ import annotations

import csv
import math
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_SHARED_MEMORY = Path("/dev/shm")
_NVIDIA_SMI_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU, in the driver's words."""

    name: str
    driver: str
    memory: str


def usable_cores() -> int:
    """CPU cores of this process, bounded by its affinity and by the container's quota."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min(allowed, math.ceil(cpu_quota() or allowed)))


def cpu_quota() -> float | None:
    """Cores' worth of time that the control group grants; None if it sets no bound."""
    quotas = [quota for folder in _own_cgroups() if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _own_cgroups() -> list[Path]:
    """This process's control group and its parents: version 2, or `cpu` of version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUP / "cpu" if controllers else _CGROUP
        own = root / group.lstrip("/")
        folders += [own, *(parent for parent in own.parents if parent.is_relative_to(root))]
    return folders


def _quota_of(folder: Path) -> float | None:
    """Quota divided by period, both in microseconds (kernel documentation, `cpu.max`)."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
        cores = int(quota) / int(period)
    except (OSError, ValueError):  # not there, or "max"
        return None
    return cores if cores > 0 else None


def cpu_model() -> str:
    """The processor's name according to the system."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Physical memory; None if the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def shared_memory_free() -> int | None:
    """Free bytes in /dev/shm; None if there is no such folder."""
    return shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else None


def nvidia_gpus() -> list[Gpu] | None:
    """The GPUs that the NVIDIA driver lists; None if `nvidia-smi` is missing or fails."""
    query = "--query-gpu=name,driver_version,memory.total"
    try:
        listing = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_NVIDIA_SMI_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    rows = csv.reader(listing.stdout.splitlines(), skipinitialspace=True)
    return [Gpu(*row) for row in rows if len(row) == 3]


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
