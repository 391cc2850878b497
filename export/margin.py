"""How near to a threshold a lower precision must not decide, and the gate on what it decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import ExportError
from inspector.model.odds import log_odds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.model.bundle import Thresholds
    from inspector.types import JsonObject, Scores

SAFETY = 1.5
"""Times what the choosing images needed: the farthest of their few flips is a random draw, and
other photos draw farther ones. The gate, on other images, tells if it suffices."""
MOVED_SHARE = 0.99
"""Share of images whose logit the precision moves by less than the margin, whatever flipped: only
one of the rest can get another verdict, and only if it also lies just beyond the margin."""
LEAST_MARGIN = 0.02
"""For what this machine's CPU does not show: it rounds to half precision less often than a GPU
does. Step by step, as a GPU rounds, fp16 moved the shipped model's log odds by 0.003 at most."""
FLIPS_PER = 1000
"""Of so many verdicts one may differ from fp32's, with the margin applied."""
MOST_DEFERRED = 0.6
"""Largest share of images that may be judged a second time: beyond it a variant that is 1.6 times
as fast gains nothing."""


def choose_margins(
    reference: Scores, candidate: Scores, thresholds: Thresholds
) -> tuple[float, float]:
    """The margins of the probability, in logits, and of the OOD score, in its own units:
    each `SAFETY` times the smallest one with which no verdict of the N >= 1 images differs by it,
    and no less than what moves `MOVED_SHARE` of them or `LEAST_MARGIN`."""
    edges = np.array([thresholds.clear_below, thresholds.crack_from], np.float32)  # as in `decide`
    by_probability = _margin(
        log_odds(reference.p_crack_N), log_odds(candidate.p_crack_N), log_odds(edges)
    )
    if thresholds.out_of_distribution is None:
        return by_probability, 0.0
    edge = np.array([thresholds.out_of_distribution])
    exact_N, reduced_N = (s.ood_N.astype(np.float64) for s in (reference, candidate))
    return by_probability, _margin(exact_N, reduced_N, edge)


def _margin(
    reference_N: NDArray[np.float64], candidate_N: NDArray[np.float64], edges_E: NDArray[np.float64]
) -> float:
    """Of a quantity whose edges part the verdicts."""
    distance_N = np.abs(candidate_N[:, None] - edges_E).min(axis=1)
    sides_N = [(values[:, None] >= edges_E).sum(axis=1) for values in (reference_N, candidate_N)]
    needed = SAFETY * distance_N[sides_N[0] != sides_N[1]].max(initial=0.0)
    moved_N = np.abs(candidate_N - reference_N)
    return float(max(needed, np.quantile(moved_N, MOVED_SHARE), LEAST_MARGIN))


def gate_reduced(name: str, seen: JsonObject) -> None:
    """Raises ExportError when the evidence `seen` says that verdicts differ, or that too many
    images would be judged twice."""
    flips, images = seen["verdict_flips"], seen["images"]
    allowed = images // FLIPS_PER
    if len(flips) > allowed:
        p, q = flips[0]
        problem = (
            f"{len(flips)} of {images} verdicts differ from fp32's in spite of the margin "
            f"(p_crack {q:.4f} instead of {p:.4f}, for one), and {allowed} may"
        )
    elif seen["deferred"] > MOST_DEFERRED:
        problem = (
            f"{seen['deferred']:.0%} of the photos lie so near a threshold that fp32 must judge "
            f"them again, and {MOST_DEFERRED:.0%} is the most at which it gains anything"
        )
    else:
        return
    raise ExportError(
        f"{name} is of no use for this model: {problem}; give --calibration more photos of the "
        "kind that is judged, or export without it; nothing was written"
    )
