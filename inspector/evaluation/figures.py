"""What is measured on judged images: every figure with an interval, per source and for all."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics as sk

from inspector.evaluation.resample import FALSE_RATES, RESAMPLES, at_rate, resampled
from inspector.model import metrics
from inspector.model.odds import log_odds
from inspector.types import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.evaluation.judged import JudgedImages
    from inspector.types import JsonObject

ALL_SOURCES = "all"
NAN = float("nan")
TAIL = 0.025
"""Probability beyond either end of an interval: they are 95 %."""
WIDTH_EDGES_PX = (0.0, 1.0, 2.0, 4.0, 8.0, float("inf"))
"""Classes of crack width, pixels of the image as it is on disk."""

_OF_CRACKS = ("recall", "missed", *map(at_rate, FALSE_RATES))
_OF_CLEARS = ("false_alarms",)
_OF_ALL = ("accuracy", "precision", "review", "out_of_distribution")


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
    """`crack` and `clear` images: how many of them got each verdict."""
    best_temperature: float
    """By which the log odds would have to be divided to fit this source best: above 1, the model is
    too sure of itself here. NaN where one class is missing."""

    @property
    def images(self) -> int:
        return self.cracks + self.clears

    @property
    def intervals_too_narrow(self) -> bool:
        """A bootstrap of few groups understates how different the next one may be."""
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
class Evaluation:
    """What `metrics.json` holds. `sources` ends with one for all images when there are several;
    `without_leaks` are the same over the images that are not in the training set too, empty where
    that was not asked or nothing leaked."""

    digest: str
    provider: str
    thresholds: dict[str, Any]
    by: str
    sources: tuple[Figures, ...]
    widths: tuple[WidthFigures, ...] = ()
    without_leaks: tuple[Figures, ...] = ()
    leaks: JsonObject | None = None
    failed: tuple[str, ...] = ()
    """Images that could not be decoded, with the reason; they are in no figure."""

    @property
    def overall(self) -> Figures:
        """All sources together."""
        return self.sources[-1]

    def to_json(self) -> JsonObject:
        """Plain values; what is NaN becomes None, for which JSON has a word."""
        values: JsonObject = _finite({"format": 1, **asdict(self)})
        return values

    @classmethod
    def from_json(cls, values: JsonObject) -> Evaluation:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        if values["format"] != 1:
            raise ValueError(f"format {values['format']} of metrics.json is not known")
        known = {k: v for k, v in values.items() if k != "format"}
        for name in ("sources", "without_leaks"):
            known[name] = tuple(_figures_from(row) for row in values[name])
        known["widths"] = tuple(
            WidthFigures(**row | {"below_px": _number(row["below_px"], float("inf"))})
            for row in values["widths"]
        )
        return cls(**known | {"failed": tuple(values["failed"])})


def measure(judged: JudgedImages, *, all_name: str = ALL_SOURCES) -> tuple[Figures, ...]:
    """Figures per source, in order of their names, and for all where there are several."""
    parts = [(name, judged.only(where_N)) for name, where_N in judged.by_source()]
    if len(parts) > 1:
        parts.append((all_name, judged))
    return tuple(_measure_one(name, part) for name, part in parts)


def measure_widths(judged: JudgedImages) -> tuple[WidthFigures, ...]:
    """How cracks fare by width, in the classes that hold any."""
    if judged.width_px_N is None:
        return ()
    found = []
    for low, high in pairwise(WIDTH_EDGES_PX):
        inside_N = (judged.width_px_N >= low) & (judged.width_px_N < high) & judged.is_crack_N
        verdicts = Counter(judged.verdict_N[inside_N].tolist())
        if verdicts:
            found.append(
                WidthFigures(
                    low, high, verdicts.total(), verdicts[Verdict.CLEAR], verdicts[Verdict.CRACK]
                )
            )
    return tuple(found)


def _measure_one(source: str, judged: JudgedImages) -> Figures:
    truth_N, p_N = judged.is_crack_N, judged.p_crack_N.astype(np.float64)
    return Figures(
        source=source,
        cracks=int(truth_N.sum()),
        clears=int((~truth_N).sum()),
        groups=len(set(judged.group_N)),
        measures=_with_intervals(judged, _points(judged, p_N, truth_N)),
        confusion=metrics.confusion(p_N, truth_N, 0.5),
        verdicts={
            "crack": _verdicts(judged.verdict_N[truth_N]),
            "clear": _verdicts(judged.verdict_N[~truth_N]),
        },
        best_temperature=best_temperature(p_N, truth_N),
    )


def _verdicts(verdict_N: NDArray[np.str_]) -> dict[str, int]:
    return {str(verdict): int((verdict_N == str(verdict)).sum()) for verdict in Verdict}


def _points(
    judged: JudgedImages, p_N: NDArray[np.float64], truth_N: NDArray[np.bool_]
) -> dict[str, float]:
    """Every measure over the images as they are, by scikit-learn."""
    said_N, verdict_N = p_N >= 0.5, judged.verdict_N
    found = {
        "accuracy": sk.accuracy_score(truth_N, said_N),
        "balanced_accuracy": metrics.balanced_accuracy(p_N, truth_N),
        "precision": sk.precision_score(truth_N, said_N, zero_division=np.nan),
        "recall": sk.recall_score(truth_N, said_N, zero_division=np.nan),
        "f1": sk.f1_score(truth_N, said_N, zero_division=np.nan),
        "matthews_corrcoef": metrics.matthews_corrcoef(p_N, truth_N),
        "roc_auc": metrics.roc_auc(p_N, truth_N),
        "average_precision": metrics.average_precision(p_N, truth_N),
        "brier": metrics.brier(p_N, truth_N),
        "ece": metrics.ece(p_N, truth_N),
        "missed": _share(verdict_N[truth_N] == str(Verdict.CLEAR)),
        "false_alarms": _share(verdict_N[~truth_N] == str(Verdict.CRACK)),
        "review": _share(verdict_N == str(Verdict.REVIEW)),
        "out_of_distribution": _share(judged.reason_N == "out_of_distribution"),
    }
    found |= {at_rate(rate): metrics.recall_at_fpr(p_N, truth_N, rate) for rate in FALSE_RATES}
    if not metrics.has_both(truth_N):
        # Of one class alone these say how many there are of it, not how good the model is.
        found |= dict.fromkeys(("precision", "f1", "matthews_corrcoef"), NAN)
    return {name: float(value) for name, value in found.items()}


def _share(hit_N: NDArray[np.bool_]) -> float:
    return float(hit_N.mean()) if len(hit_N) else NAN


def _with_intervals(judged: JudgedImages, points: dict[str, float]) -> dict[str, Measured]:
    """Percentile intervals. A share of nothing or of everything is the same in every draw, which
    says nothing about the next wall: its open end is Clopper and Pearson's (1934), each image
    counting as one trial, which continues what the bootstrap says of one image in so many. One
    group alone has no interval."""
    truth_N = judged.is_crack_N
    trials = dict.fromkeys(_OF_ALL, len(truth_N))
    trials |= dict.fromkeys(_OF_CRACKS, int(truth_N.sum()))
    trials |= dict.fromkeys(_OF_CLEARS, int((~truth_N).sum()))
    if len(set(judged.group_N)) < 2:
        return {name: Measured(value) for name, value in points.items()}
    draws = resampled(judged, resamples=RESAMPLES)
    found = {}
    for name, value in points.items():
        finite = draws[name][np.isfinite(draws[name])]
        if not np.isfinite(value) or not len(finite):
            found[name] = Measured(value)
            continue
        low, high = np.quantile(finite, [TAIL, 1 - TAIL])
        if name in trials and value in (0.0, 1.0):
            reach = 1 - TAIL ** (1 / trials[name])
            low, high = (min(low, 1 - reach), 1.0) if value else (0.0, max(high, reach))
        found[name] = Measured(value, float(low), float(high))
    return found


def best_temperature(p_N: NDArray[np.float64], truth_N: NDArray[np.bool_]) -> float:
    """The temperature with the least cross-entropy on these images (Guo et al. 2017, section 4.2),
    from 0.1 to 20; NaN when one class is missing."""
    from scipy.optimize import minimize_scalar

    if not metrics.has_both(truth_N):
        return NAN
    odds_N = log_odds(p_N) * np.where(truth_N, -1, 1)

    def loss(log_t: float) -> float:
        return float(np.logaddexp(0, odds_N / np.exp(log_t)).mean())

    fit = minimize_scalar(loss, bounds=(np.log(0.1), np.log(20.0)), method="bounded")
    return float(np.exp(fit.x))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _number(value: float | None, missing: float = NAN) -> float:
    return missing if value is None else value


def _figures_from(row: JsonObject) -> Figures:
    measures = {
        name: Measured(*(_number(found[key]) for key in ("value", "low", "high")))
        for name, found in row["measures"].items()
    }
    temperature = _number(row["best_temperature"])
    return Figures(**row | {"measures": measures, "best_temperature": temperature})
