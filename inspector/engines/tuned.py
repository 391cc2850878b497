"""Settings that suit this machine: recommended by a benchmark, or measured once and cached."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.machine import get_cached, machine_key, set_cached
from inspector.core.untrusted import checked, is_number
from inspector.engines import open_engine
from inspector.engines.combined import DEFERRED
from inspector.engines.contract import VARIANTS
from inspector.errors import InspectorError
from inspector.model.bundle import NARROW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inspector.engines import Backend
    from inspector.model.bundle import ModelBundle
    from inspector.types import JsonObject

RECOMMENDABLE = ("onnxruntime", "openvino", "tensorrt")
"""Engines that a scan may take without being asked to: those that read data."""
WORTH_IT = 1.1
"""Speed of int8 relative to fp32 from which it is taken instead."""
_FP32, _INT8 = "fp32", "int8"
_TRIED = (_INT8, NARROW)
"""Precisions beside fp32, the more exact ones first."""
_IMAGES = 4
_RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An engine, and how a scan shares the machine with it."""

    backend: str
    batch_size: int
    workers: int

    def __post_init__(self) -> None:
        """Raises ValueError for settings that no scan can have."""
        if self.backend not in RECOMMENDABLE or self.batch_size < 1 or self.workers < 0:
            raise ValueError(f"no settings for a scan: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The engine and settings that `inspector bench` has found best on this machine for one bundle.

    The precision is one for all photos, because a table has rows of one kind.
    """

    precision: str
    device: str
    """Device that was measured: `cpu` or `cuda`."""
    tiles: Settings
    """Settings for files that decode quickly."""
    photos: Settings
    """Settings for large files."""


def keep_recommendation(bundle: ModelBundle, recommendation: Recommendation) -> None:
    """Cache it for this bundle on this machine, in place of an earlier one."""
    set_cached(_recommendation_key(bundle, recommendation.device), asdict(recommendation))


def find_recommendation(bundle: ModelBundle, device: str) -> Recommendation | None:
    """The cached recommendation for `cpu` or `cuda`; None if no benchmark ran here with this bundle
    and these versions of the engines."""
    with suppress(ValueError):  # nothing, or nothing that this version wrote
        return checked(Recommendation, get_cached(_recommendation_key(bundle, device)))
    return None


def _recommendation_key(bundle: ModelBundle, device: str) -> str:
    return machine_key(bundle.files, f"recommended on {device}")


def fastest_precision(
    bundle: ModelBundle,
    backend: str = "onnxruntime",
    *,
    threads: int | None = None,
    opened: dict[str, Backend] | None = None,
    deferred: Callable[[Backend], float | None] = lambda _: None,
) -> tuple[str, str]:
    """The precision, fp32, int8 or narrow, in which this machine's CPU judges fastest, and one
    sentence with the figures that decided.

    Every variant has passed its gate, so only speed decides, with the share of photos that its gate
    saw deferred. It is measured once per bundle and machine, then cached. Where narrow could be the
    fastest, `deferred` may look what share of the photos that are waiting its engine leaves to the
    model; None: it cannot tell. `opened` takes the engines that were opened for it, by precision,
    for the caller to use and to close; without it they are closed here.
    """
    engines: dict[str, Backend] = {} if opened is None else opened
    try:
        speeds = _cached_speeds(bundle, backend)
        if not speeds:
            speeds = _measure(bundle, backend, threads, engines)
            set_cached(machine_key(bundle.files, backend), speeds)
        rates = ", ".join(f"{name} {1 / speeds[name]:.0f}" for name in speeds)
        why = f"engines measured here: {rates} images/s"
        share = None
        if _fastest(speeds, bundle, share=0.0) == NARROW:
            if NARROW not in engines:
                engines[NARROW] = open_engine(
                    bundle, backend, device="cpu", precision=NARROW, threads=threads
                )
            share = deferred(engines[NARROW])
            if share is not None:
                why += f"; of these photos {NARROW} leaves about {share:.0%} to the model"
        best = _fastest(speeds, bundle, share)
    finally:
        if opened is None:
            for engine in engines.values():
                engine.close()
    return best, why


def _fastest(speeds: Mapping[str, float], bundle: ModelBundle, share: float | None = None) -> str:
    """The fastest precision, where less exact ones must win clearly; `share` is that of the photos
    which narrow defers, as in `_with_deferred`."""
    best, seconds = _FP32, speeds[_FP32]
    for name in filter(speeds.__contains__, _TRIED):
        of_it = _with_deferred(speeds, bundle, name, share if name == NARROW else None)
        if of_it * WORTH_IT < seconds:
            best, seconds = name, of_it
    return best


def known_seconds(bundle: ModelBundle, backend: str, precision: str) -> float | None:
    """Seconds per image on all cores of this machine; None unless they were measured before."""
    speeds = _cached_speeds(bundle, backend)
    return _with_deferred(speeds, bundle, precision) if precision in speeds else None


def _with_deferred(
    speeds: Mapping[str, float], bundle: ModelBundle, precision: str, share: float | None = None
) -> float:
    """Seconds per image, with the images that are deferred. How many these are depends on the
    photos; the estimate is the `share` of the first stage, where it is given, and else that of all
    which each gate saw, or all where it is not known."""
    seconds = speeds[precision]
    while (after := bundle.after(precision)) is not None:
        if share is None:
            seen = bundle.variant(VARIANTS, precision).parity.get(DEFERRED, 1.0)
            share = float(seen) if is_number(seen) and 0 <= seen <= 1 else 1.0
        seconds += share * speeds.get(after, inf)
        precision, share = after, None
    return seconds


def _cached_speeds(bundle: ModelBundle, backend: str) -> dict[str, float]:
    """Seconds per image by precision; empty unless the cache holds what can be times."""
    found = get_cached(machine_key(bundle.files, backend))
    if not isinstance(found, dict) or _FP32 not in found:
        return {}
    if not all(is_number(seconds) and seconds > 0 for seconds in found.values()):
        return {}
    return {str(name): float(seconds) for name, seconds in found.items()}


def _measure(
    bundle: ModelBundle, backend: str, threads: int | None, opened: dict[str, Backend]
) -> JsonObject:
    """Seconds per image by precision; without those that do not come up on this machine."""

    def measured(precision: str) -> float:
        engine = open_engine(bundle, backend, device="cpu", precision=precision, threads=threads)
        opened[precision] = engine
        return _time(engine, bundle.preprocess.size)

    speeds = {_FP32: measured(_FP32)}
    there = {variant.precision for variant in bundle.whole.values()}
    for precision in filter(there.__contains__, _TRIED):
        with suppress(InspectorError):
            speeds[precision] = measured(precision)
    return speeds


def _time(engine: Backend, size: int) -> float:
    """Seconds per image, the best of a few runs on noise: an engine takes as long for any image."""
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (_IMAGES, size, size, 3), np.uint8)
    engine.run(pixels_NHWC)
    seconds = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        engine.run(pixels_NHWC)
        seconds.append((time.perf_counter() - started) / _IMAGES)
    return min(seconds)
