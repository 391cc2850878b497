"""The images that the page shows: mistakes, suspect labels, leaks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.text import printable
from inspector.evaluation.mistakes import find_mistakes, likely_label_errors
from inspector.evaluation.pictures import HeatScale, heat_of, picture_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.evaluation.judged import JudgedImages
    from inspector.labelled.leaks import Leak, LeakAudit
    from inspector.model.preprocess import PreprocessSpec

LEAKS_SHOWN = 6
"""Pairs of each kind."""
SUSPECTS_SHOWN = 24
NAME_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """One image in a gallery; `picture` is None where its file is gone."""

    path: str
    name: str
    source: str
    truth: str
    verdict: str
    reason: str
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
    """A leak: the held-out image and the one that gives it away, with their pictures."""

    kind: str
    path: str
    other: str
    picture: str | None
    other_picture: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Galleries:
    """All that the page shows in pictures."""

    missed: Gallery
    false_alarms: Gallery
    caught: Gallery
    suspects: Gallery
    leaks: list[Pair]


def collect(
    judged: JudgedImages, spec: PreprocessSpec, leaks: LeakAudit | None, *, limit: int
) -> Galleries:
    """Pictures of the mistakes, `limit` of each kind at most, and of suspect labels and leaks."""
    mistakes = find_mistakes(judged)
    scale = HeatScale.of(judged.cam_NHW)

    def gallery(places: NDArray[np.int64], most: int) -> Gallery:
        return Gallery(len(places), [_shown(judged, int(k), spec, scale) for k in places[:most]])

    return Galleries(
        missed=gallery(mistakes.missed, limit),
        false_alarms=gallery(mistakes.false_alarms, limit),
        caught=gallery(mistakes.caught, limit),
        suspects=gallery(likely_label_errors(judged), min(limit, SUSPECTS_SHOWN)),
        leaks=_pairs(leaks.leaks, spec) if leaks is not None else [],
    )


def _shown(judged: JudgedImages, k: int, spec: PreprocessSpec, scale: HeatScale) -> Shown:
    image = judged.images[k]
    return Shown(
        path=printable(image.path),
        name=_end_of(printable(os.path.basename(image.path))),
        source=printable(image.source),
        truth="crack" if image.is_crack else "clear",
        verdict=str(judged.verdict_N[k]),
        reason=str(judged.reason_N[k]).replace("_", " "),
        p_crack=float(judged.p_crack_N[k]),
        picture=picture_of(image.path, spec),
        heat=heat_of(judged.cam_NHW[k], scale),
    )


def _end_of(name: str) -> str:
    """Cameras and tilers count at the end of a name."""
    return name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"


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
        for kind, found in by_kind.items()
        for leak in found[:LEAKS_SHOWN]
    ]
