"""How the machine is shared between the decoders and the engine that judges."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import fmean
from typing import TYPE_CHECKING

from inspector.core.machine import shared_memory_free, usable_cores
from inspector.scanning.engines import gpu_judges, view_of
from inspector.workers.loader import bytes_in_flight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.engines.advice import Pace
    from inspector.model.preprocess import PreprocessSpec
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.engines import Engines
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
_DATALOADER_START_S = 5.0
"""What processes that import torch cost before their first photo; decoding that takes less is done
without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scan's settings with every `auto` resolved; `why` is one sentence about them."""

    backend: str
    device: str
    """What is demanded of the engine: `auto`, `cpu` or `cuda[:i]`."""
    precision: str
    view: str
    batch_size: int
    workers: int
    """Processes that decode; 0: the scan's own thread does."""
    dataloader: bool
    """They are those of a torch `DataLoader`."""
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
    workers, why = _decoders(cores, mean_s, engines.core_seconds), "to decode ahead"
    batch_size = _batch_size(cuda=cuda, slow=mean_s > SLOW_DECODE_S)
    backend = engines.backend
    if pace := _advised(config, engines, slow=mean_s > SLOW_DECODE_S):
        backend, workers, batch_size = pace.backend, pace.workers, pace.batch_size
    if config.workers is not None:
        workers, why = config.workers, "to decode, as asked for"
    batch_size = config.batch_size or batch_size
    dataloader = cuda and workers > 0
    if dataloader and len(first) < PEEK and sum(decode_s) < _DATALOADER_START_S:
        dataloader, why = False, f"{why}, too little for a DataLoader to pay"
    elif dataloader and not _fits_shared_memory(spec, batch_size, workers):
        dataloader, why = False, f"{why}, through pipes: /dev/shm has no room for a DataLoader"
    elif dataloader:
        why = f"{why} in a DataLoader"
    return Plan(
        backend=backend,
        device=config.device,
        precision=engines.precision,
        view=view_of(config),
        batch_size=batch_size,
        workers=workers,
        dataloader=dataloader,
        threads=None if cuda else _threads(cores, workers),
        why=f"{_count(cores, 'core')}: {_count(workers, 'process', 'es')} {why}; {engines.why}",
    )


def _advised(config: ScanConfig, engines: Engines, *, slow: bool) -> Pace | None:
    """None also where another engine is demanded than that with which it was measured."""
    if engines.advice is None:
        return None
    pace = engines.advice.photos if slow else engines.advice.tiles
    return pace if config.backend in ("auto", pace.backend) else None


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{'' if number == 1 else plural}"


def _batch_size(*, cuda: bool, slow: bool) -> int:
    if cuda:
        return CPU_BATCH if slow else CUDA_BATCH
    return SLOW_BATCH if slow else CPU_BATCH


def _decode_seconds(ref: ImageRef) -> float:
    return _DECODE_S_PER_PHOTO + _DECODE_S_PER_BYTE * (ref.size or 0)


def _decoders(cores: int, decode_s: float, engine_s: float) -> int:
    """How many decoders let decoding and the model keep pace, given core-seconds per photo; rather
    one too many, which only waits, than an engine that does."""
    share = decode_s / (decode_s + engine_s) if decode_s else 0.0
    most = cores if cores <= SMALL_MACHINE else cores - 1
    return min(max(ceil(cores * share), 1), most, MOST_WORKERS)


def _threads(cores: int, decoders: int) -> int:
    return cores if cores <= SMALL_MACHINE else max(cores - decoders, 1)


def _fits_shared_memory(spec: PreprocessSpec, batch_size: int, workers: int) -> bool:
    """Whether a DataLoader's batches fit into /dev/shm; containers often have only 64 MB of it."""
    free = shared_memory_free()
    return free is None or bytes_in_flight(spec, batch_size=batch_size, workers=workers) <= free
