"""How the machine is shared between the processes that decode and the engine that judges."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from inspector.backends import BACKENDS
from inspector.backends.device import Device, has_nvidia_driver
from inspector.data.loader import bytes_in_flight
from inspector.machine import shared_memory_free, usable_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.bundle import ModelBundle
    from inspector.preprocess import PreprocessSpec
    from inspector.scan.config import ScanConfig
    from inspector.types import ImageRef

PEEK = 2000
"""Photos whose sizes are looked at before the plan is made."""
CPU_BATCH = 32
CUDA_BATCH = 256
SLOW_DECODE_S = 0.02
"""Decoding time from which a batch for the GPU is small as well: every worker would otherwise sit
on a batch for seconds, while the GPU waits for the first."""
MOST_WORKERS = 64

# Measured on one core of a 2-core x86 server with Pillow 13: 0.6 ms for a 5 kB tile, 12 ms for
# 0.4 MB, 52 ms for 3 MB (12 megapixels), and 53 ms for ResNet18 at 224 px, fp32. Only their
# ratios matter here, and those hold roughly elsewhere.
_DECODE_S_PER_PHOTO = 0.0005
_DECODE_S_PER_BYTE = 20e-9
_ENGINE_S_PER_PIXEL = 0.053 / 224**2
_WORKERS_START_S = 5.0
"""What worker processes cost before their first photo; decoding that takes less is done without."""


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
    threads: int | None
    """CPU threads of the engine; None: as many as there are cores."""
    why: str


def identity_of(config: ScanConfig, bundle: ModelBundle) -> dict[str, str]:
    """What decides the rows of a scan; two scans may share a table only if this is equal."""
    thresholds = config.thresholds(bundle.thresholds)
    return {
        "model": bundle.digest,
        "precision": _precision(config),
        "view": _view(config),
        "clear_below": repr(thresholds.clear_below),
        "crack_from": repr(thresholds.crack_from),
    }


def _precision(config: ScanConfig) -> str:
    """It decides verdicts, so `auto` never depends on the machine: it is fp32."""
    return "fp32" if config.precision == "auto" else config.precision


def _view(config: ScanConfig) -> str:
    return "whole" if config.view == "auto" else config.view


def make_plan(config: ScanConfig, spec: PreprocessSpec, first: Sequence[ImageRef]) -> Plan:
    """Settings for a scan whose first photos (up to `PEEK`) are `first`."""
    cores = usable_cores()
    cuda = _expects_cuda(config.device)
    decode_s = [_decode_seconds(ref) for ref in first]
    mean_s = fmean(decode_s or [0.0])
    quick = cuda and mean_s < SLOW_DECODE_S
    if config.workers is not None:
        workers, why = config.workers, f"{config.workers} workers were asked for"
    elif len(first) < PEEK and sum(decode_s) < _WORKERS_START_S:
        workers, why = 0, "too little to decode for worker processes to pay"
    else:
        workers, why = _share_cores(cores, mean_s, 0.0 if cuda else _engine_seconds(spec))
    roomy = _fits_shared_memory(spec, CUDA_BATCH, workers)
    batch_size = config.batch_size or (CUDA_BATCH if quick and roomy else CPU_BATCH)
    while config.workers is None and not _fits_shared_memory(spec, batch_size, workers):
        workers -= 1
        why = f"{workers} to decode, as many as /dev/shm has room for"
    return Plan(
        backend=BACKENDS[0] if config.backend == "auto" else config.backend,
        device=config.device,
        precision=_precision(config),
        view=_view(config),
        batch_size=batch_size,
        workers=workers,
        threads=None if cuda else _threads(cores, workers),
        why=f"{cores} core{'s' if cores > 1 else ''}: {why}",
    )


def _expects_cuda(device: str) -> bool:
    """A guess before the engine is up; a wrong one costs speed, never a verdict."""
    kind = Device.parse(device).kind
    return kind == "cuda" or (kind == "auto" and has_nvidia_driver())


def _engine_seconds(spec: PreprocessSpec) -> float:
    return _ENGINE_S_PER_PIXEL * spec.size**2


def _decode_seconds(ref: ImageRef) -> float:
    return _DECODE_S_PER_PHOTO + _DECODE_S_PER_BYTE * (ref.size or 0)


def _share_cores(cores: int, decode_s: float, engine_s: float) -> tuple[int, str]:
    """Workers so that decoding and the model keep pace, given each one's core-seconds per photo."""
    share = decode_s / (decode_s + engine_s) if decode_s else 0.0
    workers = min(max(round(cores * share), 1), max(cores - 1, 1), MOST_WORKERS)
    if not engine_s:
        return workers, f"{workers} decode, the GPU judges"
    estimate = f"about {decode_s * 1e3:.0f} ms to decode a photo, {engine_s * 1e3:.0f} ms to judge"
    return workers, f"{workers} to decode ahead ({estimate} it)"


def _threads(cores: int, workers: int) -> int:
    """Engine threads: all cores on a small machine, where the engine is the bottleneck and an idle
    worker's core would be lost; otherwise what the workers leave."""
    return cores if cores <= 4 else max(cores - workers, 1)


def _fits_shared_memory(spec: PreprocessSpec, batch_size: int, workers: int) -> bool:
    """Whether the workers' batches fit into /dev/shm; containers often have only 64 MB of it."""
    free = shared_memory_free()
    needed = bytes_in_flight(spec, batch_size=batch_size, workers=workers)
    return workers == 0 or free is None or needed <= free
