"""Which of a bundle's engines suit this machine's processor: measured once, then remembered."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.core.cache import machine_key, recall, remember
from inspector.core.untrusted import is_number
from inspector.engines import open_engine
from inspector.engines.deferral import DEFERRED
from inspector.errors import InspectorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.model.bundle import ModelBundle
    from inspector.types import JsonObject

WORTH_IT = 1.1
"""How many times faster something must be before it is taken instead of what is more exact."""
_FP32, _INT8 = "fp32", "int8"
_IMAGES = 4
_RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The engines for a scan on the CPU. `seconds_per_image` estimates wall time, all cores."""

    precision: str
    seconds_per_image: float
    why: str


def choose(bundle: ModelBundle, backend: str, *, precision: str) -> Choice:
    """The fastest engines on this machine's CPU within what was asked for: `precision` `auto` or
    a demand.

    Every variant has passed its gate, so only speed decides here. Estimates go by the share of
    images that the gate saw deferred; how many it is depends on the photos.
    """
    speeds = _speeds(bundle, backend)
    full = {name: _with_deferred(speeds, bundle, name) for name in (_FP32, _INT8) if name in speeds}
    if precision == "auto":
        quick = full.get(_INT8, np.inf) * WORTH_IT < full[_FP32]
        precision = _INT8 if quick else _FP32
    measured = ", ".join(f"{name} {1 / seconds:.0f}" for name, seconds in speeds.items())
    return Choice(
        precision=precision,
        seconds_per_image=float(full.get(precision, full[_FP32])),
        why=f"engines measured here: {measured} images/s",
    )


def _with_deferred(speeds: dict[str, float], bundle: ModelBundle, precision: str) -> float:
    """Seconds per image, with the images that fp32 judges again."""
    if not any(bundle.margins(precision)):
        return speeds[precision]
    again = _deferred(bundle.variant("onnxruntime", precision).parity)
    return speeds[precision] + again * speeds[_FP32]


def _deferred(evidence: JsonObject) -> float:
    """The share that a gate saw deferred; all where the bundle does not say."""
    share = evidence.get(DEFERRED, 1.0)
    return float(share) if is_number(share) and 0 <= share <= 1 else 1.0


def _speeds(bundle: ModelBundle, backend: str) -> dict[str, float]:
    """Seconds per image by engine, remembered or measured now."""
    key = machine_key(bundle.files, backend)
    speeds = recall(key)
    if not _are_speeds(speeds):
        speeds = dict(_measure(bundle, backend))
        remember(key, speeds)
    return {str(name): float(seconds) for name, seconds in speeds.items()}


def _are_speeds(found: Any) -> bool:
    """Whether what was remembered can be times; else it is measured again."""
    return (
        isinstance(found, dict)
        and _FP32 in found
        and all(is_number(seconds) and seconds > 0 for seconds in found.values())
    )


def _measure(bundle: ModelBundle, backend: str) -> Iterator[tuple[str, float]]:
    """The best of a few runs on noise: how long an engine takes does not depend on what it sees.
    A quick engine that does not come up on this machine is left out."""
    yield _FP32, _time(bundle, backend, _FP32)
    with suppress(InspectorError):
        if any(variant.precision == _INT8 for variant in bundle.variants.values()):
            yield _INT8, _time(bundle, backend, _INT8)


def _time(bundle: ModelBundle, backend: str, precision: str) -> float:
    size = bundle.preprocess.size
    pixels_NHWC = np.random.default_rng(0).integers(0, 256, (_IMAGES, size, size, 3), np.uint8)
    with closing(open_engine(bundle, backend, device="cpu", precision=precision)) as engine:
        engine.run(pixels_NHWC)
        seconds = []
        for _ in range(_RUNS):
            started = time.perf_counter()
            engine.run(pixels_NHWC)
            seconds.append((time.perf_counter() - started) / _IMAGES)
    return min(seconds)
