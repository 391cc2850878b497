"""Images with known answers."""

from __future__ import annotations

import numpy as np

from inspector.evaluation.predictions import LabelledPredictions
from inspector.labelled.folder import LabelledImage
from inspector.model.bundle import Thresholds
from inspector.model.verdict import decide

THRESHOLDS = Thresholds(clear_below=0.3, crack_from=0.7)


def predictions_of(p, is_crack, groups=None, sources=None, paths=None) -> LabelledPredictions:
    """Every image its own group, all of one source, unless told otherwise."""
    p_N = np.asarray(p, dtype=np.float32)
    count = len(p_N)
    paths = paths or [f"/walls/{k:03}.jpg" for k in range(count)]
    groups = paths if groups is None else groups
    sources = ["wall"] * count if sources is None else sources
    cam_NHW = np.random.default_rng(0).normal(size=(count, 2, 2)).astype(np.float32)
    verdict_N, reason_N = decide(p_N, THRESHOLDS)
    return LabelledPredictions(
        images=tuple(
            LabelledImage(path, bool(crack), source, str(group))
            for path, crack, source, group in zip(paths, is_crack, sources, groups, strict=True)
        ),
        p_crack_N=p_N,
        verdict_N=verdict_N,
        reason_N=reason_N,
        cam_NHW=cam_NHW,
    )
