"""From which score on a photo is foreign."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SHARE = 0.015
"""Share of a source's held-back images that may be called foreign."""
_DECIMALS = 10_000


def choose_ood_threshold(
    scores_N: NDArray[np.floating[Any]],
    sources: Sequence[str] | None = None,
    share: float = SHARE,
) -> float:
    """The lowest score that at most `share` of the held-back images reach, in every source alone
    and in all of them together: a photo is foreign from there on.

    `sources` names where each image comes from; a source of fewer than 1 / `share` images has no
    say of its own, because its strangest image would decide. Raises DataError without images or
    when a score is not a number, ValueError when the lengths differ.
    """
    exact_N: NDArray[np.float64] = np.asarray(scores_N, dtype=np.float64)
    if not len(exact_N):
        raise DataError("no held-back image to choose the threshold for foreign photos on")
    if not np.isfinite(exact_N).all():
        raise DataError("a held-back image has no score of foreignness; check the weights")
    parts = [exact_N]
    if sources is not None:
        names_N = np.array(sources)
        if len(names_N) != len(exact_N):
            raise ValueError(f"{len(names_N)} sources for {len(exact_N)} scores")
        parts += [exact_N[names_N == name] for name in np.unique(names_N)]
    large = [part for part in parts[1:] if len(part) * share >= 1]
    return max(_reached_by(part, share) for part in [exact_N, *large])


def _reached_by(scores_N: NDArray[np.float64], share: float) -> float:
    """Above the largest score that more than `share` of the images reach, with the four decimals
    of a bundle: rounded down, it would let in one more."""
    allowed = int(share * len(scores_N))
    first_kept = np.sort(scores_N)[len(scores_N) - allowed - 1]
    above = np.nextafter(np.float32(first_kept), np.float32(np.inf))
    return math.ceil(float(above) * _DECIMALS) / _DECIMALS
