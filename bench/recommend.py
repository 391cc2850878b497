"""Recommendation from the measurements, and whether scans on this machine follow it."""

from __future__ import annotations

from collections.abc import Sequence

from bench.ceilings import ARITHMETIC, DECODING, ENGINE_ALONE, NEAR, limited_by, percent_of
from bench.config import BenchConfig
from bench.engines import USUAL
from bench.inputs import PHOTOS, TILES
from bench.results import ENGINE, FAILED, SCAN, Case, Choice, Recommendation, Results
from bench.rounds import ratio_of
from inspector.engines import tuned
from inspector.model.bundle import ModelBundle

WORTH_IT = 1.03
"""Ratio of medians from which a less exact scan is taken."""
HARDLY = 1.1
"""The ratio where chance may explain it: what a wrong guess may cost."""
_EXACT = ("fp32", "fp16", "bf16", "int8", "narrow")


def mark_best(cases: Sequence[Case]) -> None:
    """Fill in `best` and `tied` of every case, by level and input, among those that are right."""
    for case in cases:
        group = [c for c in cases if (c.level, c.input) == (case.level, case.input) and c.counts]
        best = max(group, key=lambda c: c.median, default=None)
        case.best = case is best
        case.tied = best is not None and case.counts and not case.best and _tied(case, best)


def _tied(case: Case, best: Case) -> bool:
    """Whether chance may explain that a case is slower; with too few rounds to tell, it is."""
    ratio = ratio_of(case.rates, best.rates)
    return ratio.low is not None and not ratio.differs_from_one


def pick(cases: Sequence[Case], images: str, *, like: Case | None = None) -> Case | None:
    """The scan to use on `images`, `tiles` or `photos`; with `like`, of those whose rows may stand
    in one table with that one's, on the same device.

    The most exact one of the fastest and those hardly slower; among equally exact ones ONNX Runtime
    and a scan's own settings come first, so that two runs do not disagree by chance, and one that
    is not shown to be faster than these is not taken. A loader is not recommended: a scan takes it
    by its device.
    """
    scans = [c for c in cases if c.level == SCAN and c.input == images and c.counts
             and not c.id.endswith(" loader")]  # fmt: skip
    if like is not None:
        scans = [c for c in scans if (c.precision, c.device) == (like.precision, like.device)]
    if not scans:
        return None
    best = max(scans, key=lambda c: c.median)
    near = [c for c in scans if (HARDLY if _tied(c, best) else WORTH_IT) * c.median >= best.median]
    found = min(near, key=_preference)
    usual = [c for c in scans if _is_usual(c) and c.precision == found.precision]
    return found if all(_shown_faster(found, case) for case in usual) else usual[0]


def unproven(cases: Sequence[Case], recommendation: Recommendation) -> str:
    """Why the recommended scan of tiles is not proven to be the fastest of those that a scan could
    choose by itself; empty where it is. Of photos it has no choice: one table, one precision."""
    chosen = recommendation.tiles
    found = next((c for c in cases if chosen and c.id == chosen.id), None)
    rivals = [c for c in cases if c.input == TILES and c.counts and _is_usual(c)]
    rival = next((c for c in rivals if found and not _shown_faster(found, c)), None)
    if found is None or rival is None:
        return ""
    ratio = ratio_of(found.rates, rival.rates)
    return (
        f"{found.name} was not shown to be faster than {rival.name} "
        f"({ratio.median:.2f} times as many images/s, which chance may explain)"
    )


def _is_usual(case: Case) -> bool:
    """Whether it is a scan as it is without a recommendation, but for its precision."""
    return case.level == SCAN and case.engine == USUAL and case.id.endswith(f"/{case.input}")


def _shown_faster(case: Case, other: Case) -> bool:
    """Beyond chance; true of a case and itself."""
    low = ratio_of(case.rates, other.rates).low
    return case is other or (low is not None and low > 1)


def _preference(case: Case) -> tuple[int, bool, bool, float]:
    """The smaller, the sooner a scan is taken."""
    exactness = _EXACT.index(case.precision)
    return exactness, case.engine != USUAL, not case.id.endswith(f"/{case.input}"), -case.median


def recommend(cases: Sequence[Case], cpu: str | None, *, busy: str = "") -> Recommendation:
    """The recommendation in words and figures; `busy` is what disturbed the measurement."""
    tiles = pick(cases, TILES)
    found = {TILES: tiles, PHOTOS: pick(cases, PHOTOS, like=tiles)}
    right = {images: case for images, case in found.items() if case}
    used = [f"{case.name} for {name}, {case.median:.0f} images/s" for name, case in right.items()]
    where = f"On this machine ({cpu or 'unknown processor'})"
    text = f"{where} use {'; '.join(used)}." if used else "No scan ran and was right."
    if busy and used:
        text += f" Do not rely on it: {busy} meanwhile."
    limits = [f"{name.capitalize()}: {_limit(case, cases)}." for name, case in right.items()]
    choices = {images: _choice(case) for images, case in right.items()}
    return Recommendation(
        sentence=text,
        limits=" ".join(limits),
        tiles=choices.get(TILES),
        photos=choices.get(PHOTOS),
    )


def _limit(case: Case, cases: Sequence[Case]) -> str:
    """Limit of a scan, in words. On a CPU decoding and arithmetic compete for the cores."""
    limit = limited_by(case)
    decoding, engine = case.shares.get(DECODING, 0.0), case.shares.get(ENGINE_ALONE, 0.0)
    if not limit and case.device == "cpu" and decoding + engine >= NEAR:
        return (
            f"limited by the cores, which decoding at {percent_of(decoding)} of its peak and the "
            f"engine at {percent_of(engine)} share"
        )
    if not limit:
        return "no single limit"
    if limit != ENGINE_ALONE:
        return f"limited by {limit} at {percent_of(decoding)} of its peak"
    words = f"limited by the engine at {percent_of(engine)} of what it does alone"
    alone = [c for c in cases if c.level == ENGINE and c.name == case.name and c.counts]
    shares = max(alone, key=lambda c: c.median).shares if alone else {}
    arithmetic = f"{case.precision} {ARITHMETIC}"
    if arithmetic in shares:
        words += f", and that by {arithmetic} at {percent_of(shares[arithmetic])} of its peak"
    return words


def _choice(case: Case) -> Choice:
    same = ("id", "name", "precision", "device", "batch_size", "workers")
    settings = {name: getattr(case, name) for name in same}
    return Choice(backend=case.engine, images_per_second=case.median, **settings)


def tuned_by(recommendation: Recommendation) -> tuned.Recommendation | None:
    """Part of a recommendation that a scan's `auto` follows; None where no scan was right."""
    tiles = recommendation.tiles or recommendation.photos
    photos = recommendation.photos or recommendation.tiles
    if tiles is None or photos is None:
        return None
    return tuned.Recommendation(
        precision=tiles.precision,
        device=tiles.device.partition(":")[0],
        tiles=_settings(tiles),
        photos=_settings(photos),
    )


def _settings(choice: Choice) -> tuned.Settings:
    return tuned.Settings(
        backend=choice.backend, batch_size=choice.batch_size, workers=choice.workers
    )


def remember(config: BenchConfig, bundle: ModelBundle, results: Results) -> None:
    """Let scans on this machine follow the recommendation, if it was asked for and can be relied
    on; fill in `remembered`, which says so, or why not."""
    found = results.recommendation
    follow = tuned_by(found)
    if follow is None:
        found.remembered = "Not remembered: no scan was right."
    elif why_not := _why_not(config, results):
        found.remembered = f"Not remembered: {why_not}."
        if known := tuned.find_recommendation(bundle, follow.device):
            found.remembered += (
                f" Scans go on with what an earlier benchmark recommended: {known.tiles.backend} "
                f"{known.precision}."
            )
    else:
        tuned.keep_recommendation(bundle, follow)
        found.remembered = (
            "Remembered: inspector scan follows this from now on, here and for this model "
            "(measure with --no-remember to leave scans alone)."
        )


def _why_not(config: BenchConfig, results: Results) -> str:
    """Why scans should not follow these results; empty where they should."""
    if not config.remember:
        return "--no-remember was given"
    if config.backends is not None or config.precisions is not None:
        return "only some engines were compared"
    if failed := sum(case.status == FAILED for case in results.cases):
        return f"{failed} of the cases failed"
    if results.busy:
        return f"{results.busy}; measure again while nothing else runs"
    return unproven(results.cases, results.recommendation)
