"""Programs that the suite runs, each in processes of its own, and what it cost."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.processes import run_watched
from bench.suite.engines import CUDA
from bench.suite.gpu import GpuUse, watch_gpu
from bench.system import without_folders
from inspector.core.cache import CACHE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.processes import Watched
    from bench.suite.setup import Bench
    from inspector.types import JsonObject

LIMIT_S = 600.0
"""A turn that takes longer is ended, for it would never be anybody's choice."""
REFUSED = 2
"""Exit code of a program that does not know an option, or cannot run on this machine."""
_SAMPLES_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One process: what it printed as JSON, what went wrong, if anything, and what it cost."""

    said: JsonObject
    wall_s: float
    trouble: str = ""
    refused: bool = False
    """The trouble is that it cannot run here at all."""
    cpu_s: float | None = None
    peak_mib: float | None = None
    gpu_percent: float | None = None
    gpu_mib: float | None = None


def run_program(arguments: Sequence[str], bench: Bench) -> Ended:
    """`python -m ARGUMENTS`, which prints JSON. What earlier runs have learnt about this machine
    is hidden from it, so that a result does not depend on them."""
    gpu = watch_gpu() if bench.device == CUDA else nullcontext(GpuUse())
    with gpu as use:
        watched = run_watched(
            [sys.executable, "-m", *arguments],
            every_s=_SAMPLES_S,
            limit_s=LIMIT_S,
            environment={
                CACHE_VARIABLE: str(bench.work / "cache"),
                # torch.compile's is in /tmp otherwise, where others could have put programs first.
                "TORCHINDUCTOR_CACHE_DIR": str(bench.work / "compiled"),
            },
        )
    said, trouble = _said(watched)
    return Ended(
        said=said,
        wall_s=watched.wall_s,
        trouble=trouble,
        refused=watched.returncode == REFUSED,
        cpu_s=watched.cpu_s,
        peak_mib=watched.peak_mib,
        gpu_percent=use.percent,
        gpu_mib=use.mib,
    )


def _said(watched: Watched) -> tuple[JsonObject, str]:
    """What it printed, and what went wrong."""
    if watched.timed_out:
        return {}, f"it did not end within {LIMIT_S:.0f} seconds"
    if watched.returncode:
        reason = without_folders(last_words(watched.stderr))
        return {}, reason if watched.returncode == REFUSED else f"it ended with: {reason}"
    try:
        return json.loads(watched.stdout), ""
    except ValueError:
        return {}, "it printed something other than its JSON"


def last_words(stderr: str) -> str:
    """The last line that has any; typer draws a box around its own."""
    lines = [line.strip(" │|") for line in stderr.splitlines()]
    return next((line for line in reversed(lines) if any(map(str.isalnum, line))), "no message")
