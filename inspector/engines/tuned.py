"""Settings that suit this machine: recommended by a benchmark, or measured once and cached."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.core.machine import get_cached, machine_key, set_cached
from inspector.core.untrusted import checked, is_number
from inspector.engines import open_engine
from inspector.engines.combined import DEFERRED
from inspector.errors import InspectorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.engines import Backend
    from inspector.model.bundle import ModelBundle
    from inspector.types import JsonObject

RECOMMENDABLE = ("onnxruntime", "openvino", "tensorrt")
"""Engines that a scan may take without being asked to: those that read data."""
WORTH_IT = 1.1
"""Speed of int8 relative to fp32 from which it is taken instead."""
_FP32, _INT8 = "fp32", "int8"
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
    found = get_cached(_recommendation_key(bundle, device))
    try:
        tiles, photos = (checked(Settings, found[name]) for name in ("tiles", "photos"))
        return checked(Recommendation, found | {"tiles": tiles, "photos": photos})
    except (TypeError, KeyError, ValueError):  # nothing, or nothing that this version wrote
        return None


def _recommendation_key(bundle: ModelBundle, device: str) -> str:
    return machine_key(bundle.files, f"recommended on {device}")


def fastest_precision(
    bundle: ModelBundle,
    backend: str = "onnxruntime",
    *,
    threads: int | None = None,
    opened: dict[str, Backend] | None = None,
) -> tuple[str, str]:
    """The precision, fp32 or int8, in which this machine's CPU judges fastest, and one sentence
    with the speeds that decided.

    Every variant has passed its gate, so only speed decides. It is measured once per bundle and
    machine, then cached. `opened` takes the engines that were opened for it, by precision, for the
    caller to use and to close; without it they are closed here.
    """
    engines: dict[str, Backend] = {} if opened is None else opened
    try:
        speeds = _cached_speeds(bundle, backend)
        if not speeds:
            speeds = _measure(bundle, backend, threads, engines)
            set_cached(machine_key(bundle.files, backend), speeds)
    finally:
        if opened is None:
            for engine in engines.values():
                engine.close()
    seconds = {name: _with_deferred(speeds, bundle, name) for name in speeds}
    quick = seconds.get(_INT8, np.inf) * WORTH_IT < seconds[_FP32]
    rates = ", ".join(f"{name} {1 / speeds[name]:.0f}" for name in speeds)
    return _INT8 if quick else _FP32, f"engines measured here: {rates} images/s"


def known_seconds(bundle: ModelBundle, backend: str, precision: str) -> float | None:
    """Seconds per image on all cores of this machine; None unless they were measured before."""
    speeds = _cached_speeds(bundle, backend)
    return _with_deferred(speeds, bundle, precision) if precision in speeds else None


def _with_deferred(speeds: Mapping[str, float], bundle: ModelBundle, precision: str) -> float:
    """Seconds per image, with the images that are deferred to fp32. How many these are depends on
    the photos; the estimate is the share that the export gate saw, or all where it is not known."""
    if not any(bundle.margins(precision)):
        return speeds[precision]
    share = bundle.variant("onnxruntime", precision).parity.get(DEFERRED, 1.0)
    share = float(share) if is_number(share) and 0 <= share <= 1 else 1.0
    return speeds[precision] + share * speeds[_FP32]


def _cached_speeds(bundle: ModelBundle, backend: str) -> dict[str, float]:
    """Seconds per image by precision; empty unless they were measured before."""
    found = get_cached(machine_key(bundle.files, backend))
    return {str(name): float(s) for name, s in found.items()} if _are_speeds(found) else {}


def _are_speeds(found: Any) -> bool:
    """Whether what the cache holds can be times; if not, they are measured again."""
    return (
        isinstance(found, dict)
        and _FP32 in found
        and all(is_number(seconds) and seconds > 0 for seconds in found.values())
    )


def _measure(
    bundle: ModelBundle, backend: str, threads: int | None, opened: dict[str, Backend]
) -> JsonObject:
    """Seconds per image by precision; without int8 where that does not come up on this machine."""

    def measured(precision: str) -> float:
        engine = open_engine(bundle, backend, device="cpu", precision=precision, threads=threads)
        opened[precision] = engine
        return _time(engine, bundle.preprocess.size)

    speeds = {_FP32: measured(_FP32)}
    if any(variant.precision == _INT8 for variant in bundle.whole.values()):
        with suppress(InspectorError):
            speeds[_INT8] = measured(_INT8)
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
