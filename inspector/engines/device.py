"""Devices that engines run on."""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass

from inspector.errors import UsageError

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class Device:
    """A parsed `--device`. `kind` is `auto`, `cpu` or `cuda`; `index` counts the GPUs from 0.
    `every` (`cuda:all`) means all GPUs there are; no single engine takes it."""

    kind: str
    index: int = 0
    every: bool = False

    def __str__(self) -> str:
        if self.every:
            return f"{self.kind}:all"
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind

    @classmethod
    def parse(cls, text: str) -> Device:
        """Raises UsageError unless `auto`, `cpu`, `cuda`, `cuda:<i>` or `cuda:all`."""
        match = re.fullmatch(r"(auto|cpu|cuda)(?:(?<=cuda):(all|[0-9]{1,4}))?", text)
        if match is None:
            raise UsageError(
                f"unknown device {text!r}; choose auto, cpu, cuda, cuda:<i> or cuda:all"
            )
        if match[2] == "all":
            return cls(match[1], every=True)
        return cls(match[1], int(match[2] or 0))


def has_nvidia_driver() -> bool:
    """Whether the NVIDIA driver's library loads; without it no CUDA engine can come up."""
    return _driver() is not None


def visible_gpus() -> int:
    """Count the GPUs that the driver lets this process use, by CUDA_VISIBLE_DEVICES; 0 without a
    driver, or with one that does not start."""
    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(_DRIVER)
    except OSError:
        return None
