"""Figures and findings in words; the page, the Markdown and the terminal say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import figure
from bench.suite.noise import whole_rates_apart
from bench.suite.report.groups import ENGINE, PEER, label
from bench.suite.shares import exceeded, percent_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from inspector.types import JsonObject

STAGES: Mapping[str, str] = {
    "start": "starting up",
    "load": "waiting for images",
    "engine": "waiting for the engine",
    "judge": "verdicts",
    "write": "writing the table",
}
"""The scan's stages; it decodes and runs the engine beside its loop, so it can only wait."""
STARTS: Mapping[str, str] = {
    "import_s": "imports",
    "open_s": "opening",
    "first_run_s": "first run",
    "start_s": "until the first images",
}
_GROUPS: Mapping[str, str] = {"tiles": "Tiles", "photos": "Photos"}


def rate(case: JsonObject) -> str:
    """Images per second with the interval, as in `312 (305..320)`."""
    of = case["rate"]
    if of is None:
        return "-"
    return f"{figure(of['median'])}{interval(case)}"


def interval(case: JsonObject) -> str:
    of = case["rate"]
    if of["low"] is None or of["high"] is None:
        return " (one round)"
    return f" ({figure(of['low'])}..{figure(of['high'])})"


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{figure(value)} s"


def heading(name: str, facts: JsonObject | None) -> str:
    """Of one kind of images, such as `Tiles, 227 x 227 px`."""
    title = _GROUPS.get(name, name)
    if not facts:
        return title
    width, height = facts["width"], facts["height"]
    millions = width * height / 1e6
    size = f"{width} x {height} px" + (f", {millions:.0f} MP" if millions >= 1 else "")
    return f"{title}, {size}"


def findings(cases: Sequence[JsonObject]) -> list[str]:
    """What a group of cases that were right, fastest first, says about its fastest."""
    if not cases:
        return ["Nothing here ran and was right."]
    own = [case for case in cases if case["level"] != PEER]
    peers = [case for case in cases if case["level"] == PEER]
    return [*_tie(own), *_against_peers(own, peers), *_wrong_ceilings(cases)]


def _wrong_ceilings(cases: Sequence[JsonObject]) -> Iterator[str]:
    wrong: dict[str, JsonObject] = {}
    for case in cases:
        for name, share in case["shares"].items():
            if exceeded(share):
                wrong.setdefault(name, case)
    for name, case in wrong.items():
        yield (
            f"{label(case)} reaches {percent_of(case['shares'][name])} of {name}: that is no "
            "ceiling, and shares of it say little."
        )


def _tie(cases: Sequence[JsonObject]) -> Iterator[str]:
    best = next((case for case in cases if case["best"]), None)
    if best is None:
        return
    others = [label(case) for case in cases if case["tied"]]
    if others:
        yield f"Fastest: {label(best)}. Not distinguishable from it: {', '.join(others)}."
    elif len(cases) == 1:
        yield f"Only {label(best)} was measured."
    elif best["rate"]["low"] is None:
        yield f"Fastest: {label(best)}; one round does not say whether by chance."
    else:
        yield f"Fastest: {label(best)}, beyond what chance explains."


def _against_peers(own: Sequence[JsonObject], peers: Sequence[JsonObject]) -> Iterator[str]:
    """How the fastest scan compares with the fastest other program."""
    if not own or not peers:
        return
    of, name = whole_rates_apart(own[0], peers[0]), label(peers[0])
    low, high = of["low"], of["high"]
    if low is None or high is None:
        yield f"The fastest peer is {name}; too few rounds to compare it with the fastest scan."
    elif low <= 1 <= high:
        yield f"The fastest peer, {name}, is not distinguishable from the fastest scan."
    else:
        yield (
            f"Start-up included, the fastest scan, {label(own[0])}, does {of['ratio']:.2f} times "
            f"as many images/s as the fastest peer, {name} (95 %: {low:.2f}..{high:.2f})."
        )


def mark(case: JsonObject) -> str:
    """Beside a case in a table; peers compete with each other."""
    word = "fastest" if case["best"] else "tied" if case["tied"] else ""
    return f"{word} peer" if word and case["level"] == PEER else word


def shares(case: JsonObject) -> str:
    """All shares of ceilings, the largest first."""
    found = sorted(case["shares"].items(), key=lambda share: -share[1])
    return ", ".join(f"{name} {percent_of(value)}" for name, value in found) or "-"


def limit(case: JsonObject) -> str:
    """What limits a case."""
    return case["limited_by"] or "no single ceiling"


def subject(case: JsonObject) -> str:
    """A case outside its group, as in `scan of photos: onnxruntime int8`."""
    if case["level"] == ENGINE:
        return f"engine {label(case)}"
    kind = "scan" if case["level"] == "scan" else "peer"
    return f"{kind} of {case['input']}: {label(case)}"


def trouble(case: JsonObject) -> str:
    return str(case["reason"] or "no reason is known")


def difference(case: JsonObject) -> str:
    """Largest difference of a probability from the reference's."""
    value = case["answers"]["largest_difference"]
    return "no number" if value is None else f"{value:.1g}" if value < 0.001 else f"{value:.3f}"


def scale(results: JsonObject) -> str:
    """How the run was made, for the head of a report."""
    minutes, spent = divmod(round(results["seconds"]), 60)
    lasted = f"{minutes} min {spent} s" if minutes else f"{spent} s"
    return f"{results['mode']} mode, {lasted}, begun {results['began'].replace('T', ' ')}"


def plain(value: object) -> str:
    """A setting or a fact of the system."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(of)}" for name, of in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return "unknown" if value is None else str(value)


def plain_or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def cpu(case: JsonObject) -> str:
    """Processor time of all cores."""
    value = case["usage"].get("cpu_percent")
    return "-" if value is None else f"{value:.0f} %"


def other(case: JsonObject) -> str:
    """Verdicts unlike the reference's, of how many."""
    answers = case["answers"]
    return f"{answers['other_verdicts']} of {answers['images']}" if answers else "-"


def latency(case: JsonObject, *names: str) -> list[str]:
    """Milliseconds of a batch, by percentile."""
    times = case["latency_ms"]
    return [figure(times[name]) if times else "-" for name in names]


def between(case: JsonObject) -> str:
    """The interval alone."""
    of = case["rate"]
    if of["low"] is None:
        return "one round"
    return f"{figure(of['low'])} to {figure(of['high'])}"


def gpu(case: JsonObject) -> str:
    value = case["usage"].get("gpu_percent")
    return "-" if value is None else f"{value:.0f} %"


def auc(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def answered(results: JsonObject) -> list[JsonObject]:
    """Cases whose answers were compared; an engine's are those of all its batch sizes."""
    found = {answering(case): case for case in results["cases"] if case["answers"]}
    return list(found.values())


def answering(case: JsonObject) -> str:
    return f"engine {case['name']}" if case["level"] == ENGINE else subject(case)


def machine(system: JsonObject) -> str:
    """The system in one line."""
    cores = system.get("usable_cores")
    words = [str(system.get("cpu") or "unknown processor"), f"{cores} cores" if cores else ""]
    memory = system.get("memory_gib")
    words += [f"{memory} GiB" if memory else "", *map(str, system.get("gpus") or ())]
    return ", ".join(filter(None, [*words, str(system.get("platform") or "")]))
