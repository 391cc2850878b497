"""The verdict rule, a pure function of scores, photos and thresholds; probabilities as log odds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.errors import BackendError
from inspector.model.scale import NOTHING_ASKED
from inspector.types import Judgement, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from inspector.model.bundle import Thresholds
    from inspector.model.scale import Scale
    from inspector.types import Photo, PhotoScore, Scores


MAX_CLEAR_SHRINK = 4.0
"""Photo pixels per model pixel, along one side, beyond which no photo is called clear. A crack
that matters is often 2 to 4 px wide in a close photo; shrunk more than this it is less than one
model pixel wide and fades into the concrete, so the model's `clear` proves nothing."""


_OUTCOMES = (
    (Verdict.REVIEW, Reason.OUT_OF_DISTRIBUTION),
    (Verdict.CRACK, Reason.MODEL),
    (Verdict.REVIEW, Reason.NEAR_THRESHOLD),
    (Verdict.REVIEW, Reason.DOWNSCALED),
    (Verdict.REVIEW, Reason.PREVIEW),
    (Verdict.REVIEW, Reason.SCALE),
    (Verdict.CLEAR, Reason.MODEL),
)
"""Verdicts with their reasons, in the order in which `decide` checks them; the last holds if no
other does."""
_VERDICTS = np.array([verdict.value for verdict, _ in _OUTCOMES])
_REASONS = np.array([reason.value for _, reason in _OUTCOMES])


def decide(
    p_N: NDArray[np.floating[Any]],
    thresholds: Thresholds,
    *,
    ood_N: NDArray[np.floating[Any]] | float = 0.0,
    shrink_N: NDArray[np.floating[Any]] | float = 0.0,
    hidden_N: NDArray[np.bool_] | bool = False,
    preview_N: NDArray[np.bool_] | bool = False,
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """The verdict rule: verdicts and reasons of N images, as words.

    `p_N` are crack probabilities, `ood_N` OOD scores, `shrink_N` photo pixels per model pixel;
    `hidden_N` says which cannot show the crack width asked for (`Scale.hides_N`), and `preview_N`
    of which only the preview was read; left out, these count for nothing. Probabilities are
    compared in float32, the precision of the scores and of the table: one equal to a threshold as
    float32 has reached it, which errs towards finding cracks. What is not a number goes to a
    person.
    """
    p_N = p_N.astype(np.float32)
    limit = thresholds.out_of_distribution
    holds = (
        np.False_ if limit is None else ~(np.asarray(ood_N, np.float64) < limit),
        p_N >= np.float32(thresholds.crack_from),
        ~(p_N < np.float32(thresholds.clear_below)),
        np.asarray(shrink_N) > MAX_CLEAR_SHRINK,
        np.asarray(preview_N),
        np.asarray(hidden_N),
    )
    first_N = np.select(holds, range(len(holds)), len(holds))
    return _VERDICTS[first_N], _REASONS[first_N]


def decide_each(
    p_N: NDArray[np.floating[Any]],
    own_N: NDArray[np.bool_],
    thresholds: Thresholds,
    dense: Thresholds | None,
    *,
    ood_N: NDArray[np.floating[Any]],
    shrink_N: NDArray[np.floating[Any]] | float,
    hidden_N: NDArray[np.bool_] | bool = False,
    preview_N: NDArray[np.bool_] | bool = False,
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """`decide`, where `dense` decides the photos that were judged at their own scale (`own_N`, or
    empty where there are none), whose shrink counts for nothing."""
    rest: Any = {"ood_N": ood_N, "hidden_N": hidden_N, "preview_N": preview_N}
    said = decide(p_N, thresholds, shrink_N=shrink_N, **rest)
    if dense is not None and own_N.any():
        for words, own in zip(said, decide(p_N, dense, **rest), strict=True):
            words[own_N] = own[own_N]
    return said


def judge(
    scores: Scores,
    photos: Sequence[Photo],
    thresholds: Thresholds,
    stages: Sequence[str],
    dense: Thresholds | None = None,
    scale: Scale = NOTHING_ASKED,
) -> tuple[Judgement, ...]:
    """One judgement per photo, in their order; `stages` are the engine's, `dense` decides photos
    that were judged at their own scale, `scale` says which cracks must be seen. Raises BackendError
    unless the engine gave exactly one number of each kind for each."""
    _check(scores, photos)
    own_N = np.array([found is not None for found in scores.found_N or ()], np.bool_)
    visible_N = np.array([photo.smallest_visible_mm for photo in photos], np.float64)  # None: NaN
    verdict_N, reason_N = decide_each(
        scores.p_crack_N, own_N, thresholds, dense,
        ood_N=scores.ood_N, shrink_N=np.array([photo.shrink for photo in photos]),
        hidden_N=scale.hides_N(visible_N),
        preview_N=np.array([photo.facts.is_preview for photo in photos], np.bool_),
    )  # fmt: skip
    judgements = []
    for k, (verdict, reason) in enumerate(zip(verdict_N, reason_N, strict=True)):
        said = Verdict(verdict), Reason(reason)
        p_crack, ood_score = float(scores.p_crack_N[k]), float(scores.ood_N[k])
        found = None if scores.found_N is None else scores.found_N[k]
        if found is None:
            stage = stages[0 if scores.stage_N is None else scores.stage_N[k]]
            peak = (None, None) if verdict == Verdict.CLEAR else _peak(scores.cam_NHW[k])
            judgements.append(Judgement(*said, p_crack, ood_score, stage, *peak))
        else:
            judgements.append(_own_scale(found, photos[k], *said))
    return tuple(judgements)


def _own_scale(found: PhotoScore, photo: Photo, verdict: Verdict, reason: Reason) -> Judgement:
    is_clear = verdict is Verdict.CLEAR
    return Judgement(
        verdict,
        reason,
        found.p_crack,
        found.ood_score,
        found.stage,
        peak_x=None if is_clear else found.peak_x,
        peak_y=None if is_clear else found.peak_y,
        view=photo.view,
        windows=found.windows,
        crack_windows=found.crack_windows,
        crack_fraction=found.crack_windows / found.windows,
        regions=found.regions,
    )


def _check(scores: Scores, photos: Sequence[Photo]) -> None:
    p_N, ood_N = scores.p_crack_N, scores.ood_N
    if {p_N.shape, ood_N.shape, scores.cam_NHW.shape[:1]} != {(len(photos),)}:
        raise BackendError(f"the engine answered {p_N.shape} for {len(photos)} photos")
    broken_N = ~(np.isfinite(p_N) & np.isfinite(ood_N))
    if broken_N.any():
        uri = photos[int(broken_N.argmax())].ref.uri
        raise BackendError(f"the engine answered no number for {uri}")


def _peak(cam_HW: NDArray[np.float32]) -> tuple[float, float]:
    """Centre of the map's highest cell (the first of several), as shares of width and height."""
    rows, columns = cam_HW.shape
    row, column = divmod(int(cam_HW.argmax()), columns)
    return (column + 0.5) / columns, (row + 0.5) / rows


SURE = 1e-7
"""Probabilities nearer to 0 or 1 than this count as this near: float32 says no more near 1, and
differences beyond it mean nothing."""
_LARGEST = 700.0
"""Log odds beyond this overflow in `exp`."""


def log_odds(p_N: ArrayLike) -> NDArray[np.float64]:
    """Log odds of probabilities, float64 of the same shape; finite also for 0 and 1."""
    p_N = np.clip(np.asarray(p_N, np.float64), SURE, 1 - SURE)
    return np.asarray(np.log(p_N / (1 - p_N)))


def probability(odds_N: ArrayLike) -> NDArray[np.float64]:
    """Probabilities of log odds, float64 of the same shape."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(odds_N, np.float64), -_LARGEST, None))))


def shifted(p: float, logits: float) -> float:
    """The probability `logits` away in log odds from `p`; 0 and 1 stay."""
    if not 0 < p < 1:
        return p
    return 1 / (1 + math.exp(-(math.log(p / (1 - p)) + logits)))
