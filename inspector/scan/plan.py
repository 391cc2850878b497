"""How the machine is shared between the decoders and the engine that judges."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import fmean
from typing import TYPE_CHECKING

from inspector.data.loader import bytes_in_flight
from inspector.machine import shared_memory_free, usable_cores
from inspector.scan.engines import backend_of, gpu_judges, view_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.preprocess import PreprocessSpec
    from inspector.scan.config import ScanConfig
    from inspector.scan.engines import Engines
    from inspector.types import ImageRef

PEEK = 2000
"""Photos whose sizes are looked at before the plan is made."""
CPU_BATCH = 32
CUDA_BATCH = 256
SLOW_BATCH = 8
"""For photos that take long to decode on a CPU: the engine then starts early and waits for little,
and so few images cost it nothing."""
SLOW_DECODE_S = 0.02
"""Decoding time from which a batch for the GPU is small as well: every worker would otherwise sit
on a batch for seconds, while the GPU waits for the first."""
MOST_WORKERS = 64
SMALL_MACHINE = 4
"""Cores up to which the engine may use all of them, decoding or not: an idle core costs more than
two threads that take turns."""

# Measured on one core of a 2-core x86 server: 0.3 ms for a 5 kB tile, 8 ms for 0.2 MB, 36 ms for
# 2 MB (12 megapixels, decoded at a quarter of the size).
_DECODE_S_PER_PHOTO = 0.0003
_DECODE_S_PER_BYTE = 20e-9
_WORKERS_START_S = 5.0
"""What worker processes cost before their first photo; decoding that takes less is done without."""
_LOCKED_S_PER_PHOTO = 0.0004
"""Time per photo under Python's lock (headers, rows), which threads of one process cannot share."""
_MOST_LOCKED = 0.4
"""Share of a core's time under that lock up to which threads do not get in each other's way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scan's settings with every `auto` resolved; `why` is one sentence about them."""

    backend: str
    device: str
    """What is demanded of the engine: `auto`, `cpu` or `cuda[:i]`."""
    precision: str
    cascade: bool
    view: str
    batch_size: int
    workers: int
    """Processes that decode; 0: `decode_threads` of this one."""
    decode_threads: int
    threads: int | None
    """CPU threads of the engine; None: as many as there are cores."""
    why: str


def make_plan(
    config: ScanConfig, spec: PreprocessSpec, engines: Engines, first: Sequence[ImageRef]
) -> Plan:
    """Settings for a scan whose first photos (up to `PEEK`) are `first`."""
    cores = usable_cores()
    cuda = gpu_judges(config)
    decode_s = [_decode_seconds(ref) for ref in first]
    mean_s = fmean(decode_s or [0.0])
    share = _decoders(cores, mean_s, engines.core_seconds)
    if config.workers is not None:
        workers, why = config.workers, f"{config.workers} workers were asked for"
    elif len(first) < PEEK and sum(decode_s) < _WORKERS_START_S:
        workers, why = 0, "too little to decode for worker processes to pay"
    elif not cuda and _locked_share(cores, engines.core_seconds + mean_s) < _MOST_LOCKED:
        workers, why = 0, "threads decode ahead, the engine is the slower part"
    else:
        workers, why = share, f"{share} processes decode ahead"
    quick = cuda and mean_s < SLOW_DECODE_S and _fits_shared_memory(spec, CUDA_BATCH, workers)
    patient = not cuda and mean_s > SLOW_DECODE_S
    batch_size = config.batch_size or (
        CUDA_BATCH if quick else SLOW_BATCH if patient else CPU_BATCH
    )
    while config.workers is None and not _fits_shared_memory(spec, batch_size, workers):
        workers -= 1
        why = f"{workers} processes decode, as many as /dev/shm has room for"
    return Plan(
        backend=backend_of(config),
        device=config.device,
        precision=engines.precision,
        cascade=engines.cascade,
        view=view_of(config),
        batch_size=batch_size,
        workers=workers,
        decode_threads=share,
        threads=None if cuda else _threads(cores, workers or share),
        why=f"{cores} core{'s' if cores > 1 else ''}: {why}; {engines.why}",
    )


def _decode_seconds(ref: ImageRef) -> float:
    return _DECODE_S_PER_PHOTO + _DECODE_S_PER_BYTE * (ref.size or 0)


def _decoders(cores: int, decode_s: float, engine_s: float) -> int:
    """How many decoders let decoding and the model keep pace, given core-seconds per photo; rather
    one too many, which only waits, than an engine that does."""
    share = decode_s / (decode_s + engine_s) if decode_s else 0.0
    most = cores if cores <= SMALL_MACHINE else cores - 1
    return min(max(ceil(cores * share), 1), most, MOST_WORKERS)


def _locked_share(cores: int, core_seconds: float) -> float:
    """Share of the time that Python's lock is held when all cores work on photos."""
    return _LOCKED_S_PER_PHOTO * cores / core_seconds


def _threads(cores: int, decoders: int) -> int:
    return cores if cores <= SMALL_MACHINE else max(cores - decoders, 1)


def _fits_shared_memory(spec: PreprocessSpec, batch_size: int, workers: int) -> bool:
    """Whether the workers' batches fit into /dev/shm; containers often have only 64 MB of it."""
    free = shared_memory_free()
    needed = bytes_in_flight(spec, batch_size=batch_size, workers=workers)
    return workers == 0 or free is None or needed <= free
