"""The figures of a scan benchmark, from raw times to the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cases import AFTERNOON, MOST_IN_MEMORY, TIMM
from bench.checks import (
    IMAGES_PER_MISSED_CRACK,
    IMAGES_PER_OTHER_VERDICT,
    LEAST_AGREEMENT,
    allowed_other,
    worst_of,
)
from bench.report import figure, figures, finite
from bench.stats import pairwise_ratios, spread
from inspector.backends.agreement import PROBABILITY_TOLERANCE
from inspector.bundle import verdict_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cases import Case
    from bench.report import Columns
    from inspector.bundle import Thresholds
    from inspector.types import JsonObject

METHOD = (
    "Every run is a new process that ends when the table is written. images/s: files by the whole "
    "run's wall time, range from slowest to fastest run. loop: the median without start-up "
    "(interpreter, imports, model, worker processes; whoever decodes ahead may do so meanwhile). "
    "The cases take turns, in a new order each round, after one uncounted run of each on one "
    "photo; the check of the answers has read all files before, so they come from the page cache "
    "where it holds them.",
    f"/{TIMM}, /{AFTERNOON}: images/s against that program, round by round, the median; of the "
    "whole run, and of the loop alone.",
    "engine: images/s of the engine that the scan used, alone: decoded images in memory "
    f"(up to {MOST_IN_MEMORY}, spread evenly), all cores, its best batch size, measured in a "
    "process of its own right after each run.",
    "answers: every file of every run against the weights in eager torch at full resolution. fp32: "
    f"probabilities within {PROBABILITY_TOLERANCE:g}. All scans, so int8 and cascades too: at most "
    f"1 in {IMAGES_PER_OTHER_VERDICT} verdicts differ (one may, below that many images) and at "
    f"most 1 in {IMAGES_PER_MISSED_CRACK} files is a crack called clear (none, below that many). "
    f"{TIMM} resamples by itself: {LEAST_AGREEMENT:.0%} of its verdicts agree. {AFTERNOON} is "
    "compared with pixels decoded at full size, as it decodes them; a large JPEG is scaled while "
    "it is decoded everywhere else, which may move its verdict, and the settings say for how many. "
    "Probabilities that lie nearer to those of a model with swapped channels or another "
    "normalisation are wrong, too.",
    "other: files of one run whose verdict is not that of the reference.",
)

COLUMNS: Columns = {
    "case": lambda case: str(case["name"]),
    "images/s (range)": lambda case: figures(case["images_per_second"]),
    "loop": lambda case: _median(case["loop_images_per_second"]),
    f"/{TIMM}": lambda case: _median(case[f"ratio_to_{TIMM}"]),
    f"loop/{TIMM}": lambda case: _median(case[f"loop_ratio_to_{TIMM}"]),
    f"/{AFTERNOON}": lambda case: _median(case[f"ratio_to_{AFTERNOON}"]),
    f"loop/{AFTERNOON}": lambda case: _median(case[f"loop_ratio_to_{AFTERNOON}"]),
    "engine": lambda case: _median(case["engine_alone_images_per_second"]),
    "loop/engine": lambda case: _median(case["share_of_engine"]),
    "other": lambda case: "-" if case["answers"] is None else str(case["answers"]["other"]),
    "answers": lambda case: str(case["status"]),
}


def result_of(case: Case, cases: Sequence[Case], files: int) -> JsonObject:
    """The case as it stands in results.json, with its raw times."""
    whole, loop = _rates(case, files), _loop_rates(case, files)
    result: JsonObject = {
        "name": case.name,
        "status": case.status,
        "reason": case.reason,
        "about": case.setting.about,
        "options": case.setting.options,
        "device": case.said.get("device"),
        "engine": {key: case.said.get(key) for key in ("backend", "precision", "stages")},
        "plan": {key: case.said.get(key) for key in ("batch_size", "workers", "why")},
        "images_per_second": spread(whole) if whole else None,
        "loop_images_per_second": spread(loop) if loop else None,
        "start_up_s": spread(case.start_up_s) if whole else None,
        "engine_alone_images_per_second": spread(case.alone_rates) if case.alone_rates else None,
        "engine_alone_batch_size": case.alone_batch or None,
        "share_of_engine": _ratio(loop, case.alone_rates),
        "share_of_engine_whole_run": _ratio(whole, case.alone_rates),
        "answers": _answers(case),
        "rounds_wall_s": case.wall_s,
        "rounds_start_up_s": case.start_up_s,
        "rounds_engine_alone": case.alone_rates,
    }
    for name in (TIMM, AFTERNOON):
        peer = next((c for c in cases if c.name == name and c.status == "ok"), None)
        result[f"ratio_to_{name}"] = peer and _ratio(whole, _rates(peer, files))
        result[f"loop_ratio_to_{name}"] = peer and _ratio(loop, _loop_rates(peer, files))
    return result


def moved_by_decoding(cases: Sequence[Case], thresholds: Thresholds) -> int | None:
    """Files whose right verdict, by probability, is another one at full size; None where no case
    decodes at full size, or all do."""
    by_size = {case.setting.full_size: case.expected for case in cases}
    if len(by_size) < 2:
        return None
    return sum(
        verdict_of(a.p_crack, thresholds) != verdict_of(b.p_crack, thresholds)
        for path, a in by_size[False].items()
        if a.p_crack is not None and (b := by_size[True][path]).p_crack is not None
    )


def _rates(case: Case, files: int) -> list[float]:
    return [files / wall_s for wall_s in case.wall_s]


def _loop_rates(case: Case, files: int) -> list[float]:
    runs = zip(case.wall_s, case.start_up_s, strict=True)
    return [files / (wall_s - start_up_s) for wall_s, start_up_s in runs]


def _ratio(rates: Sequence[float], reference: Sequence[float]) -> dict[str, float] | None:
    """None unless both were measured in every round."""
    if not rates or len(rates) != len(reference):
        return None
    return spread(pairwise_ratios(rates, reference))


def _answers(case: Case) -> JsonObject | None:
    """How the answers of all runs compare with the reference."""
    if not case.outcomes:
        return None
    worst = worst_of(case.outcomes)
    return {
        "rule": case.setting.rule.value,
        "images": worst.images,
        "largest_difference": finite(worst.largest_difference),
        "mean_difference": finite(worst.mean_difference),
        "other": worst.other_verdicts,
        "other_allowed": allowed_other(case.setting.rule, worst.images),
        "cracks_called_clear": worst.missed_cracks,
    }


def _median(summary: dict[str, float] | None) -> str:
    return figure(summary["median"] if summary else None)
