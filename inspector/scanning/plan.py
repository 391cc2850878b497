"""The engine of a scan, and the plan by which it shares the machine with the decoders."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from statistics import fmean
from typing import TYPE_CHECKING

from inspector.core.machine import shared_memory_free, usable_cores
from inspector.engines import BACKENDS, TORCH_BACKENDS, Device, visible_gpus
from inspector.engines.photo import choose_views
from inspector.engines.tuned import find_recommendation, known_seconds
from inspector.errors import UsageError
from inspector.photos.object_file import is_far
from inspector.types import View
from inspector.workers.gathering import BATCH_BYTES
from inspector.workers.loader import bytes_in_flight

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inspector.engines.tuned import Recommendation, Settings
    from inspector.model.bundle import ModelBundle
    from inspector.model.preprocess import Views
    from inspector.scanning.config import ScanConfig
    from inspector.types import ImageRef


PEEK = 2000
"""Photos whose sizes are looked at before the plan is made."""
CPU_BATCH = 32
CUDA_BATCH = 256
SLOW_BATCH = 8
"""Batch for photos that take long to decode on a CPU: the engine then starts early and waits for
little, and so few images cost it nothing."""
SLOW_DECODE_S = 0.02
"""Decoding time from which a batch for the GPU is small as well: every worker would otherwise sit
on a batch for seconds, while the GPU waits for the first."""
MOST_WORKERS = 64
SMALL_MACHINE = 4
"""Cores up to which the engine may use all of them, decoding or not: an idle core costs more than
two threads that take turns."""
PROCESSES, TORCH = "processes", "torch"
"""Values of `--loader`: decoder processes of our own, or those of a torch `DataLoader`."""

_BYTES_PER_PIXEL = 0.35
"""Of a camera's JPEG, which tells the size of a photo before it is opened."""
_NATIVE_DECODE_S_PER_PIXEL = 12e-9
_NATIVE_WORK = 1.2
"""Pixels that the network sees for each pixel of a photo that is judged densely."""
# Measured on one core of a 2-core x86 server: 0.3 ms for a 5 kB tile, 8 ms for 0.2 MB, 36 ms for
# 2 MB (12 megapixels, decoded at a quarter of the size); ResNet18 46 ms in fp32, 23 ms in int8.
_DECODE_S_PER_PHOTO = 0.0003
_DECODE_S_PER_BYTE = 20e-9
_JUDGE_S_PER_PIXEL = {"fp32": 0.046 / 224**2, "fp16": 0.046 / 224**2}
_QUICK_JUDGE_S_PER_PIXEL = 0.023 / 224**2
"""The same for int8, and for `auto`."""
_DATALOADER_START_S = 5.0
"""Start of processes that import torch; decoding that takes less is done without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A scan's settings with every `auto` resolved."""

    backend: str
    precision: str
    batch_size: int
    workers: int
    """Processes that decode; 0: the scan's own thread does."""
    loader: str
    """`processes` or `torch`: whose processes these are."""
    threads: int | None
    """CPU threads of the engine; None: as many as there are cores."""
    why: str
    """One sentence about them."""
    recommended: bool = False
    """A benchmark on this machine has decided some of them."""


def make_plan(
    config: ScanConfig,
    bundle: ModelBundle,
    choice: EngineChoice,
    first: Sequence[ImageRef],
    *,
    cores: int | None = None,
) -> Plan:
    """Settings for a scan whose first photos (up to `PEEK`) are `first`, on so many cores of this
    machine (None: all that may be used). Raises UsageError when `--loader torch` is demanded and
    torch is not installed."""
    cores, views = cores or usable_cores(), choose_views(config.view, bundle)
    native = [is_native(ref, views) for ref in first]
    own_scale = fmean(native or [0]) > 0.5
    decode_s = fmean([_decode_seconds(*each) for each in zip(first, native, strict=True)] or [0.0])
    slow = decode_s > SLOW_DECODE_S
    settings = None if own_scale else choice.settings(slow=slow)
    backend = settings.backend if settings else choice.backend
    if settings:
        workers, batch_size = settings.workers, settings.batch_size
    else:
        judge_s = 0.0 if choice.on_gpu else _judge_seconds(bundle, backend, choice.precision, cores)
        batch_size = _batch_size(on_gpu=choice.on_gpu, slow=slow)
        if own_scale:
            pixels = fmean(map(_pixels, first))
            judge_s *= max(_NATIVE_WORK * pixels / bundle.preprocess.size**2, 1)
            # Large ones travel alone, so that decoders share them out.
            batch_size = min(max(int(BATCH_BYTES / (3 * pixels)), 1), batch_size)
        workers = _decoders(cores, decode_s, judge_s)
    threads, purpose = None if choice.on_gpu else _threads(cores, workers), "to decode ahead"
    if fmean([is_far(ref.path) for ref in first] or [0]) > 0.5:
        workers, purpose = min(2 * workers, MOST_WORKERS), "to fetch and decode ahead"
    if config.workers is not None:
        workers, purpose = config.workers, "to decode, as asked for"
        threads = None if choice.on_gpu else _threads(cores, workers)
    batch_size = config.batch_size or batch_size
    size_bytes = bytes_in_flight(bundle.preprocess, views, batch_size=batch_size, workers=workers)
    loader, remark = _loader(config, choice, workers, len(first), decode_s, size_bytes)
    if own_scale and config.loader == AUTO:  # large ones do not fit a DataLoader's batches
        loader, remark = PROCESSES, ""
    processes = f"{cores} core{'s' * (cores != 1)}: {workers} process{'es' * (workers != 1)}"
    return Plan(
        backend=backend,
        precision=choice.precision,
        batch_size=batch_size,
        workers=workers,
        loader=loader,
        threads=threads,
        why=f"{processes} {purpose}{remark}",
        recommended=choice.recommendation is not None,
    )


def _loader(
    config: ScanConfig,
    choice: EngineChoice,
    workers: int,
    photos: int,
    decode_s: float,
    size_bytes: int,
) -> tuple[str, str]:
    """The loader, and what to say of it: a `DataLoader` if asked for, or on a GPU if it pays."""
    if config.loader == TORCH and find_spec("torch") is None:
        raise UsageError(
            "--loader torch needs torch, which is not installed; leave it out, or install it with: "
            'pip install "crack-inspector[train]"'
        )
    if config.loader == TORCH:
        return TORCH, " in a DataLoader, as asked for"
    if config.loader == PROCESSES or not choice.on_gpu or not workers or find_spec("torch") is None:
        return PROCESSES, ""
    if photos < PEEK and photos * decode_s < _DATALOADER_START_S:
        return PROCESSES, ", too little for a DataLoader to pay"
    free = shared_memory_free()
    if free is not None and size_bytes > free:  # containers often have only 64 MB of it
        return PROCESSES, ", through pipes: /dev/shm has no room for a DataLoader"
    return TORCH, " in a DataLoader"


def _batch_size(*, on_gpu: bool, slow: bool) -> int:
    if on_gpu:
        return CPU_BATCH if slow else CUDA_BATCH
    return SLOW_BATCH if slow else CPU_BATCH


def is_native(ref: ImageRef, views: Views) -> bool:
    """Whether a photo is judged at its own scale, as far as the size of its file tells."""
    return views.of((round(_pixels(ref) ** 0.5),) * 2) is not View.WHOLE


def _pixels(ref: ImageRef) -> float:
    return (ref.size or 0) / _BYTES_PER_PIXEL


def _decode_seconds(ref: ImageRef, native: bool) -> float:
    """Seconds on one core, by the size of the file."""
    if native:
        return _NATIVE_DECODE_S_PER_PIXEL * _pixels(ref)
    return _DECODE_S_PER_PHOTO + _DECODE_S_PER_BYTE * (ref.size or 0)


def _judge_seconds(bundle: ModelBundle, backend: str, precision: str, cores: int) -> float:
    """Core-seconds per photo: as measured on this machine, or else an estimate."""
    known = known_seconds(bundle, backend, precision)
    if known is not None:
        return known * cores
    each = _JUDGE_S_PER_PIXEL.get(precision, _QUICK_JUDGE_S_PER_PIXEL)
    return each * bundle.preprocess.size**2


def _decoders(cores: int, decode_s: float, judge_s: float) -> int:
    """The number of decoders with which decoding and the engine keep up with each other, given
    core-seconds per photo; rather one too many, which only waits, than an engine that does."""
    share = decode_s / (decode_s + judge_s) if decode_s else 0.0
    most = cores if cores <= SMALL_MACHINE else cores - 1
    return min(max(ceil(cores * share), 1), most, MOST_WORKERS)


def _threads(cores: int, decoders: int) -> int:
    return cores if cores <= SMALL_MACHINE else max(cores - decoders, 1)


AUTO = "auto"
RECOMMENDED = "as inspector bench recommends on this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """The engine of a scan, chosen before any is opened."""

    backend: str
    precision: str
    """`auto`: the fastest on this machine, which is still to be found out."""
    on_gpu: bool
    """A guess before the engine is up; a wrong one costs speed, never a verdict."""
    why: str
    recommendation: Recommendation | None = None
    """The recommendation of `inspector bench` on this machine, where it is followed."""
    wanted: str = AUTO
    """The engine that was demanded or that the table was begun with."""

    def settings(self, *, slow: bool) -> Settings | None:
        """The recommended settings for files that decode quickly or, with `slow`, for large ones;
        None also where they were measured with another engine than the one wanted."""
        if self.recommendation is None:
            return None
        found = self.recommendation.photos if slow else self.recommendation.tiles
        return found if self.wanted in (AUTO, found.backend) else None


def choose_engine(
    config: ScanConfig,
    bundle: ModelBundle,
    recorded: Mapping[str, str],
    *,
    gpus_elsewhere: bool | None = None,
) -> EngineChoice:
    """The engine and its precision: what is demanded; else what the table was begun with; else what
    a benchmark on this machine recommends; else ONNX Runtime, in the fastest precision. `recorded`
    is the identity of the table and the engine it was begun with, as `recorded_facts` has them;
    `gpus_elsewhere`, where other machines judge, whether some have GPUs: then nothing that was
    measured on this one counts."""
    begun = recorded.get("backend", "")
    wanted = config.backend
    # A torch engine runs fp32 only: with another precision demanded, that decides.
    fits = begun not in TORCH_BACKENDS or config.precision in (AUTO, "fp32")
    if wanted == AUTO and begun in BACKENDS and fits:
        wanted = begun
    if recorded.get("model") != bundle.digest:
        recorded = {}  # another model's table; it is refused for that, not for what this one lacks
    precision, why = config.precision, f"{config.precision} was asked for"
    if precision == AUTO and "precision" in recorded:
        precision = recorded["precision"].partition(" ")[0]
        why = f"the table was begun in {precision}"
    if wanted in TORCH_BACKENDS:
        precision, why = "fp32", "fp32 weights"
    elsewhere = gpus_elsewhere is not None
    on_gpu = _runs_on_gpu(config.device, wanted, gpus_elsewhere)
    if precision == AUTO and (elsewhere or config.shard is not None):
        # What is fastest is measured, and may differ from machine to machine.
        precision = _unmeasured(bundle, on_gpu=on_gpu)
        of_all = (
            "on all nodes" if elsewhere else "in all shards, unless --precision is given to all"
        )
        why = f"{precision} {of_all}"
    found = find_recommendation(bundle, "cuda" if on_gpu else "cpu")
    if found is not None and (elsewhere or not _fits(found, wanted, precision)):
        found = None
    backend = BACKENDS[0] if found is None else found.tiles.backend
    if found is not None:
        precision, why = found.precision, RECOMMENDED
    elif precision == AUTO and on_gpu:
        precision, why = _unmeasured(bundle, on_gpu=True), "a GPU judges"
    backend = backend if wanted == AUTO else wanted
    if recorded and begun and begun != backend:
        why = f"the table was begun with {begun}; {why}"
    return EngineChoice(
        backend=backend,
        precision=precision,
        on_gpu=on_gpu,
        why=why,
        recommendation=found,
        wanted=wanted,
    )


def _unmeasured(bundle: ModelBundle, *, on_gpu: bool) -> str:
    """The precision of every machine of one kind, where none is given and none is measured."""
    reduced = "fp16" if on_gpu else "int8"
    there = {variant.precision for variant in bundle.whole.values()}
    return reduced if reduced in there else "fp32"


def _fits(found: Recommendation, wanted: str, precision: str) -> bool:
    """Whether nothing that is demanded or begun speaks against a recommendation; then all of it
    holds, because its parts were measured together."""
    backends = (AUTO, found.tiles.backend, found.photos.backend)
    return wanted in backends and precision in (AUTO, found.precision)


def _runs_on_gpu(device: str, backend: str, there: bool | None) -> bool:
    """`there`: whether there are GPUs, where it is not this machine's that count."""
    if backend in ("openvino", "tensorrt"):
        return backend == "tensorrt"
    kind = Device.parse(device).kind
    if kind == AUTO:
        return gpu_is_usable(backend) if there is None else there
    return kind == "cuda"


def gpu_is_usable(backend: str) -> bool:
    """Whether an engine may come up on a GPU of this machine, as far as that is known before."""
    if not visible_gpus():
        return False
    if backend in TORCH_BACKENDS:
        return True
    from inspector.engines.onnxruntime import why_no_gpu

    return not why_no_gpu()
