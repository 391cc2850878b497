"""Which cases stand together in a report, in which order, and what they are called there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inspector.types import JsonObject

ENGINE, SCAN, PEER = "engine", "scan", "peer"
KNOWN_INPUTS = ("tiles", "photos")


def inputs(results: JsonObject) -> list[str]:
    """Kinds of images that whole paths ran on, tiles first."""
    found = {case["input"] for case in results["cases"] if case["level"] != ENGINE}
    return sorted(found, key=lambda name: (name not in KNOWN_INPUTS, name != "tiles", name))


def right(cases: Iterable[JsonObject]) -> list[JsonObject]:
    """Those whose figures count, fastest first."""
    measured = [case for case in cases if case["status"] == "ok" and case["rate"]]
    return sorted(measured, key=lambda case: -case["rate"]["median"])


def paths(results: JsonObject, images: str) -> list[JsonObject]:
    """Scans and peers on one kind of images, fastest first."""
    return right(c for c in results["cases"] if c["level"] != ENGINE and c["input"] == images)


def engines(results: JsonObject) -> list[JsonObject]:
    """Engines alone at each batch size, fastest first."""
    return right(case for case in results["cases"] if case["level"] == ENGINE)


def at_best(cases: Iterable[JsonObject]) -> list[JsonObject]:
    """Of each program the fastest case; in the order given, which is fastest first."""
    first: dict[str, JsonObject] = {}
    for case in cases:
        first.setdefault(case["name"], case)
    return list(first.values())


def curves(results: JsonObject, most: int) -> list[tuple[str, list[JsonObject]]]:
    """The `most` fastest engines with all their batch sizes, smallest first."""
    cases = engines(results)
    names = [case["name"] for case in at_best(cases)][:most]
    return [
        (name, sorted((c for c in cases if c["name"] == name), key=lambda c: c["batch_size"]))
        for name in names
    ]


def failed(results: JsonObject) -> list[JsonObject]:
    """Cases that broke or gave wrong answers; an engine once, not for each batch size."""
    return _once(case for case in results["cases"] if case["status"] == "failed")


def unavailable(results: JsonObject) -> list[JsonObject]:
    """Cases that this machine cannot run."""
    return _once(case for case in results["cases"] if case["status"] == "unavailable")


def _once(cases: Iterable[JsonObject]) -> list[JsonObject]:
    return list({(c["level"], c["name"], c["input"], c["reason"]): c for c in cases}.values())


def label(case: JsonObject) -> str:
    """What a case is called among its group: the program, and the settings that make it another
    case than the program as it comes."""
    if case["level"] == ENGINE:
        size = case["batch_size"]
        return f"{case['name']}, batch {size}" if size else str(case["name"])
    given = ["1 worker" if part == "1 workers" else part for part in case["id"].split("/")[3:]]
    return ", ".join([case["name"], *given])


def called(case: JsonObject) -> str:
    """The label where peers stand among scans."""
    return f"peer: {label(case)}" if case["level"] == PEER else label(case)


def fastest_known(cases: Iterable[JsonObject]) -> list[JsonObject]:
    """The fastest case and those not told apart from it."""
    return [case for case in cases if case["best"] or case["tied"]]
