"""What else changed between two results, in sentences: a ratio of figures from two machines says
nothing about two versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.types import JsonObject

_MACHINE: Mapping[str, str] = {
    "cpu": "processor",
    "cpu_flags": "processor's instructions",
    "cpu_governor": "frequency governor",
    "physical_cores": "cores",
    "usable_cores": "usable cores",
    "container_cores": "container's cores",
    "container_memory_gib": "container's memory, GiB",
    "memory_gib": "memory, GiB",
    "gpus": "GPU",
    "platform": "operating system",
}
_DRIVER = re.compile(r", driver [^,]+")
"""In a GPU's description; another driver is another version and no other machine."""
_SOFTWARE: Mapping[str, str] = {
    "crack-inspector": "inspector",
    "python": "Python",
    "driver": "NVIDIA driver",
    "cuda": "CUDA",
}
BUSY = 0.5
"""Load average per core at the start, from which the machine was not idle."""


def differences(a: JsonObject, b: JsonObject) -> Iterator[str]:
    """One sentence each, from A to B."""
    yield from _machine(a["system"], b["system"])
    if a["model"].get("digest") != b["model"].get("digest"):
        yield f"Another model: {_model(a)} in A, {_model(b)} in B."
    for name in dict.fromkeys((*a["inputs"], *b["inputs"])):
        one, other = a["inputs"].get(name), b["inputs"].get(name)
        if one != other:
            yield f"Other {name}: {_images(one)} in A, {_images(other)} in B."
    versions = list(_versions(a["system"], b["system"]))
    if versions:
        yield f"Other versions: {', '.join(versions)}."
    if a["mode"] != b["mode"]:
        yield f"Another mode: {a['mode']} in A, {b['mode']} in B."
    for side, results in (("A", a), ("B", b)):
        yield from _busy(side, results["system"])


def _machine(a: JsonObject, b: JsonObject) -> Iterator[str]:
    changed = [
        f"{words} {one} in A, {other} in B"
        for key, words in _MACHINE.items()
        if (one := _plain(a.get(key))) != (other := _plain(b.get(key)))
    ]
    if changed:
        yield f"Another machine: {'; '.join(changed)}. The ratios compare machines, not versions."


def _versions(a: JsonObject, b: JsonObject) -> Iterator[str]:
    one, other = (
        {**system.get("packages", {})}
        | {words: system.get(key) for key, words in _SOFTWARE.items()}
        for system in (a, b)
    )
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):
            yield f"{name} {one.get(name) or 'missing'} in A, {other.get(name) or 'missing'} in B"


def _busy(side: str, system: JsonObject) -> Iterator[str]:
    load, cores = system.get("load_average"), system.get("usable_cores")
    if load and cores and load > BUSY * cores:
        yield f"{side} began on a busy machine: load average {load:g} on {cores} cores."


def _model(results: JsonObject) -> str:
    return f"{results['model'].get('name')} {str(results['model'].get('digest'))[:12]}"


def _images(facts: JsonObject | None) -> str:
    if not facts:
        return "none"
    size = f"{facts.get('width')} x {facts.get('height')} px"
    return f"{facts.get('files')} of {size}, {facts.get('megabytes')} MB, {facts.get('origin')}"


def _plain(value: object) -> str:
    if isinstance(value, list):
        return _DRIVER.sub("", " ".join(map(str, value))) or "none"
    return "unknown" if value is None else str(value)
