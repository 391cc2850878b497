"""From the model's answers to verdicts: a pure function of scores, photos and thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import BackendError
from inspector.types import Judgement, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.bundle import Thresholds
    from inspector.types import Photo, Scores

MAX_CLEAR_SHRINK = 4.0
"""Photo pixels per model pixel, along one side, beyond which no photo is called clear. A crack
that matters is often 2 to 4 px wide in a close photo; shrunk more than this it is less than one
model pixel wide and fades into the concrete, so the model's `clear` proves nothing."""


def judge(
    scores: Scores,
    photos: Sequence[Photo],
    thresholds: Thresholds,
    stages: Sequence[str],
) -> tuple[Judgement, ...]:
    """One judgement per photo, in their order; `stages` are the backend's. Raises BackendError
    unless the engine gave exactly one number for each.

    Comparisons are made in float32, the precision of the scores and of the table: a probability
    equal to a threshold as float32 counts as having reached it, which errs towards finding cracks.
    """
    p_N = scores.p_crack_N
    if p_N.shape != (len(photos),) or len(scores.cam_NHW) != len(photos):
        raise BackendError(f"the engine answered {p_N.shape} for {len(photos)} photos")
    if not np.isfinite(p_N).all():
        raise BackendError(f"the engine answered no number for {photos[_first_bad(p_N)].ref.uri}")
    crack_from = np.float32(thresholds.crack_from)
    clear_below = np.float32(thresholds.clear_below)
    deciders = (
        [stages[0]] * len(p_N)
        if scores.stage_N is None
        else [stages[number] for number in scores.stage_N]
    )
    return tuple(
        _judge_one(p, cam_HW, photo.shrink, stage, clear_below=clear_below, crack_from=crack_from)
        for p, cam_HW, photo, stage in zip(p_N, scores.cam_NHW, photos, deciders, strict=True)
    )


def _judge_one(
    p: np.float32,
    cam_HW: NDArray[np.float32],
    shrink: float,
    stage: str,
    *,
    clear_below: np.float32,
    crack_from: np.float32,
) -> Judgement:
    if p >= crack_from:
        verdict, reason = Verdict.CRACK, Reason.MODEL
    elif p >= clear_below:
        verdict, reason = Verdict.REVIEW, Reason.NEAR_THRESHOLD
    elif shrink > MAX_CLEAR_SHRINK:
        verdict, reason = Verdict.REVIEW, Reason.DOWNSCALED
    else:
        return Judgement(Verdict.CLEAR, Reason.MODEL, float(p), stage, None, None)
    return Judgement(verdict, reason, float(p), stage, *_peak(cam_HW))


def _peak(cam_HW: NDArray[np.float32]) -> tuple[float, float]:
    """Centre of the map's highest cell (the first of several), as shares of width and height."""
    rows, columns = cam_HW.shape
    row, column = divmod(int(cam_HW.argmax()), columns)
    return (column + 0.5) / columns, (row + 0.5) / rows


def _first_bad(p_N: NDArray[np.float32]) -> int:
    return int(np.flatnonzero(~np.isfinite(p_N))[0])
