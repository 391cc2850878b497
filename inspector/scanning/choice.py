"""The choice of a scan's engine, and the identity of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.engines import BACKENDS, TORCH_BACKENDS
from inspector.engines.device import Device, has_nvidia_driver
from inspector.engines.tuned import find_recommendation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.engines.tuned import Recommendation, Settings
    from inspector.model.bundle import ModelBundle
    from inspector.scanning.config import ScanConfig

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
    config: ScanConfig, bundle: ModelBundle, recorded: Mapping[str, str]
) -> EngineChoice:
    """The engine and its precision: what is demanded; else what the table was begun with; else what
    a benchmark on this machine recommends; else ONNX Runtime, in the fastest precision.

    Args:
        config: The scan.
        bundle: Its model.
        recorded: The identity of the table in `config.out` and the engine that it was begun with,
            as `recorded_facts` has them; empty for a new table.
    """
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
    on_gpu = _runs_on_gpu(config.device, wanted)
    found = find_recommendation(bundle, "cuda" if on_gpu else "cpu")
    if found is not None and not _fits(found, wanted, precision):
        found = None
    backend = BACKENDS[0] if found is None else found.tiles.backend
    if found is not None:
        precision, why = found.precision, RECOMMENDED
    elif precision == AUTO and on_gpu:
        half = any(variant.precision == "fp16" for variant in bundle.variants.values())
        precision, why = "fp16" if half else "fp32", "a GPU judges"
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


def _fits(found: Recommendation, wanted: str, precision: str) -> bool:
    """Whether nothing that is demanded or begun speaks against a recommendation; then all of it
    holds, because its parts were measured together."""
    backends = (AUTO, found.tiles.backend, found.photos.backend)
    return wanted in backends and precision in (AUTO, found.precision)


def _runs_on_gpu(device: str, backend: str) -> bool:
    if backend in ("openvino", "tensorrt"):
        return backend == "tensorrt"
    kind = Device.parse(device).kind
    return kind == "cuda" or (kind == AUTO and has_nvidia_driver())


def identity_of(config: ScanConfig, bundle: ModelBundle, precision: str) -> dict[str, str]:
    """Everything that decides the rows of a scan; scans share a table only if it is equal."""
    thresholds = config.thresholds(bundle.thresholds)
    if precision != "fp32":  # fp32 is defined by the weights, others by file and margins as well
        variant = bundle.variant("onnxruntime", precision)
        file = bundle.files[variant.file][:12]
        precision = f"{precision} {file} {variant.margin!r} {variant.ood_margin!r}"
    return {
        "model": bundle.digest,
        "precision": precision,
        "clear_below": repr(thresholds.clear_below),
        "crack_from": repr(thresholds.crack_from),
        "out_of_distribution": repr(thresholds.out_of_distribution),
    }
