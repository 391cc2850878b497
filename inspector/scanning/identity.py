"""The identity of a scan's table, which decides whether another scan may continue it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.engines.combined import chain
from inspector.engines.contract import VARIANTS
from inspector.engines.photo import choose_views, dense_variant, screening_variant
from inspector.results.manifest import DENSE, SHARD, THRESHOLDS
from inspector.types import View

if TYPE_CHECKING:
    from inspector.model.bundle import ModelBundle, Variant
    from inspector.scanning.config import ScanConfig


def identity_of(config: ScanConfig, bundle: ModelBundle, precision: str) -> dict[str, str]:
    """Everything that decides the rows of a scan; scans share a table only if it is equal. Raises
    BundleError for a view that the bundle does not have."""
    view = _view_of(config, bundle, precision)
    if precision != "fp32":  # fp32 is defined by the weights, others by file and margins as well
        stages = [each for each in chain(bundle, precision, bundle.thresholds) if each != "fp32"]
        precision = "; ".join(_defined(bundle, bundle.variant(VARIANTS, each)) for each in stages)
    identity = {"model": bundle.digest, "precision": precision, **view}
    each = {"": bundle.thresholds}
    if bundle.dense is not None:
        each[DENSE] = bundle.dense.thresholds
    for prefix, of_model in each.items():
        thresholds = config.thresholds(of_model)
        identity |= {prefix + name: repr(getattr(thresholds, name)) for name in THRESHOLDS}
    identity |= config.scale.identity
    return identity if (shard := config.share()) is None else {**identity, SHARD: str(shard)}


def _view_of(config: ScanConfig, bundle: ModelBundle, precision: str) -> dict[str, str]:
    """The view, and what decides the answers in it."""
    views = choose_views(config.view, bundle)
    if views.big is View.WHOLE:
        return {"view": str(View.WHOLE)}
    if views.big is View.TILES:
        return {"view": config.view, "overlap": repr(config.overlap)}
    stages = [dense_variant(bundle, precision)]
    if bundle.dense is not None:
        thresholds = config.thresholds(bundle.dense.thresholds)
        screening = screening_variant(bundle, precision, thresholds)
        stages = stages if screening is None else [screening, *stages]
    return {"view": config.view, "dense": "; ".join(_defined(bundle, each) for each in stages)}


def _defined(bundle: ModelBundle, variant: Variant) -> str:
    file = bundle.files[variant.file][:12]
    margins = [variant.margin, variant.ood_margin]
    if variant.crack_margin is not None:
        margins.append(variant.crack_margin)
    return " ".join([variant.precision, file, *map(repr, margins)])
