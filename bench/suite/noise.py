"""Rates of cases with what chance does to them, and their ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.stats import Noise, interval, noise_of, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.types import JsonObject


def add_rates(cases: Sequence[JsonObject]) -> None:
    """Fill in `noise`, what engines alone have in common and what whole paths have, and `rate`, the
    median with its interval; None where nothing was measured."""
    kinds = [case["level"] == "engine" for case in cases]
    for kind in set(kinds):
        alike = [case for case, of in zip(cases, kinds, strict=True) if of is kind]
        noise = noise_of(case["rates"] for case in alike)
        for case in alike:
            case["noise"] = {"variance": noise.variance, "freedom": noise.freedom}
            case["rate"] = interval(case["rates"], noise) if case["rates"] else None


def rates_apart(case: JsonObject, base: JsonObject) -> JsonObject:
    """`bench.stats.ratio` of the rates of two cases."""
    return ratio(case["rates"], base["rates"], _noise(case), _noise(base))


def whole_rates_apart(case: JsonObject, base: JsonObject) -> JsonObject:
    """The same with the start, where that is part of a round."""
    return ratio(_with_start(case), _with_start(base), _noise(case), _noise(base))


def _with_start(case: JsonObject) -> list[float]:
    return [float(rate) for rate in case.get("whole_rates") or case["rates"]]


def _noise(case: JsonObject) -> Noise:
    of = case["noise"]
    return Noise(variance=of["variance"], freedom=of["freedom"])
