"""This machine: cores, memory, GPUs, installed versions, and a cache of what was measured on it."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.core.durable import publish
from inspector.core.untrusted import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.types import JsonObject


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
    quotas = [quota for folder in _own_cgroups("cpu") if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def memory_limit() -> int | None:
    """Bytes of memory that the control group grants; None if that is all there is."""
    physical = memory_bytes()
    limits = [limit for folder in _own_cgroups("memory") if (limit := _limit_of(folder))]
    least = min(limits, default=None)
    return None if least is None or (physical and least >= physical) else least


def _own_cgroups(controller: str) -> list[Path]:
    """This process's control group and its parents: version 2, or a controller of version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP / controller if controllers else _CGROUP
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


def _limit_of(folder: Path) -> int | None:
    """Bytes (kernel documentation, `memory.max`)."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # not there, or "max"
            return int((folder / name).read_text(encoding="utf-8"))
    return None


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


CACHE_VARIABLE = "INSPECTOR_CACHE_DIR"
"""Environment variable that names the cache folder."""
_DISTRIBUTIONS = ("onnxruntime-gpu", "onnxruntime", "openvino")


def machine_key(files: Mapping[str, str], about: str) -> str:
    """Build a cache key from what decides how fast a bundle with these files (sha256 by name) runs
    on this machine; `about` keeps entries for one bundle apart."""
    facts = [about, cpu_model(), usable_cores(), sorted(files.items())]
    facts += [installed_version(distribution) for distribution in _DISTRIBUTIONS]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def get_cached(key: str) -> Any:
    """Get the JSON value of a key; None if there is none or the cache cannot be read."""
    file = cache_file()
    return _read(file).get(key) if file else None


def set_cached(key: str, value: JsonObject) -> None:
    """Set the value of a key. A cache that cannot be written is ignored: values are measured
    again."""
    file = cache_file()
    if file is None:
        return
    values = _read(file) | {key: value}
    draft = file.with_name(f".{file.name}.{os.getpid()}")  # others may be writing as well
    with suppress(OSError):
        publish(json.dumps(values, indent=1).encode(), file, draft)


def cache_file() -> Path | None:
    """The cache's file; None if `private_folder` is."""
    folder = private_folder()
    return folder / "tuning.json" if folder else None


def private_folder() -> Path | None:
    """The cache folder, created if need be: $INSPECTOR_CACHE_DIR, or else by the system's
    convention. None if it cannot be created, or if others may write to it: its content decides
    which engines run, and compiled engines are programs."""
    from platformdirs import user_cache_path

    try:
        chosen = os.environ.get(CACHE_VARIABLE)
        folder = Path(chosen or user_cache_path("crack-inspector", appauthor=False))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except (OSError, RuntimeError):  # a user made up at a container's start may have no home
        return None
    if sys.platform == "win32":
        return folder
    return folder if about.st_uid == os.geteuid() and not about.st_mode & 0o022 else None


def _read(file: Path) -> JsonObject:
    try:
        values = read_json(file)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
