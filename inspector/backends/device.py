"""Where an engine is asked to run."""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass

from inspector.errors import UsageError

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class Device:
    """A parsed `--device`. `kind` is `auto`, `cpu` or `cuda`; `index` counts the GPUs from 0."""

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind

    @classmethod
    def parse(cls, text: str) -> Device:
        """Raises UsageError unless `auto`, `cpu`, `cuda` or `cuda:<i>`."""
        match = re.fullmatch(r"(auto|cpu|cuda)(?:(?<=cuda):(\d+))?", text)
        if match is None:
            raise UsageError(f"unknown device {text!r}; choose auto, cpu, cuda or cuda:<i>")
        return cls(match[1], int(match[2] or 0))


def has_nvidia_driver() -> bool:
    """Whether the NVIDIA driver's library loads; without it no CUDA engine can come up."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    return True
