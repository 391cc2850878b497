"""The gates that refuse an exported model, and the margins that a lower precision needs.

An fp32 variant must predict like eager torch on every image. A lower precision defers to fp32 what
lies within a margin of a threshold, and with that its verdicts must be those of fp32.
"""

from __future__ import annotations

from contextlib import ExitStack, closing

import numpy as np
from numpy.typing import NDArray

from inspector.core.machine import installed_version
from inspector.engines import Backend, open_engine
from inspector.engines.combined import FAMILIAR
from inspector.engines.contract import VARIANTS
from inspector.engines.parity import (
    CAM_TOLERANCE,
    OOD_TOLERANCE,
    PROBABILITY_TOLERANCE,
    ParityReport,
    verdicts,
)
from inspector.errors import ExportError
from inspector.model.bundle import ModelBundle, Thresholds
from inspector.model.verdict import log_odds
from inspector.types import JsonObject, Scores, Verdict

SAFETY = 1.5
"""Factor on the margin that the choosing images need: the farthest of their few flips is a random
draw, and other photos draw farther ones. The gate, on other images, tells if it suffices."""
MOVED_SHARE = 0.99
"""Share of images whose logit the precision moves by less than the margin, whatever flipped: only
one of the rest can get another verdict, and only if it also lies just beyond the margin."""
LEAST_MARGIN = 0.02
"""Allowance for what a CPU does not show: it rounds to half precision less often than a GPU does.
Step by step, as a GPU rounds, fp16 moved the shipped model's log odds by 0.003 at most."""
LEAST_FIRST = 1.0, 1.0, 0.25
"""The least margins of a narrow variant: it is another network, not the model rounded."""
_TRIED = 41
"""Out-of-distribution margins that are tried at most."""
FLIPS_PER = 1000
"""Verdicts of which one may differ from fp32's, with the margin applied."""
MOST_DEFERRED = 0.6
"""Largest share of images that may be deferred to fp32: beyond it a variant that is 1.6 times as
fast gains nothing."""
MOST_LEFT = 0.8
"""Largest share that a narrow variant may leave to others: an image costs it a sixth of what int8
takes."""
_DISTRIBUTIONS = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime"), "torchscript": ("torch",)}
"""Python distributions that bring each engine."""


def gate_exact(variant: str, report: ParityReport) -> None:
    """The gate of an fp32 variant. Raises ExportError naming the image whose verdict differs or
    whose probability differs most."""
    if report.verdict_flips:
        problem = (
            f"{len(report.verdict_flips)} of {report.images} verdicts differ; "
            f"{report.verdict_flips[0]}"
        )
    elif report.max_difference > PROBABILITY_TOLERANCE:
        problem = f"{report.worst}, and {PROBABILITY_TOLERANCE:g} is allowed"
    elif report.max_cam_difference > CAM_TOLERANCE:
        problem = (
            f"activation maps differ by {report.max_cam_difference:.2g} of their magnitude, "
            f"and {CAM_TOLERANCE:g} is allowed"
        )
    elif report.max_ood_difference > OOD_TOLERANCE:
        problem = (
            f"out-of-distribution scores differ by {report.max_ood_difference:.2g} of their size, "
            f"and {OOD_TOLERANCE:g} is allowed"
        )
    else:
        return
    raise ExportError(
        f"{variant} does not predict like the original model: {problem}; nothing was written"
    )


def choose_margins(
    reference: Scores, candidate: Scores, thresholds: Thresholds
) -> tuple[float, float]:
    """Margins of the probability, in logits, and of the out-of-distribution score, in its own
    units: each `SAFETY` times the smallest one with which no verdict of the N >= 1 images differs
    by it, and at least `LEAST_MARGIN` and what moves `MOVED_SHARE` of them."""
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
    """The margin of one quantity, whose edges separate the verdicts."""
    distance_N = np.abs(candidate_N[:, None] - edges_E).min(axis=1)
    sides_N = [(values[:, None] >= edges_E).sum(axis=1) for values in (reference_N, candidate_N)]
    needed = SAFETY * distance_N[sides_N[0] != sides_N[1]].max(initial=0.0)
    moved_N = np.abs(candidate_N - reference_N)
    return float(max(needed, np.quantile(moved_N, MOVED_SHARE), LEAST_MARGIN))


def choose_first_margins(
    reference: Scores, candidate: Scores, thresholds: Thresholds
) -> tuple[float, float, float]:
    """Margins of a narrow variant: below `clear_below` and above `crack_from`, in logits, and below
    the out-of-distribution threshold: `SAFETY` times those with which it decides most of the N >= 1
    images and gives none of them another verdict than the reference, and at least `LEAST_FIRST`."""
    verdict_N = verdicts(reference, thresholds)
    logit_N = log_odds(candidate.p_crack_N)
    limit = thresholds.out_of_distribution or FAMILIAR
    distances = (
        float(log_odds(thresholds.clear_below)) - logit_N,
        logit_N - float(log_odds(thresholds.crack_from)),
        limit - candidate.ood_N.astype(np.float64),
    )
    wrong = [verdict_N != said for said in (Verdict.CLEAR, Verdict.CRACK)]
    best, found = -1, (0.0, 0.0, 0.0)
    for familiar in _steps(distances[2]):
        known_N = distances[2] > familiar
        sides = [_first(d[known_N], w[known_N]) for d, w in zip(distances, wrong, strict=False)]
        decided = sum(count for _, count in sides)
        if decided > best:
            best, found = decided, (sides[0][0], sides[1][0], familiar)
    low, high, familiar = (
        max(SAFETY * margin, least) for margin, least in zip(found, LEAST_FIRST, strict=True)
    )
    return low, high, familiar


def _steps(distance_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances that are worth trying as a margin."""
    inside_N = np.append(distance_N[distance_N > 0], 0.0)
    return np.unique(np.append(0.0, np.quantile(inside_N, np.linspace(0, 1, _TRIED))))


def _first(distance_N: NDArray[np.float64], is_wrong_N: NDArray[np.bool_]) -> tuple[float, int]:
    """The smallest margin of one side beyond which nothing is wrong, and how many images it
    decides."""
    margin = float(distance_N[is_wrong_N].max(initial=0.0))
    return margin, int((distance_N > margin).sum())


def gate_reduced(name: str, seen: JsonObject) -> None:
    """The gate of a lower precision. Raises ExportError when, by the evidence `seen`, verdicts
    differ or too many images would be deferred to fp32."""
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
        "kind that is scanned, or export without it; nothing was written"
    )


class CpuEngines(ExitStack):
    """Opens engines, each for one variant, which are closed together. On the CPU: a GPU's shortcuts
    are a property of that machine, not of the export."""

    def __call__(self, bundle: ModelBundle, precision: str, name: str = VARIANTS) -> Backend:
        engine = open_engine(bundle, name, device="cpu", precision=precision)
        return self.enter_context(closing(engine))


def engine_version(backend: str) -> str:
    """Name and version of the engine, for the evidence that a bundle keeps."""
    known = filter(None, map(installed_version, _DISTRIBUTIONS[backend]))
    return f"{backend} {next(known, 'of unknown version')}"
