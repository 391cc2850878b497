"""The checks that every engine makes on what goes in and what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import BackendError
from inspector.types import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.model.bundle import ModelBundle

    Answers = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    """What a graph answers for N images, in the order of `OUTPUT_NAMES`: probabilities (N, 2),
    activation maps (N, h, w), out-of-distribution scores (N,)."""


def check_pixels(pixels_NHWC: NDArray[np.uint8], size: int) -> None:
    """Raises ValueError unless uint8 (N >= 1, size, size, 3): a mistake in the caller's code."""
    if pixels_NHWC.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8, not {pixels_NHWC.dtype}")
    if pixels_NHWC.ndim != 4 or pixels_NHWC.shape[1:] != (size, size, 3) or not len(pixels_NHWC):
        raise ValueError(f"pixels must be (N >= 1, {size}, {size}, 3), not {pixels_NHWC.shape}")


def to_scores(bundle: ModelBundle, answers: Answers) -> Scores:
    """The crack class's column and the rest. Raises BackendError when an answer is not a number."""
    probabilities_NC, cam_NHW, ood_N = answers
    p_crack_N = np.ascontiguousarray(probabilities_NC[:, bundle.positive_index], dtype=np.float32)
    broken = int((~np.isfinite(p_crack_N) | ~np.isfinite(ood_N)).sum())
    if broken:
        raise BackendError(
            f"the engine answered no number for {broken} of {len(p_crack_N)} images; "
            "check this machine with: inspector doctor"
        )
    return Scores(
        p_crack_N,
        np.ascontiguousarray(cam_NHW, dtype=np.float32),
        np.ascontiguousarray(ood_N, dtype=np.float32),
    )


def as_one(parts: Sequence[Answers]) -> Answers:
    """The graph's answers to parts of one batch as one, in their order."""
    probabilities, cams, domains = zip(*parts, strict=True)
    return np.concatenate(probabilities), np.concatenate(cams), np.concatenate(domains)


def joined(parts: Sequence[Scores]) -> Scores:
    """The answers to parts of one batch as one, in their order."""
    stages = [part.stage_N for part in parts if part.stage_N is not None]
    return Scores(
        np.concatenate([part.p_crack_N for part in parts]),
        np.concatenate([part.cam_NHW for part in parts]),
        np.concatenate([part.ood_N for part in parts]),
        np.concatenate(stages) if stages else None,
    )


def in_one_line(error: BaseException) -> str:
    """What an engine says about its failure, which may be many lines, as part of one."""
    return " ".join(str(error).split()) or type(error).__name__
