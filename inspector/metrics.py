"""Figures of merit for a two-class model, in the field's standard terms (NumPy only).

Shapes: `p_N` float probabilities of a crack (N,), `is_crack_N` bool truth (N,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Bools = NDArray[np.bool_]

ECE_BINS = 15
"""Equal-width bins of the expected calibration error (Guo et al. 2017, section 2)."""


def roc_auc(p_N: Floats, is_crack_N: Bools) -> float:
    """Area under the ROC curve: the share of (crack, clear) pairs ranked rightly, ties half
    (Mann-Whitney U). NaN when one class is missing."""
    cracks = int(is_crack_N.sum())
    clears = len(is_crack_N) - cracks
    if cracks == 0 or clears == 0:
        return float("nan")
    _, inverse, counts = np.unique(p_N, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_rank[inverse][is_crack_N].sum())
    return (rank_sum - cracks * (cracks + 1) / 2) / (cracks * clears)


def average_precision(p_N: Floats, is_crack_N: Bools) -> float:
    """Sum of precision times recall step over the distinct scores (as in scikit-learn)."""
    if not is_crack_N.any():
        return float("nan")
    order = np.argsort(-p_N, kind="stable")
    hits = np.cumsum(is_crack_N[order])
    last_of_tie = np.append(np.diff(p_N[order]) != 0, True)
    precision = (hits / np.arange(1, len(p_N) + 1))[last_of_tie]
    recall = (hits / hits[-1])[last_of_tie]
    return float(np.sum(precision * np.diff(recall, prepend=0.0)))


def confusion(p_N: Floats, is_crack_N: Bools, threshold: float) -> dict[str, int]:
    """Counts at `p >= threshold`: true/false positives and negatives."""
    said = p_N >= threshold
    return {
        "tp": int((said & is_crack_N).sum()),
        "fn": int((~said & is_crack_N).sum()),
        "fp": int((said & ~is_crack_N).sum()),
        "tn": int((~said & ~is_crack_N).sum()),
    }


def balanced_accuracy(p_N: Floats, is_crack_N: Bools, threshold: float = 0.5) -> float:
    """Mean of the two classes' recalls; NaN when one class is missing."""
    said = p_N >= threshold
    if is_crack_N.all() or not is_crack_N.any():
        return float("nan")
    return float((said[is_crack_N].mean() + (~said[~is_crack_N]).mean()) / 2)


def matthews_corrcoef(p_N: Floats, is_crack_N: Bools, threshold: float = 0.5) -> float:
    """Correlation of verdict and truth; 0 when either is constant."""
    if len(p_N) == 0:
        return float("nan")
    said, truth = (p_N >= threshold).astype(float), is_crack_N.astype(float)
    spread = said.std() * truth.std()
    return float(np.mean((said - said.mean()) * (truth - truth.mean())) / spread) if spread else 0.0


def brier(p_N: Floats, is_crack_N: Bools) -> float:
    """Mean squared difference between probability and truth."""
    return float(np.mean((p_N - is_crack_N) ** 2))


def ece(p_N: Floats, is_crack_N: Bools) -> float:
    """Expected calibration error of the crack probability, `ECE_BINS` equal-width bins."""
    bins = np.minimum((p_N * ECE_BINS).astype(int), ECE_BINS - 1)
    gap = np.bincount(bins, weights=p_N - is_crack_N, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(p_N))


def grouped_interval(
    metric: Callable[[Floats, Bools], float],
    p_N: Floats,
    is_crack_N: Bools,
    groups: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of `metric`, drawing whole groups with replacement:
    photos of one wall are not independent, so single images would make it too narrow.
    Resamples in which the metric is NaN are left out; (NaN, NaN) if none is left."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(member == g) for g in range(member.max() + 1)]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = rng.integers(0, len(members), len(members))
        rows = np.concatenate([members[g] for g in drawn])
        values.append(metric(p_N[rows], is_crack_N[rows]))
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)
