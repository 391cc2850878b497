"""The cascade's first stage: a student's low-resolution int8 file, the band in which it does not
decide, and the gate on what it does."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from export.evidence import engine_version
from export.heldback import calibration_pixels, check_enough
from export.margin import FLIPS_PER
from export.onnx import export_onnx
from export.photos import photo_batches
from export.quantize import quantise_to
from inspector.engines import open_engine
from inspector.engines.cascade import Doubt
from inspector.engines.contract import joined
from inspector.engines.parity import (
    SURE,
    differing,
    log_odds,
    probability,
    settled,
    verdicts,
)
from inspector.engines.tuning import SENT_ON
from inspector.errors import ExportError
from inspector.model.bundle import Cascade
from inspector.model.metadata import model_metadata
from inspector.model.preprocess import shrink
from inspector.model.student import load_student
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from export.config import ExportConfig
    from export.heldback import Photos
    from inspector.model.bundle import ModelBundle, Thresholds
    from inspector.types import JsonObject, Scores

CASCADE_FILE = "model.low.int8.onnx"
_ENGINE, _PRECISION = "onnxruntime", "int8"
MISSED_PER = 2000
"""Of so many cracks that full resolution finds, one may be called clear."""
GUARD = 1.0
"""Log odds between the band's edge and the choosing photo that came nearest to a wrong decision:
the most extreme of a sample is a random draw, and other photos draw more extreme ones."""
FAMILIAR_SHARE = 0.98
"""Of the photos that the model knows, so many may be decided by the first stage, as far as
familiarity goes. What is foreign at full resolution lies beyond it far more often than not."""
SURELY_FOREIGN = 1e9
"""Stands for "never" where a model knows no domain: JSON has no infinity."""
MOST_SENT_ON = 0.9
"""Largest share of images that may go on: beyond it the first stage only costs time."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """The answers to the same N photos at full resolution (fp32) and by the stage."""

    photos: list[str]
    full: Scores
    low: Scores


def make_cascade(
    exact: ModelBundle, draft: ModelBundle, config: ExportConfig, photos: Photos
) -> Cascade:
    """The first stage, written to `draft`'s directory, with its band and evidence.

    `exact` is a bundle that holds the fp32 ONNX file; its student is at `config.student`. Raises
    ExportError when too few photos can be decoded or the stage does not pass its gate.
    """
    student, size = load_student(config.student, exact)
    file = draft.file(CASCADE_FILE)
    with TemporaryDirectory(prefix="inspector-cascade-") as scratch:
        fp32 = Path(scratch) / "low.onnx"
        export_onnx(student, size, model_metadata(exact), fp32)
        calibration_NHWC = calibration_pixels(photos, exact.preprocess)
        made = quantise_to(fp32, file, _shrunk(calibration_NHWC, size), model_metadata(exact))
    open_band = Cascade(
        file=CASCADE_FILE, backend=_ENGINE, precision=_PRECISION, size=size,
        clear_below=0.0, crack_from=1.0, familiar_below=0.0,
    )  # fmt: skip
    chosen = _judge(exact, draft, open_band, photos.choosing)
    familiar_below = choose_familiar(chosen.full, chosen.low, exact.thresholds)
    low, high = choose_band(chosen.full, chosen.low, exact.thresholds, familiar_below)
    cascade = replace(open_band, clear_below=low, crack_from=high, familiar_below=familiar_below)
    gated = _judge(exact, draft, cascade, photos.gating)
    check_enough(len(gated.photos), config)
    seen = _evidence(gated, cascade, exact.thresholds, photos.folder)
    gate_cascade(seen)
    seen |= {
        "band_chosen_on": len(chosen.photos),
        "quantisation": made.to_json(),
        "reference": f"{engine_version(_ENGINE)}, fp32",
        "engine": engine_version(_ENGINE),
    }
    return replace(cascade, evidence=seen)


def _shrunk(pixels_NHWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.stack([shrink(pixels_HWC, size) for pixels_HWC in pixels_NHWC])


def _judge(
    exact: ModelBundle, draft: ModelBundle, cascade: Cascade, photos: Sequence[Path]
) -> _Judged:
    judged: list[str] = []
    full: list[Scores] = []
    low: list[Scores] = []
    with ExitStack() as stack:
        reference = stack.enter_context(closing(open_engine(exact, _ENGINE, device="cpu")))
        candidate = stack.enter_context(
            closing(open_engine(draft, _ENGINE, device="cpu", precision=_PRECISION, low=cascade))
        )
        for names, pixels_NHWC in photo_batches(photos, exact.preprocess):
            judged += names
            full.append(reference.run(pixels_NHWC))
            low.append(candidate.run(_shrunk(pixels_NHWC, cascade.size)))
    if not judged:
        raise ExportError("none of the held-back photos can be decoded; give --images others")
    return _Judged(judged, joined(full), joined(low))


def choose_familiar(full: Scores, low: Scores, thresholds: Thresholds) -> float:
    """`familiar_below` of the first stage: `FAMILIAR_SHARE` of the choosing photos that are in
    domain at full resolution have a lower score. Never above the model's own threshold, so that
    nothing the stage decides is out of distribution."""
    if thresholds.out_of_distribution is None:
        return SURELY_FOREIGN
    in_distribution_N = full.ood_N < thresholds.out_of_distribution
    usual = float(np.quantile(low.ood_N[in_distribution_N], FAMILIAR_SHARE))
    return min(usual, thresholds.out_of_distribution)


def choose_band(
    full: Scores, low: Scores, thresholds: Thresholds, familiar_below: float
) -> tuple[float, float]:
    """`clear_below` and `crack_from` of the first stage: with them no choosing photo that is
    familiar to it gets another verdict than at full resolution, and none comes nearer to it than
    `GUARD`. Never inside the model's own thresholds. An edge beyond which nothing is safe is 0 or
    1."""
    familiar_N = low.ood_N < familiar_below
    odds_N = log_odds(low.p_crack_N[familiar_N])
    verdict_N = verdicts(full, thresholds)[familiar_N]
    not_clear_N, crack_N = verdict_N != Verdict.CLEAR, verdict_N == Verdict.CRACK
    lowest = float(probability(odds_N[not_clear_N].min(initial=np.inf) - GUARD))
    highest = float(probability(odds_N[~crack_N].max(initial=-np.inf) + GUARD))
    # As sure as a float32 can be, and wrong: then no answer is sure enough.
    lowest = 0.0 if lowest < SURE else lowest
    highest = 1.0 if highest > 1 - SURE else highest
    return min(lowest, thresholds.clear_below), max(highest, thresholds.crack_from)


def _evidence(gated: _Judged, cascade: Cascade, thresholds: Thresholds, folder: Path) -> JsonObject:
    sent_on_N = Doubt.between(cascade).about(gated.low)
    final = settled(gated.low, gated.full, sent_on_N)
    flipped_N = differing(gated.full, final, thresholds)
    cracks_N = verdicts(gated.full, thresholds) == Verdict.CRACK
    missed_N = cracks_N & (verdicts(final, thresholds) == Verdict.CLEAR)
    pairs_N2 = np.stack([gated.full.p_crack_N, gated.low.p_crack_N], axis=1)
    return {
        "images": len(gated.photos),
        "cracks": int(cracks_N.sum()),
        SENT_ON: float(sent_on_N.mean()),
        "sent_on_by_source": _by_source(gated.photos, sent_on_N, folder),
        "verdict_flips": pairs_N2[flipped_N].tolist(),
        "cracks_called_clear": int(missed_N.sum()),
    }


def _by_source(
    photos: Sequence[str], sent_on_N: NDArray[np.bool_], folder: Path
) -> dict[str, float]:
    """Share sent on by the first folder below `folder`; photos that lie in none are "." together,
    so that no photo's name, which may be private, gets into a bundle."""
    places = [Path(photo).relative_to(folder).parent for photo in photos]
    sources = np.array([place.parts[0] if place.parts else "." for place in places])
    return {str(s): float(sent_on_N[sources == s].mean()) for s in np.unique(sources)}


def gate_cascade(seen: JsonObject) -> None:
    """Raises ExportError when the evidence `seen` says that verdicts differ, that cracks are
    missed, or that nearly everything would be judged twice."""
    flips, images = len(seen["verdict_flips"]), seen["images"]
    missed, cracks = seen["cracks_called_clear"], seen["cracks"]
    if flips > images // FLIPS_PER:
        problem = f"{flips} of {images} verdicts differ, and {images // FLIPS_PER} may"
    elif missed > cracks // MISSED_PER:
        problem = f"{missed} of {cracks} cracks are called clear, and {cracks // MISSED_PER} may"
    elif seen[SENT_ON] > MOST_SENT_ON:
        problem = f"{seen[SENT_ON]:.0%} of the photos go on to full resolution"
    else:
        return
    raise ExportError(
        f"the cascade is of no use for this model: {problem}; give --calibration more photos of "
        "the kind that is judged, or export without it; nothing was written"
    )
