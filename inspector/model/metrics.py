"""Figures of merit for a two-class model: scikit-learn's, made safe for sources that hold one class
alone, and what scikit-learn lacks.

Shapes: `p_N` float probabilities of a crack (N,), `is_crack_N` bool truth (N,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics as sk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Bools = NDArray[np.bool_]

ECE_BINS = 15
"""Equal-width bins of the expected calibration error (Guo et al. 2017, section 2)."""


def has_both(is_crack_N: Bools) -> bool:
    """Whether there are cracks and clear images."""
    return bool(is_crack_N.any() and not is_crack_N.all())


def roc_auc(p_N: Floats, is_crack_N: Bools) -> float:
    """Area under the ROC curve, ties half; NaN when one class is missing."""
    return float(sk.roc_auc_score(is_crack_N, p_N)) if has_both(is_crack_N) else float("nan")


def average_precision(p_N: Floats, is_crack_N: Bools) -> float:
    """Sum of precision times recall step over the distinct scores; NaN without cracks."""
    if not is_crack_N.any():
        return float("nan")
    return float(sk.average_precision_score(is_crack_N, p_N))


def recall_at_fpr(p_N: Floats, is_crack_N: Bools, rate: float) -> float:
    """Share of cracks found by the lowest threshold at which at most `rate` of the clear images
    are called crack; NaN when one class is missing."""
    if not has_both(is_crack_N):
        return float("nan")
    false_rates, recalls, _ = sk.roc_curve(is_crack_N, p_N, drop_intermediate=False)
    return float(recalls[false_rates <= rate].max())


def confusion(p_N: Floats, is_crack_N: Bools, threshold: float) -> dict[str, int]:
    """Counts at `p >= threshold`: true/false positives and negatives."""
    (tn, fp), (fn, tp) = sk.confusion_matrix(is_crack_N, p_N >= threshold, labels=[False, True])
    return {"tp": int(tp), "fn": int(fn), "fp": int(fp), "tn": int(tn)}


def balanced_accuracy(p_N: Floats, is_crack_N: Bools, threshold: float = 0.5) -> float:
    """Mean of the two classes' recalls; NaN when one class is missing."""
    if not has_both(is_crack_N):
        return float("nan")
    return float(sk.balanced_accuracy_score(is_crack_N, p_N >= threshold))


def matthews_corrcoef(p_N: Floats, is_crack_N: Bools, threshold: float = 0.5) -> float:
    """Correlation of verdict and truth; 0 when either is constant."""
    if not len(p_N):
        return float("nan")
    said_N = p_N >= threshold
    if not has_both(said_N) or not has_both(is_crack_N):
        return 0.0
    return float(sk.matthews_corrcoef(is_crack_N, said_N))


def brier(p_N: Floats, is_crack_N: Bools) -> float:
    """Mean squared difference between probability and truth."""
    return float(sk.brier_score_loss(is_crack_N, p_N, pos_label=True))


def ece_bin(p_N: Floats) -> NDArray[np.int64]:
    """The bin of each probability (N,), from 0 to `ECE_BINS` - 1."""
    return np.minimum((p_N * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def ece(p_N: Floats, is_crack_N: Bools) -> float:
    """Expected calibration error of the crack probability, `ECE_BINS` equal-width bins."""
    gap = np.bincount(ece_bin(p_N), weights=p_N - is_crack_N, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(p_N))
