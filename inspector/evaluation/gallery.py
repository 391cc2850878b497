"""The images that the page shows: mistakes, suspect labels and leaks, with heat maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.pages import data_uri
from inspector.core.text import printable
from inspector.photos.decode import decode
from inspector.photos.drawing import HeatScale, draw_heat
from inspector.types import Decoded, ImageRef, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.evaluation.predictions import LabelledPredictions
    from inspector.labelled.leaks import Leak, LeakAudit
    from inspector.model.preprocess import PreprocessSpec

    Rows = NDArray[np.int64]
    """Rows of the predictions."""

LEAKS_SHOWN = 6
"""Pairs of each kind."""
SUSPECTS_SHOWN = 24
JPEG_QUALITY = 85


def find_mistakes(found: LabelledPredictions) -> dict[str, Rows]:
    """Rows of wrong predictions, the most confident mistake first: `missed`, cracks called clear;
    `false_alarms`, clear images called crack; `caught`, those on the wrong side of one half whose
    verdict is review."""
    truth_N, verdict_N, p_label_N = found.is_crack_N, found.verdict_N, _p_of_label(found)
    wrong_N = (found.p_crack_N >= 0.5) != truth_N
    mistaken = {
        "missed": truth_N & (verdict_N == str(Verdict.CLEAR)),
        "false_alarms": ~truth_N & (verdict_N == str(Verdict.CRACK)),
        "caught": wrong_N & (verdict_N == str(Verdict.REVIEW)),
    }
    return {name: _worst_first(rows_N, p_label_N) for name, rows_N in mistaken.items()}


def misclassified(found: LabelledPredictions) -> Rows:
    """Rows on the wrong side of one half, the most confidently wrong first."""
    return _worst_first((found.p_crack_N >= 0.5) != found.is_crack_N, _p_of_label(found))


def likely_label_errors(found: LabelledPredictions) -> Rows:
    """Rows that confident learning would relabel, the least credible label first.

    An image counts as confidently of a class when the model gives that class at least the mean
    probability that it gives it over the images labelled so; one that is confidently of the other
    class than its label, and not of its own, is suspect (Northcutt, Jiang and Chuang 2021,
    sections 3.1 and 3.2: the confident joint's off-diagonal). The model must not have learned from
    these images: it would repeat their labels.
    """
    truth_N, p_label_N = found.is_crack_N, _p_of_label(found)
    if truth_N.all() or not truth_N.any():
        return np.empty(0, dtype=np.int64)
    typical = {label: p_label_N[truth_N == label].mean() for label in (True, False)}
    own_N = np.where(truth_N, typical[True], typical[False])
    other_N = np.where(truth_N, typical[False], typical[True])
    suspect_N = (1 - p_label_N >= other_N) & (p_label_N < own_N)
    return _worst_first(suspect_N & (p_label_N < 0.5), p_label_N)


def _p_of_label(found: LabelledPredictions) -> NDArray[np.float64]:
    """The probability that the model gives to the label (N,)."""
    p_N = found.p_crack_N.astype(np.float64)
    return np.where(found.is_crack_N, p_N, 1 - p_N)


def _worst_first(wanted_N: NDArray[np.bool_], p_label_N: NDArray[np.float64]) -> Rows:
    rows = np.flatnonzero(wanted_N)
    return rows[np.argsort(p_label_N[rows], kind="stable")]


@dataclass(frozen=True, slots=True)
class Shown:
    """One image in a gallery; `picture` is None where its file is gone."""

    path: str
    source: str
    truth: str
    verdict: str
    p_crack: float
    picture: str | None
    heat: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """The first of `total` images."""

    total: int
    shown: list[Shown]


@dataclass(frozen=True, slots=True)
class Pair:
    """A leak: the held-out image and the training image it resembles, with their pictures."""

    kind: str
    path: str
    other: str
    picture: str | None
    other_picture: str | None


def collect(
    found: LabelledPredictions, spec: PreprocessSpec, leaks: LeakAudit | None, *, limit: int
) -> dict[str, Gallery | list[Pair]]:
    """Galleries by name: `missed`, `false_alarms` and `caught` with at most `limit` pictures each,
    `suspects` (labels to check), and `leaks`, a list of pairs."""
    maps = [cam_HW for cam_HW in found.cam_NHW if cam_HW.size]
    scale = HeatScale.of(np.stack(maps)) if maps else None

    def gallery(rows: Rows, most: int) -> Gallery:
        return Gallery(len(rows), [_shown(found, int(k), spec, scale) for k in rows[:most]])

    return {
        **{name: gallery(rows, limit) for name, rows in find_mistakes(found).items()},
        "suspects": gallery(likely_label_errors(found), min(limit, SUSPECTS_SHOWN)),
        "leaks": _pairs(leaks.leaks, spec) if leaks is not None else [],
    }


def _shown(
    found: LabelledPredictions, k: int, spec: PreprocessSpec, scale: HeatScale | None
) -> Shown:
    """A photo that was judged at its own scale has no heat map here."""
    image, cam_HW = found.images[k], found.cam_NHW[k]
    heat = ""
    if scale is not None and cam_HW.size:
        heat = data_uri(draw_heat(cam_HW, scale), "PNG", optimize=True)
    return Shown(
        path=printable(image.path),
        source=printable(image.source),
        truth="crack" if image.is_crack else "clear",
        verdict=str(found.verdict_N[k]),
        p_crack=float(found.p_crack_N[k]),
        picture=picture_of(image.path, spec),
        heat=heat,
    )


def _pairs(leaks: Sequence[Leak], spec: PreprocessSpec) -> list[Pair]:
    by_kind: dict[str, list[Leak]] = {}
    for leak in leaks:
        by_kind.setdefault(str(leak.kind), []).append(leak)
    return [
        Pair(
            kind.replace("_", " "),
            printable(leak.path),
            printable(leak.other),
            picture_of(leak.path, spec),
            picture_of(leak.other, spec),
        )
        for kind, of_kind in by_kind.items()
        for leak in of_kind[:LEAKS_SHOWN]
    ]


def picture_of(path: str, spec: PreprocessSpec) -> str | None:
    """A data URI of the image as the model sees it; None where it cannot be decoded any more."""
    from PIL import Image

    outcome = decode(ImageRef.of(path), spec)
    if not isinstance(outcome, Decoded):
        return None
    return data_uri(Image.fromarray(outcome.pixels_HWC), "JPEG", quality=JPEG_QUALITY)
