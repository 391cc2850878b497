"""How much of this machine others take while a benchmark runs, and what that is worth."""

from __future__ import annotations

import hashlib
import math
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING

from inspector.core.machine import usable_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.types import JsonObject

BUSY = 0.1
"""Share of the cores taken by others from which a machine is busy."""
UNSTEADY = 0.25
"""Typical change of a rate from one round to the next from which nothing can be told."""
_PROBE_S = 0.03
_BLOCK = bytes(1 << 18)
"""Hashed without Python's lock, so that threads use all cores."""


def share_of_others() -> float:
    """What this process does not get of its cores while it asks for all of them, 0 to 1. It sees
    what a quota, a hypervisor or another program takes."""
    threads = usable_cores()
    with ThreadPoolExecutor(threads) as pool:
        got = list(pool.map(lambda _: _worked(), range(threads)))
    return min(1.0, max(0.0, 1 - sum(got) / threads))


def _worked() -> float:
    """Processor time per wall time of a thread that does nothing but work."""
    began, began_cpu = time.perf_counter(), time.thread_time()
    while time.perf_counter() - began < _PROBE_S:
        hashlib.sha256(_BLOCK)
    return (time.thread_time() - began_cpu) / (time.perf_counter() - began)


def disturbance(shares: Sequence[float], cases: Sequence[JsonObject]) -> JsonObject:
    """`disturbance` of results.json: the median of `shares` that others took, sampled before every
    turn, the `spread` of whole paths between rounds, and in `busy` what that forbids, in words;
    empty on a quiet machine."""
    taken = median(shares) if shares else 0.0
    noise = next((case["noise"] for case in cases if case["level"] == "scan"), None)
    spread = math.expm1(math.sqrt(noise["variance"])) if noise else 0.0
    busy = ""
    if taken > BUSY:
        busy = f"other programs took {taken * 100:.0f} % of the processor"
    elif spread > UNSTEADY:
        busy = f"the same scan differed by {spread * 100:.0f} % from round to round"
    return {"others": taken, "samples": len(shares), "spread": spread, "busy": busy}
