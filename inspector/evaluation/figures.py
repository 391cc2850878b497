"""Figures on labelled predictions, each with an interval, per source and for all."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest

from inspector.core.text import printable
from inspector.core.untrusted import finite
from inspector.evaluation import metrics
from inspector.evaluation.metrics import FALSE_RATES, at_rate, measured, resampled
from inspector.evaluation.predictions import OWN_SCALE, LabelledPredictions
from inspector.model.verdict import log_odds
from inspector.types import JsonObject, SimpleRules, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.labelled.leaks import LeakAudit
    from inspector.model.bundle import ModelBundle

ALL_SOURCES = "all"
NAN = float("nan")
TAIL = 0.025
"""Probability beyond either end of an interval: they are 95 %."""
WIDTH_EDGES_PX = (0.0, 1.0, 2.0, 4.0, 8.0, float("inf"))
"""Classes of crack width, pixels of the image as it is on disk."""

OWN = "candidates"
RULES = (OWN, *SimpleRules._fields)
"""Rules for photos at their own scale: this model's, and simpler ones."""
RULE_ALARMS = 0.1
"""Share of alarms at which the rules' recalls are compared."""

_OF_CRACKS = ("recall", "missed", *map(at_rate, FALSE_RATES))
_OF_CLEARS = ("false_alarms",)
_OF_ALL = ("accuracy", "review", "out_of_distribution")


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure and its 95 % interval; NaN where the images do not define it."""

    value: float
    low: float = NAN
    high: float = NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One source's figures.

    `measures` by name: accuracy, balanced_accuracy, precision, recall, f1 and matthews_corrcoef at
    probability one half; roc_auc, average_precision and recall_at_fpr_* of the ranking; brier, ece;
    and shares of what the thresholds make of it: missed (cracks called clear), false_alarms (clear
    images called crack), review and out_of_distribution (of all images).
    """

    source: str
    cracks: int
    clears: int
    groups: int
    measures: dict[str, Measured]
    confusion: dict[str, int]
    """tp, fn, fp, tn at probability one half."""
    verdicts: dict[str, dict[str, int]]
    """Counts of each verdict, for `crack` and for `clear` images."""
    best_temperature: float
    """The divisor of the log odds that fits this source best: above 1, the model is too sure of
    itself here. NaN where one class is missing."""

    @property
    def images(self) -> int:
        return self.cracks + self.clears

    @property
    def intervals_too_narrow(self) -> bool:
        """Whether groups are so few that a bootstrap understates how different the next may be."""
        return self.groups < 10

    def value(self, measure: str) -> float:
        return self.measures[measure].value


@dataclass(frozen=True, slots=True)
class WidthFigures:
    """Cracks whose width in pixels lies in [from_px, below_px)."""

    from_px: float
    below_px: float
    cracks: int
    missed: int
    """Called clear."""
    found: int
    """Called crack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFigures:
    """What a rule says of photos; NaN where one class is missing."""

    rule: str
    """A name of `RULES`."""
    roc_auc: float
    recall_at_alarms: float
    """Cracked photos found by a threshold that makes `RULE_ALARMS` of the others alarms."""
    recall: float
    """Cracked photos with a probability of one half or more."""
    false_alarms: float
    """Crack-free photos with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All figures, as in `metrics.json`. `sources` ends with one for all images when there are
    several; `without_leaks` are the same without the images that leaked from training, empty where
    nothing leaked or that is not known."""

    digest: str
    provider: str
    thresholds: dict[str, Any]
    """Of images that were judged whole."""
    by: str
    sources: tuple[Figures, ...]
    widths: tuple[WidthFigures, ...] = ()
    without_leaks: tuple[Figures, ...] = ()
    rules: tuple[RuleFigures, ...] = ()
    """Of the photos judged at their own scale: the model's rule beside simpler ones; empty where
    there are none."""
    leaks: JsonObject | None = None
    failed: tuple[str, ...] = ()
    """Images that could not be decoded, with the reason; they are in no figure."""
    dense_thresholds: dict[str, Any] | None = None
    """Of images that were judged at their own scale; None where there are none."""

    @property
    def overall(self) -> Figures:
        """All sources together."""
        return self.sources[-1]

    def to_json(self) -> JsonObject:
        """The content of `metrics.json`: plain values, None for NaN and infinity."""
        values: JsonObject = finite({"format": 1, **asdict(self)})
        return values


def assess(
    found: LabelledPredictions,
    bundle: ModelBundle,
    *,
    by: str = "source",
    leaks: LeakAudit | None = None,
) -> Evaluation:
    """Every figure over all images and, where some leaked, over those that did not."""
    clean: tuple[Figures, ...] = ()
    used = {kind: asdict(thresholds) for kind, thresholds, _ in found.by_thresholds(bundle)}
    if leaks is not None and leaks.leaked_paths:
        unseen = found.without(leaks.leaked_paths)
        clean = measure(unseen) if unseen.images else ()
    return Evaluation(
        digest=bundle.digest,
        provider=found.provider,
        thresholds=asdict(bundle.thresholds),
        by=by,
        sources=measure(found),
        widths=measure_widths(found),
        without_leaks=clean,
        rules=_rules(found),
        leaks=leaks.to_json() if leaks is not None else None,
        failed=tuple(f"{printable(image.path)}: {code}" for image, code in found.failures),
        dense_thresholds=used.get(OWN_SCALE),
    )


def _rules(found: LabelledPredictions) -> tuple[RuleFigures, ...]:
    scores = enumerate(found.found_N or ())
    simple = {k: score.simple for k, score in scores if score is not None and score.simple}
    if not simple:
        return ()
    places = list(simple)
    return compare_rules(found.is_crack_N[places], found.p_crack_N[places], list(simple.values()))


def compare_rules(
    is_crack_N: NDArray[np.bool_], p_N: NDArray[np.floating], simple_N: Sequence[SimpleRules]
) -> tuple[RuleFigures, ...]:
    """Figures of the rule that gave the probabilities `p_N` of N >= 1 photos, and of simpler ones,
    in photos."""
    probabilities = dict(zip(RULES, (p_N.astype(np.float64), *np.array(simple_N).T), strict=True))
    return tuple(
        RuleFigures(
            rule=rule,
            roc_auc=metrics.roc_auc(own_N, is_crack_N),
            recall_at_alarms=metrics.recall_at_fpr(own_N, is_crack_N, RULE_ALARMS),
            recall=_share(own_N[is_crack_N] >= 0.5),
            false_alarms=_share(own_N[~is_crack_N] >= 0.5),
        )
        for rule, own_N in probabilities.items()
    )


def measure(found: LabelledPredictions) -> tuple[Figures, ...]:
    """Figures per source, in order of their names, and for all where there are several."""
    parts = [(name, found.only(of_N)) for name, of_N in found.by_source()]
    if len(parts) > 1:
        parts.append((ALL_SOURCES, found))
    return tuple(_measure_one(name, part) for name, part in parts)


def measure_widths(found: LabelledPredictions) -> tuple[WidthFigures, ...]:
    """Verdicts on cracks by width, for the classes that hold any."""
    if found.width_px_N is None:
        return ()
    rows = []
    for low, high in pairwise(WIDTH_EDGES_PX):
        inside_N = (found.width_px_N >= low) & (found.width_px_N < high) & found.is_crack_N
        said = Counter(found.verdict_N[inside_N].tolist())
        if said:
            rows.append(
                WidthFigures(low, high, said.total(), said[Verdict.CLEAR], said[Verdict.CRACK])
            )
    return tuple(rows)


def _measure_one(source: str, found: LabelledPredictions) -> Figures:
    truth_N, p_N = found.is_crack_N, found.p_crack_N.astype(np.float64)
    points = measured(found)
    if not metrics.has_both(truth_N):
        # Of one class alone these say how many there are of it, not how good the model is.
        alone = ("precision", "f1", "matthews_corrcoef", "average_precision")
        points |= dict.fromkeys(alone, NAN)
    return Figures(
        source=source,
        cracks=int(truth_N.sum()),
        clears=int((~truth_N).sum()),
        groups=len(set(found.group_N)),
        measures=_with_intervals(found, points),
        confusion=metrics.confusion(p_N, truth_N, 0.5),
        verdicts={
            "crack": _verdicts(found.verdict_N[truth_N]),
            "clear": _verdicts(found.verdict_N[~truth_N]),
        },
        best_temperature=best_temperature(p_N, truth_N),
    )


def _verdicts(verdict_N: NDArray[np.str_]) -> dict[str, int]:
    return {str(verdict): int((verdict_N == str(verdict)).sum()) for verdict in Verdict}


def _share(hit_N: NDArray[np.bool_]) -> float:
    return float(hit_N.mean()) if len(hit_N) else NAN


def _with_intervals(found: LabelledPredictions, points: dict[str, float]) -> dict[str, Measured]:
    """Percentile intervals. A share of nothing or of everything is the same in every draw, which
    says nothing about the next wall: its open end is Clopper and Pearson's (1934), each image
    counting as one trial. One group alone has no interval."""
    if len(set(found.group_N)) < 2:
        return {name: Measured(value) for name, value in points.items()}
    cracks = int(found.is_crack_N.sum())
    trials = dict.fromkeys(_OF_ALL, len(found.images))
    trials |= dict.fromkeys(_OF_CRACKS, cracks)
    trials |= dict.fromkeys(_OF_CLEARS, len(found.images) - cracks)
    trials["precision"] = int((found.p_crack_N >= 0.5).sum())
    draws = resampled(found)
    measures = {}
    for name, value in points.items():
        drawn = draws[name][np.isfinite(draws[name])]
        if not np.isfinite(value) or not len(drawn):
            measures[name] = Measured(value)
            continue
        low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
        if name in trials and value in (0.0, 1.0):
            count = trials[name]
            exact = binomtest(count if value else 0, count).proportion_ci(1 - 2 * TAIL)
            low, high = min(low, exact.low), max(high, exact.high)
        measures[name] = Measured(value, float(low), float(high))
    return measures


def best_temperature(p_N: NDArray[np.float64], truth_N: NDArray[np.bool_]) -> float:
    """The temperature with the least cross-entropy on these images (Guo et al. 2017, section 4.2),
    from 0.1 to 20; NaN when one class is missing."""
    if not metrics.has_both(truth_N):
        return NAN
    odds_N = log_odds(p_N) * np.where(truth_N, -1, 1)

    def loss(log_t: float) -> float:
        return float(np.logaddexp(0, odds_N / np.exp(log_t)).mean())

    fit = minimize_scalar(loss, bounds=(np.log(0.1), np.log(20.0)), method="bounded")
    return float(np.exp(fit.x))
