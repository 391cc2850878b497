"""How busy a GPU is while something runs, and how much of its memory is taken."""

from __future__ import annotations

import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMAND = (
    "nvidia-smi",
    "--query-gpu=utilization.gpu,memory.used",
    "--format=csv,noheader,nounits",
)
_LIMIT_S = 5.0
"""For one answer; a driver that needs longer is left alone."""


@dataclass(slots=True)
class GpuUse:
    """Filled while the block runs; `percent` and `mib` are right after it."""

    percents: list[float] = field(default_factory=list)
    """Of each sample, the mean over all GPUs."""
    mibs: list[float] = field(default_factory=list)
    """Of each sample, the sum over all GPUs, whoever takes it."""

    @property
    def percent(self) -> float | None:
        """Mean share of the time in which a GPU had work; None where there is none to ask."""
        return fmean(self.percents) if self.percents else None

    @property
    def mib(self) -> float | None:
        """The most memory that was taken at once, by all programs; None as for `percent`."""
        return max(self.mibs, default=None)


@contextmanager
def watch_gpu(every_s: float = 0.5) -> Iterator[GpuUse]:
    """Asks nvidia-smi every `every_s` seconds, from a thread, until the block ends; once at its
    beginning, and no more after the first time that it cannot tell."""
    use, over = GpuUse(), threading.Event()
    thread = threading.Thread(target=_watch, args=(use, over, every_s), daemon=True)
    thread.start()
    try:
        yield use
    finally:
        over.set()
        thread.join()


def _watch(use: GpuUse, over: threading.Event, every_s: float) -> None:
    while not over.is_set():
        found = _ask()
        if not found:
            return
        use.percents.append(fmean(percent for percent, _ in found))
        use.mibs.append(sum(mib for _, mib in found))
        over.wait(every_s)


def _ask() -> list[tuple[float, float]]:
    """Percent and MiB of each GPU; empty where nothing, or nothing readable, answers."""
    try:
        ended = subprocess.run(
            _COMMAND, capture_output=True, text=True, timeout=_LIMIT_S, check=True
        )
        rows = [line.split(",") for line in ended.stdout.splitlines() if line.strip()]
        return [(float(percent), float(mib)) for percent, mib in rows]
    except (OSError, subprocess.SubprocessError, ValueError):  # also "[N/A]", as with MIG
        return []
