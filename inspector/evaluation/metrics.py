"""Figures of merit for a two-class model, and every one of them over draws of whole groups at once.

Photos of one wall are not independent, so drawing single images would make intervals too narrow
(Davison and Hinkley 1997, section 3.8). A draw is a weight for each group (how often it was drawn),
so that a figure over a thousand draws is a product of two matrices, or a running sum along the
images in order of their scores.

Shapes: `p_N` float probabilities of a crack (N,), `is_crack_N` bool truth (N,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from inspector.evaluation.predictions import LabelledPredictions

    Floats = NDArray[np.floating[Any]]
    Bools = NDArray[np.bool_]
    Draws = NDArray[np.float64]

NAN = float("nan")
ECE_BINS = 15
"""Equal-width bins of the expected calibration error (Guo et al. 2017, section 2)."""


def has_both(is_crack_N: Bools) -> bool:
    """Whether there are cracks and clear images."""
    return bool(is_crack_N.any() and not is_crack_N.all())


def roc_auc(p_N: Floats, is_crack_N: Bools) -> float:
    """Area under the ROC curve, ties half; NaN when one class is missing."""
    return float(_curves_of(p_N, is_crack_N).roc_auc()[0]) if has_both(is_crack_N) else NAN


def average_precision(p_N: Floats, is_crack_N: Bools) -> float:
    """Sum of precision times recall step over the distinct scores; NaN without cracks."""
    if not is_crack_N.any():
        return NAN
    return float(_curves_of(p_N, is_crack_N).average_precision()[0])


def recall_at_fpr(p_N: Floats, is_crack_N: Bools, rate: float) -> float:
    """Share of cracks found by the lowest threshold at which at most `rate` of the clear images
    are called crack; NaN when one class is missing."""
    if not has_both(is_crack_N):
        return NAN
    return float(_curves_of(p_N, is_crack_N).recall_at(rate)[0])


def confusion(p_N: Floats, is_crack_N: Bools, threshold: float) -> dict[str, int]:
    """Counts at `p >= threshold`: true/false positives and negatives."""
    said_N = p_N >= threshold
    masks = {"tp": said_N & is_crack_N, "fn": ~said_N & is_crack_N,
             "fp": said_N & ~is_crack_N, "tn": ~said_N & ~is_crack_N}  # fmt: skip
    return {name: int(mask_N.sum()) for name, mask_N in masks.items()}


def balanced_accuracy(p_N: Floats, is_crack_N: Bools, threshold: float = 0.5) -> float:
    """Mean of the two classes' recalls; NaN when one class is missing."""
    if not has_both(is_crack_N):
        return NAN
    said_N = p_N >= threshold
    return float((said_N[is_crack_N].mean() + 1 - said_N[~is_crack_N].mean()) / 2)


def ece_bin(p_N: Floats) -> NDArray[np.int64]:
    """The bin of each probability (N,), from 0 to `ECE_BINS` - 1."""
    return np.minimum((p_N * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def ece(p_N: Floats, is_crack_N: Bools) -> float:
    """Expected calibration error of the crack probability, `ECE_BINS` equal-width bins."""
    gap = np.bincount(ece_bin(p_N), weights=p_N - is_crack_N, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(p_N))


RESAMPLES = 1000
FALSE_RATES = (0.01, 0.05, 0.10)
"""False-positive rates at which the recall is reported."""
_CELLS = 4_000_000
"""Weights held at once: 32 MB for each array of that shape."""


def at_rate(rate: float) -> str:
    """The key of the recall at a false-positive rate."""
    return f"recall_at_fpr_{rate:.2f}"


def measured(found: LabelledPredictions) -> dict[str, float]:
    """Every measure of the images as they are, by name; NaN where they do not define it."""
    groups, measures = _measures_of(found)
    return {name: float(value) for name, (value,) in measures(np.ones((1, groups))).items()}


def resampled(
    found: LabelledPredictions, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Draws]:
    """Every measure over `resamples` draws of groups, float64 (resamples,) by name; NaN where a
    draw does not define it."""
    groups, measures = _measures_of(found)
    drawn = _draws(groups, resamples, len(found.images), np.random.default_rng(seed))
    parts = list(map(measures, drawn))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measures_of(found: LabelledPredictions) -> tuple[int, Callable[[Draws], dict[str, Draws]]]:
    """The number of groups, and what makes measures of weights for them, float64 (B, groups)."""
    _, group_N = np.unique(found.group_N, return_inverse=True)
    groups = int(group_N.max()) + 1
    ranking = _Ranking(found.p_crack_N, found.is_crack_N)
    ranked_N, sums_GK = group_N[ranking.order_N], _sums(found, group_N, groups)

    def measures(weight_BG: Draws) -> dict[str, Draws]:
        curves = ranking.curves(weight_BG[:, ranked_N])
        return _from_counts(weight_BG @ sums_GK) | {
            "roc_auc": curves.roc_auc(),
            "average_precision": curves.average_precision(),
            **{at_rate(rate): curves.recall_at(rate) for rate in FALSE_RATES},
        }

    return groups, measures


def _draws(
    groups: int, resamples: int, images: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Counts of each group in each draw, float64 (B, groups), some draws at a time."""
    at_once = max(1, _CELLS // max(images, groups))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(0, groups, (rows, groups)) + groups * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * groups)
        yield counts.reshape(rows, groups).astype(np.float64)


def _sums(found: LabelledPredictions, group_N: NDArray[np.int64], groups: int) -> Draws:
    """Sums per group: float64 (groups, 9 + ECE_BINS), in the order in which
    `_from_counts` reads it."""
    p_N, truth_N = found.p_crack_N.astype(np.float64), found.is_crack_N
    said_N = p_N >= 0.5
    verdict_N = found.verdict_N
    columns = [
        said_N & truth_N,
        ~said_N & truth_N,
        said_N & ~truth_N,
        ~said_N & ~truth_N,
        truth_N & (verdict_N == str(Verdict.CLEAR)),
        ~truth_N & (verdict_N == str(Verdict.CRACK)),
        verdict_N == str(Verdict.REVIEW),
        found.reason_N == "out_of_distribution",
        (p_N - truth_N) ** 2,
    ]
    bin_N, gap_N = ece_bin(p_N), p_N - truth_N
    columns += [np.where(bin_N == k, gap_N, 0.0) for k in range(ECE_BINS)]
    return np.stack([np.bincount(group_N, column, groups) for column in columns], axis=1)


def _from_counts(sums_BK: Draws) -> dict[str, Draws]:
    tp, fn, fp, tn, missed, alarms, review, outside, brier = sums_BK[:, :9].T
    cracks, clears = tp + fn, fp + tn
    images = cracks + clears
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt((tp + fp) * cracks * clears * (tn + fn))
        return {
            "accuracy": (tp + tn) / images,
            "balanced_accuracy": (tp / cracks + tn / clears) / 2,
            "precision": tp / (tp + fp),
            "recall": tp / cracks,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "matthews_corrcoef": np.where(spread > 0, (tp * tn - fp * fn) / spread, 0.0),
            "brier": brier / images,
            "ece": np.abs(sums_BK[:, 9:]).sum(axis=1) / images,
            "missed": missed / cracks,
            "false_alarms": alarms / clears,
            "review": review / images,
            "out_of_distribution": outside / images,
        }


class _Ranking:
    """Images from the highest score down; `order_N` has their places."""

    def __init__(self, p_N: Floats, is_crack_N: Bools) -> None:
        self.order_N = np.argsort(-p_N, kind="stable")
        self._is_crack_N = is_crack_N[self.order_N].astype(np.float64)
        self._last_of_tie_U = np.flatnonzero(np.append(np.diff(p_N[self.order_N]) != 0, True))

    def curves(self, weight_BN: Draws) -> _Curves:
        """Count the images by these weights, in this order."""
        return _Curves(
            self._running(weight_BN * self._is_crack_N),
            self._running(weight_BN * (1 - self._is_crack_N)),
        )

    def _running(self, weight_BN: Draws) -> Draws:
        """The sums begin with a column of zeros: nothing is called a crack there."""
        sums_BU = np.cumsum(weight_BN, axis=1)[:, self._last_of_tie_U]
        return np.pad(sums_BU, ((0, 0), (1, 0)))


def _curves_of(p_N: Floats, is_crack_N: Bools) -> _Curves:
    """Raises ValueError for scores that have no order."""
    if not np.isfinite(p_N).all():
        raise ValueError("some probabilities are no numbers")
    return _Ranking(p_N, is_crack_N).curves(np.ones((1, len(p_N))))


class _Curves:
    """The measures that depend on the order of the scores alone, of B draws: float64 (B,), NaN
    where a class is missing."""

    def __init__(self, tp_BU: Draws, fp_BU: Draws) -> None:
        """Cracks and clear images that are called crack from each distinct score on."""
        with np.errstate(divide="ignore", invalid="ignore"):
            self._recall_BU, self._false_BU = tp_BU / tp_BU[:, -1:], fp_BU / fp_BU[:, -1:]
            self._precision_BU = tp_BU[:, 1:] / (tp_BU[:, 1:] + fp_BU[:, 1:])

    def roc_auc(self) -> Draws:
        return np.asarray(np.trapezoid(self._recall_BU, self._false_BU, axis=1))

    def average_precision(self) -> Draws:
        # Where nothing of a draw lies above a score, no recall is gained there either.
        gained_BU = np.nan_to_num(self._precision_BU) * np.diff(self._recall_BU, axis=1)
        return np.asarray(gained_BU.sum(axis=1))

    def recall_at(self, rate: float) -> Draws:
        last = np.maximum((self._false_BU <= rate).sum(axis=1) - 1, 0)
        found = self._recall_BU[np.arange(len(last)), last]
        return np.where(np.isnan(self._false_BU[:, -1]), NAN, found)
