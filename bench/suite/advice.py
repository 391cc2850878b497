"""What the measurements say one should use, and what a scan's `auto` takes from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.suite.engines import USUAL
from bench.suite.inputs import PHOTOS, TILES
from bench.suite.noise import rates_apart
from bench.suite.shares import NEAR, percent_of
from inspector.engines.tuned import Recommendation, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.types import JsonObject

TOLD_APART = 0.05
"""Probability of equal rates looking so different, below which two cases are told apart."""
WORTH_IT = 1.03
"""How many times faster a less exact case must be, in the middle, to be taken."""
HARDLY = 1.1
"""The same where chance may explain it: what a wrong guess may cost."""
_EXACT = ("fp32", "fp16", "bf16", "int8")
_OF_ONE_TABLE = ("precision", "device")


def mark_best(cases: Sequence[JsonObject]) -> None:
    """Fill in `best` and `tied` of every case: by level and input, among those that are right."""
    for case in cases:
        case["best"] = case["tied"] = False
    for group in {(case["level"], case["input"]) for case in cases}:
        right = [c for c in cases if (c["level"], c["input"]) == group and _counts(c)]
        if not right:
            continue
        best = max(right, key=_middle)
        best["best"] = True
        for case in right:
            case["tied"] = case is not best and _tied(case, best)


def _tied(case: JsonObject, other: JsonObject) -> bool:
    """Whether the rates of two cases may well differ by chance alone; with too few rounds to tell,
    they count as different."""
    p_value = rates_apart(case, other)["p_value"]
    return p_value is not None and p_value >= TOLD_APART


def pick(
    cases: Sequence[JsonObject],
    images: str,
    *,
    like: JsonObject | None = None,
) -> JsonObject | None:
    """The scan to use on `tiles` or `photos`: of the fastest, and those hardly slower, the most
    exact; among equally exact ones ONNX Runtime and a scan's own settings come first, so that two
    runs do not disagree by chance, and one that is not shown to be faster than these is not taken.
    `like`: only scans whose rows may stand in one table with those of that case, on the same
    device."""
    scans = [c for c in cases if c["level"] == "scan" and c["input"] == images and _counts(c)
             and (like is None or all(c[key] == like[key] for key in _OF_ONE_TABLE))]  # fmt: skip
    if not scans:
        return None
    best = max(scans, key=_middle)
    near = [c for c in scans if (HARDLY if _tied(c, best) else WORTH_IT) * _middle(c)
            >= _middle(best)]  # fmt: skip
    found = min(near, key=_preference)
    usual = [c for c in scans if _is_usual(c) and c["precision"] == found["precision"]]
    return found if all(_shown_faster(found, case) for case in usual) else usual[0]


def unproven(cases: Sequence[JsonObject], recommendation: JsonObject) -> str:
    """Why the recommended scan of tiles is not proven to be the fastest of those that a scan could
    choose by itself; empty where it is. Of photos it has no choice: one table, one precision."""
    chosen = recommendation[TILES]
    found = next((c for c in cases if chosen and c["id"] == chosen["id"]), None)
    for case in cases:
        if found is None or (case["input"], case["status"]) != (TILES, "ok") or not _is_usual(case):
            continue
        if not _shown_faster(found, case):
            apart = rates_apart(found, case)
            return (
                f"{found['name']} was not shown to be faster than {case['name']} "
                f"({apart['ratio']:.2f} times as many images/s, which chance may explain)"
            )
    return ""


def _is_usual(case: JsonObject) -> bool:
    """A scan as it is without a recommendation, but for its precision."""
    own_settings = case["id"].endswith(f"/{case['input']}")
    usual = bool(case["engine"] == USUAL)
    return case["level"] == "scan" and usual and own_settings


def _shown_faster(case: JsonObject, other: JsonObject) -> bool:
    """Beyond chance; true of a case and itself."""
    low = rates_apart(case, other)["low"]
    return case["id"] == other["id"] or (low is not None and low > 1)


def _preference(case: JsonObject) -> tuple[int, bool, bool, float]:
    """The smaller, the sooner a scan is taken."""
    of_its_own = case["id"].endswith(f"/{case['input']}")
    exactness = _EXACT.index(case["precision"])
    return exactness, case["engine"] != USUAL, not of_its_own, -_middle(case)


def recommend(cases: Sequence[JsonObject], system: JsonObject, *, busy: str = "") -> JsonObject:
    """`recommendation` of results.json. `busy`: what disturbed the run."""
    tiles = pick(cases, TILES)
    found = {TILES: tiles, PHOTOS: pick(cases, PHOTOS, like=tiles)}
    sentences = [_sentence(images, case, cases) for images, case in found.items() if case]
    where = f"On this machine ({system['cpu'] or 'unknown processor'})"
    text = f"{where}: {'; '.join(sentences)}." if sentences else "No scan ran and was right."
    if busy and sentences:
        text += f" Do not rely on it: {busy} meanwhile."
    return {"sentence": text, **{name: case and _choice(case) for name, case in found.items()}}


def _sentence(images: str, case: JsonObject, cases: Sequence[JsonObject]) -> str:
    limit = case["limited_by"]
    share = case["shares"].get(limit, 0.0)
    words = f"limited by {limit} at {percent_of(share)} of its peak" if limit else _shared(case)
    alone = [c for c in cases if c["level"] == "engine" and c["name"] == case["name"] and c["rate"]]
    fastest = max(alone, key=_middle, default=None)
    if limit == "engine alone" and fastest:
        own = fastest["limited_by"] or max(fastest["shares"], default="")
        words = f"limited by the engine at {percent_of(share)} of what it does alone"
        if own:
            words += f", and that by {own} at {percent_of(fastest['shares'][own])} of its peak"
    workers = f"{case['workers']} worker{'' if case['workers'] == 1 else 's'}"
    settings = f"batch {case['batch_size']}, {workers}"
    rate = case["rate"]["median"]
    return f"for {images} {case['name']}, {settings}, {rate:.0f} images/s, {words}"


def _shared(case: JsonObject) -> str:
    """What limits a scan that is near no single ceiling: on a CPU decoding and arithmetic compete
    for the same cores."""
    decoding, engine = (case["shares"].get(name, 0.0) for name in ("JPEG decoding", "engine alone"))
    if case["device"] != "cpu" or decoding + engine < NEAR:
        return "no single limit"
    return (
        f"limited by the cores, which decoding at {percent_of(decoding)} of its peak and the "
        f"engine at {percent_of(engine)} share"
    )


def _choice(case: JsonObject) -> JsonObject:
    return {
        "id": case["id"],
        "name": case["name"],
        "backend": case["engine"],
        "precision": case["precision"],
        "device": case["device"],
        "batch_size": case["batch_size"],
        "workers": case["workers"],
        "images_per_second": case["rate"]["median"],
    }


def advice_of(recommendation: JsonObject) -> Recommendation | None:
    """What a scan's `auto` needs of it; None where no scan was right."""
    tiles, photos = recommendation[TILES], recommendation[PHOTOS]
    engine = tiles or photos
    if engine is None:
        return None
    paces = {
        name: Settings(backend=of["backend"], batch_size=of["batch_size"], workers=of["workers"])
        for name, of in ((TILES, tiles or photos), (PHOTOS, photos or tiles))
    }
    return Recommendation(
        precision=engine["precision"],
        device=engine["device"].partition(":")[0],
        tiles=paces[TILES],
        photos=paces[PHOTOS],
    )


def _counts(case: JsonObject) -> bool:
    return case["status"] == "ok" and case["rate"] is not None


def _middle(case: JsonObject) -> float:
    return float(case["rate"]["median"])
