"""What results.json must hold, as far as its readers rely on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspector.types import JsonObject

BENCHMARK, FORMAT = "suite", 1
STATUSES = ("ok", "unavailable", "failed")
LEVELS = ("engine", "scan", "peer")

_NUMBER = (int, float)
_NOTHING = type(None)
_TOP: Mapping[str, Any] = {
    "began": str, "seconds": _NUMBER, "mode": str, "method": list, "settings": dict,
    "system": dict, "model": dict, "inputs": dict, "limits": dict, "cases": list,
    "recommendation": dict,
}  # fmt: skip
_CASE: Mapping[str, Any] = {
    "id": str, "level": str, "name": str, "input": str, "batch_size": (int, _NOTHING),
    "workers": (int, _NOTHING), "status": str, "reason": str, "about": str, "rates": list,
    "noise": dict, "rate": (dict, _NOTHING), "runs_ms": list, "latency_ms": (dict, _NOTHING),
    "start_up": dict, "stage_seconds": dict, "usage": dict, "answers": (dict, _NOTHING),
    "shares": dict, "limited_by": str, "best": bool, "tied": bool,
}  # fmt: skip
_RATE: Mapping[str, Any] = {
    "median": _NUMBER, "low": (*_NUMBER, _NOTHING), "high": (*_NUMBER, _NOTHING), "rounds": int
}  # fmt: skip
_NOISE: Mapping[str, Any] = {"variance": _NUMBER, "freedom": _NUMBER}
_LATENCY: Mapping[str, Any] = dict.fromkeys(("p50", "p90", "p95", "p99"), _NUMBER)
_ANSWERS: Mapping[str, Any] = {
    "images": int, "largest_difference": (*_NUMBER, _NOTHING), "other_verdicts": int,
    "missed_cracks": int, "roc_auc": (*_NUMBER, _NOTHING),
    "reference_roc_auc": (*_NUMBER, _NOTHING),
}  # fmt: skip
_LIMIT: Mapping[str, Any] = {
    "what": str, "unit": str, "samples": list, "median": (*_NUMBER, _NOTHING), "reason": str,
    "how": str,
}  # fmt: skip


def damage(results: JsonObject) -> str:
    """What is wrong with it, in a few words; empty when nothing is."""
    if wrong := _misses(results, _TOP) or _misses(results["recommendation"], {"sentence": str}):
        return wrong
    for name, limit in results["limits"].items():
        if wrong := _misses(limit, _LIMIT):
            return f"limit {name!r:.60}: {wrong}"
    known: set[str] = set()
    for number, case in enumerate(results["cases"]):
        wrong = _misses(case, _CASE) or _case_damage(case)
        if not wrong and case["id"] in known:
            wrong = "it stands there twice"
        if wrong:
            name = case.get("id", number) if isinstance(case, dict) else number
            return f"case {name!r:.60}: {wrong}"
        known.add(case["id"])
    return ""


def _case_damage(case: JsonObject) -> str:
    if case["status"] not in STATUSES or case["level"] not in LEVELS:
        return "unknown status or level"
    parts = (
        (case["rate"], _RATE), (case["noise"], _NOISE),
        (case["latency_ms"], _LATENCY), (case["answers"], _ANSWERS),
    )  # fmt: skip
    for part, keys in parts:
        if part is not None and (wrong := _misses(part, keys)):
            return wrong
    if not all(isinstance(times, list) for times in case["runs_ms"]):
        return "'runs_ms' is not a list of lists"
    measured = [*case["rates"], *(ms for times in case["runs_ms"] for ms in times)]
    if not all(_is_positive(value) for value in measured):
        return "a rate or time is no positive number"
    return "" if bool(case["rates"]) == (case["rate"] is not None) else "'rate' without 'rates'"


def _misses(found: object, keys: Mapping[str, Any]) -> str:
    """The first key that is missing or holds something of another type."""
    if not isinstance(found, dict):
        return "no object where one should be"
    for key, types in keys.items():
        if key not in found:
            return f"{key!r} is missing"
        if not isinstance(found[key], types):
            return f"{key!r} holds {type(found[key]).__name__}"
    return ""


def _is_positive(value: object) -> bool:
    return isinstance(value, _NUMBER) and math.isfinite(value) and value > 0
