"""Which engines judge a scan, and with what else they decide its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inspector.core.machine import usable_cores
from inspector.engines import BACKENDS, TORCH_BACKENDS
from inspector.engines.advice import find_advice
from inspector.engines.device import Device, has_nvidia_driver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.engines.advice import Advice
    from inspector.model.bundle import ModelBundle
    from inspector.scanning.config import ScanConfig

FOLLOWED = "as inspector bench recommends here"
"""Why a scan does as a benchmark on this machine has found best."""
_TORCH_CORE_SECONDS_PER_PIXEL = 0.046 / 224**2
"""ResNet18 in fp32 on one core of a 2-core x86 server; orders of magnitude are enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Which engines judge: what decides the rows beside model and view."""

    backend: str
    precision: str
    core_seconds: float
    """Estimate per photo on the CPU, summed over cores; 0 where a GPU judges."""
    why: str
    advice: Advice | None = None
    """What a benchmark on this machine recommends beside the engines, where they are its own."""


def as_begun(config: ScanConfig, recorded: Mapping[str, str]) -> ScanConfig:
    """The scan with the engine that the table was begun with, by `recorded`, unless one is
    demanded: engines differ in the last digits, and so might the rows of one table."""
    begun = recorded.get("backend")
    if config.backend != "auto" or begun not in BACKENDS:
        return config
    if begun in TORCH_BACKENDS and config.precision not in ("auto", "fp32"):
        return config  # refused for its precision, which is demanded
    return replace(config, backend=begun)


def choose_engines(config: ScanConfig, bundle: ModelBundle, recorded: Mapping[str, str]) -> Engines:
    """The engine and its precision: what is demanded; else what the table was begun with, by
    `recorded`; else what a benchmark recommends here, or the fastest by a short measurement."""
    if recorded.get("model") != bundle.digest:
        recorded = {}  # another model's table; it is refused for that, not for what this one lacks
    engines = _chosen(config, bundle, recorded)
    begun = recorded.get("backend") or engines.backend
    if begun == engines.backend:
        return engines
    return replace(engines, why=f"the table was begun with {begun}; {engines.why}")


def _chosen(config: ScanConfig, bundle: ModelBundle, recorded: Mapping[str, str]) -> Engines:
    if config.backend in TORCH_BACKENDS:
        return _torch(config.backend, bundle)
    precision = _wanted(config, recorded)
    backend = BACKENDS[0] if config.backend == "auto" else config.backend
    advice = find_advice(bundle, "cuda" if gpu_judges(config) else "cpu")
    if advice is not None and not _followed(advice, config, precision):
        advice = None
    if advice is not None:
        precision = advice.precision
        backend = advice.tiles.backend if config.backend == "auto" else backend
        if backend in TORCH_BACKENDS:
            return replace(_torch(backend, bundle), why=FOLLOWED)
    why = FOLLOWED if advice else ""
    if gpu_judges(config):
        if precision == "auto":
            half = any(variant.precision == "fp16" for variant in bundle.variants.values())
            precision = "fp16" if half else "fp32"
        core_seconds, why = 0.0, why or "a GPU judges"
    else:
        from inspector.engines.tuning import choose

        choice = choose(bundle, backend, precision=precision)
        precision, why = choice.precision, why or choice.why
        core_seconds = choice.seconds_per_image * usable_cores()
    return Engines(
        backend=backend,
        precision=precision,
        core_seconds=core_seconds,
        why=why,
        advice=advice,
    )


def _torch(backend: str, bundle: ModelBundle) -> Engines:
    slow = _TORCH_CORE_SECONDS_PER_PIXEL * bundle.preprocess.size**2
    return Engines(backend=backend, precision="fp32", core_seconds=slow, why="fp32 weights")


def _followed(advice: Advice, config: ScanConfig, precision: str) -> bool:
    """Whether nothing that is demanded or begun speaks against it; then all of it holds, because
    its parts were measured together."""
    return config.backend in (
        "auto",
        advice.tiles.backend,
        advice.photos.backend,
    ) and precision in ("auto", advice.precision)


def recorded_engines(
    config: ScanConfig, bundle: ModelBundle, recorded: Mapping[str, str]
) -> Engines:
    """What `choose_engines` comes to for a table with the identity `recorded`, found without
    measuring anything."""
    precision = config.precision
    if config.backend in TORCH_BACKENDS:
        precision = "fp32"
    elif recorded.get("model") == bundle.digest:
        precision = _wanted(config, recorded)
    return Engines(
        backend=BACKENDS[0] if config.backend == "auto" else config.backend,
        precision="fp32" if precision == "auto" else precision,
        core_seconds=0.0,
        why="as the table was begun",
    )


def _wanted(config: ScanConfig, recorded: Mapping[str, str]) -> str:
    """The precision; `auto` where it is free to be chosen."""
    if config.precision == "auto" and "precision" in recorded:
        return recorded["precision"].partition(" ")[0]
    return config.precision


def identity_of(config: ScanConfig, bundle: ModelBundle, engines: Engines) -> dict[str, str]:
    """What decides the rows of a scan; two scans may share a table only if this is equal."""
    thresholds = config.thresholds(bundle.thresholds)
    return {
        "model": bundle.digest,
        "precision": _exactly(bundle, engines.precision),
        "view": view_of(config),
        "clear_below": repr(thresholds.clear_below),
        "crack_from": repr(thresholds.crack_from),
        "out_of_distribution": repr(thresholds.out_of_distribution),
    }


def _exactly(bundle: ModelBundle, precision: str) -> str:
    """fp32 is defined by the weights, other precisions by their file and margin as well."""
    if precision == "fp32":
        return precision
    variant = bundle.variant("onnxruntime", precision)
    margins = f"{variant.margin!r} {variant.ood_margin!r}"
    return f"{precision} {bundle.files[variant.file][:12]} {margins}"


def view_of(config: ScanConfig) -> str:
    return "whole" if config.view == "auto" else config.view


def gpu_judges(config: ScanConfig) -> bool:
    """A guess before the engine is up; a wrong one costs speed, never a verdict."""
    if config.backend in ("openvino", "tensorrt"):
        return config.backend == "tensorrt"
    kind = Device.parse(config.device).kind
    return kind == "cuda" or (kind == "auto" and has_nvidia_driver())
