"""How much of the machine's own ceilings a case reaches, and so what limits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.core.machine import usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inspector.model.bundle import ModelBundle
    from inspector.types import JsonObject

_EXCEEDED = 1.005
"""Shown as more than 100 %."""
NEAR = 0.5
"""Share of a ceiling from which it is said to be the limit; below, something else is, such as
starting up, waiting or copying."""


def operations(bundle: ModelBundle, size: int | None = None) -> float:
    """Arithmetic operations per image, two per multiply-add, counted by torch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from inspector.model.network import load_deployed

    side = size or bundle.preprocess.size
    images = torch.zeros((1, side, side, 3), dtype=torch.uint8)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        load_deployed(bundle)(images)
    return float(counter.get_total_flops())


def arithmetic_share(case: JsonObject, limits: JsonObject, per_image: float) -> JsonObject:
    """The share of the matrix rate of the case's own precision and device, by name; empty where
    that ceiling is not known."""
    device = "cuda_" if str(case["device"]).startswith("cuda") else ""
    peak = _peak(limits, f"{device}{case['precision']}")
    if not case["rate"] or not peak:
        return {}
    reached = case["rate"]["median"] * per_image / 1e9
    return {f"{case['precision']} arithmetic": reached / peak}


def path_shares(case: JsonObject, limits: JsonObject, alone: float | None) -> JsonObject:
    """Shares of a whole path without its start: of its engine alone (`alone`, images/s), and of
    decoding with all cores."""
    if not case["rate"]:
        return {}
    rate, found = case["rate"]["median"], {}
    if alone:
        found["engine alone"] = rate / alone
    per_core = _peak(limits, f"jpeg_{case['input']}")
    if per_core:
        found["JPEG decoding"] = rate / (per_core * usable_cores())
    return found


def percent_of(share: float) -> str:
    """A share of a ceiling; of one that is exceeded it says that it is none."""
    return f"{share * 100:.0f} %" + (" (measured too low)" if exceeded(share) else "")


def exceeded(share: float) -> bool:
    """Nothing does more than the most: then that was not the most."""
    return share >= _EXCEEDED


def limited_by(shares: Mapping[str, float]) -> str:
    """The ceiling of which most is reached, where that is much of it."""
    name = max(shares, key=lambda n: shares[n], default="")
    return name if name and shares[name] >= NEAR else ""


def add_shares(cases: Sequence[JsonObject], limits: JsonObject, per_image: float) -> None:
    """Fill in `shares` and `limited_by` of every case."""
    alone: dict[str, float] = {}
    for case in cases:
        if case["level"] == "engine" and case["rate"]:
            # The highest, as of other ceilings: whatever slowed the others down is none.
            alone[case["name"]] = max(alone.get(case["name"], 0.0), *case["rates"])
    for case in cases:
        if case["level"] == "engine":
            shares = arithmetic_share(case, limits, per_image)
        else:
            known = alone.get(case["name"]) if case["level"] == "scan" else None
            shares = path_shares(case, limits, known)
        case["shares"], case["limited_by"] = shares, limited_by(shares)


def _peak(limits: JsonObject, name: str) -> float | None:
    """The highest sample: whatever slowed the others down is no ceiling."""
    return max(limits.get(name, {}).get("samples", ()), default=None)
