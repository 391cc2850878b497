"""How fast memory can be copied."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.suite.limits_ceiling import Ceiling, UnmeasurableError, fastest
from bench.system import container_memory_gib
from inspector.core.machine import memory_bytes, usable_cores

if TYPE_CHECKING:
    from bench.suite.limits_ceiling import Turn

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
_TIMES_CACHE = 4
"""Bytes copied, as a multiple of the last-level cache, so that hardly any are found in it."""
_LEAST, _SHARE_OF_MEMORY = 2**27, 16
_SMALLEST = 2**24
"""Below, a machine has too little memory for a figure that means anything."""


def memory_ceiling() -> Ceiling:
    cores = usable_cores()
    return Ceiling(
        name="memory_copy",
        what="memory copied by all cores",
        unit="GB/s",
        how=f"NumPy copies {_size() >> 20} MiB in {cores} thread(s), each a part of its own; bytes "
        "read and bytes written both count; the fastest copy of each turn",
        prepare=_prepare,
    )


def _prepare() -> Turn:
    cores, size = usable_cores(), _size()
    if size < _SMALLEST:
        raise UnmeasurableError("there is too little memory to copy more than the caches hold")
    source, target = np.ones(size, np.uint8), np.empty(size, np.uint8)
    parts = list(zip(np.array_split(target, cores), np.array_split(source, cores), strict=True))
    pool = ThreadPoolExecutor(cores)

    def copy() -> None:
        # NumPy lets go of the interpreter's lock while it copies.
        list(pool.map(lambda part: np.copyto(*part), parts))

    copy()  # the system hands out memory when it is first written to
    return lambda seconds: fastest([(2 * size / 1e9, copy)], seconds)


def _size() -> int:
    """Bytes of the array that is copied."""
    physical = memory_bytes() or 2**32
    allowed = (container_memory_gib() or physical / 2**30) * 2**30
    most = int(min(physical, allowed)) // _SHARE_OF_MEMORY
    return min(max(_LEAST, _TIMES_CACHE * _last_level_cache()), most)


def _last_level_cache() -> int:
    """Bytes; 0 where the system does not tell."""
    sizes = []
    for file in _CACHES.glob("index*/size"):
        text = file.read_text(encoding="ascii").strip()
        sizes.append(int(text.rstrip("KMG")) * _UNITS.get(text[-1:], 1))
    return max(sizes, default=0)
