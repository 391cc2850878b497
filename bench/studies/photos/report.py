"""Figures of photo verdicts and regions on the photos that test, and a page of them."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from bench.studies.photos.fit import NEAR, is_inside, score
from bench.studies.photos.scenes import CURVE
from inspector.evaluation.figures import RuleFigures, compare_rules
from inspector.evaluation.metrics import roc_auc
from inspector.evaluation.wording import RULE_COLUMNS, rule_cells
from inspector.model.verdict import decide
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from bench.studies.photos.measure import Measured
    from inspector.model.bundle import DenseView
    from inspector.types import JsonObject, PhotoScore

ALL = "all"
FAMILIES = {
    "drone": "drone crops, 448 px; crack-free parts of them",
    "boards": "hairlines of 0.8 to 2.5 px among seams of formwork, 512 px",
    "walls": "any surface and company, cracks of 1 to 6 px, 448 to 1024 px",
    "stones": "bonds of bricks and setts, cracks of 1.5 to 6 px, 512 to 1024 px",
    "tiles": "tiles of other walls, continued by mirror images, 448 px",
    "patches": "METU tiles side by side, 454 to 1135 px",
    "slabs": "slabs with joints, cracks of 1 to 5 px, 1920 x 1080 px",
    "large": "textures with joints or cables, cracks of 1 to 6 px, 12 MP",
    "sheets": "METU tiles side by side, 3.6 to 7 MP",
    "mosaics": "METU mosaics, 7 MP",
}


def figures(photos: Sequence[Measured], dense: DenseView) -> JsonObject:
    """All figures of photos, as data."""
    curve = [photo for photo in photos if photo.family == CURVE]
    photos = [photo for photo in photos if photo.family != CURVE]
    answers = [score(photo, dense) for photo in photos]
    p_N = np.array([answer.p_crack for answer in answers])
    verdict_N, _ = decide(p_N, dense.thresholds)
    family_N = np.array([photo.family for photo in photos])
    is_crack_N = np.array([photo.is_crack for photo in photos])
    families = {}
    for family in (*FAMILIES, ALL):
        of_N = np.ones(len(photos), np.bool_) if family == ALL else family_N == family
        if of_N.any():
            chosen = [(photos[k], answers[k]) for k in np.flatnonzero(of_N).tolist()]
            families[family] = {
                **_verdicts(p_N[of_N], verdict_N[of_N], is_crack_N[of_N]),
                **_places(chosen),
            }
    simple = [answer.simple for answer in answers if answer.simple is not None]
    rules = compare_rules(is_crack_N, p_N, simple)
    return {
        "families": families,
        "rules": [asdict(rule) for rule in rules],
        "recall": _recall(curve, dense),
    }


def _verdicts(
    p_N: NDArray[np.float64], verdict_N: NDArray[np.str_], is_crack_N: NDArray[np.bool_]
) -> JsonObject:
    cracked, clear = verdict_N[is_crack_N], verdict_N[~is_crack_N]
    return {
        "cracked": len(cracked),
        "missed": _share(cracked == Verdict.CLEAR),
        "found": _share(cracked == Verdict.CRACK),
        "clear": len(clear),
        "alarms": _share(clear == Verdict.CRACK),
        "review": _share(verdict_N == Verdict.REVIEW),
        "roc_auc": _auc(is_crack_N, p_N),
    }


def _places(chosen: Iterable[tuple[Measured, PhotoScore]]) -> JsonObject:
    """Of photos whose cracks' places are known: share of the crack pixels that regions touch, and
    share of the regions with no crack within `NEAR` px, of cracked photos and of all."""
    touched = pixels = regions = off = off_cracked = regions_cracked = 0
    shares, within = [], []
    for photo, answer in chosen:
        if not photo.is_placed:
            continue
        boxes = [(r.x, r.y, r.x + r.width, r.y + r.height) for r in answer.regions]
        missing = sum(not is_inside(photo, box, NEAR) for box in boxes)
        regions, off = regions + len(boxes), off + missing
        if not photo.is_crack:
            continue
        regions_cracked, off_cracked = regions_cracked + len(boxes), off_cracked + missing
        cover_HW = np.zeros(photo.sides, np.bool_)
        for x0, y0, x1, y1 in boxes:
            cover_HW[y0:y1, x0:x1] = True
        own, total = int((cover_HW & photo.mask_HW).sum()), int(photo.mask_HW.sum())
        touched, pixels = touched + own, pixels + total
        shares.append(own / total)
        within.append(cover_HW.mean())
    return {
        "pixels_touched": touched / pixels if pixels else None,
        "pixels_touched_by_photo": float(np.mean(shares)) if shares else None,
        "photo_covered": float(np.mean(within)) if within else None,
        "regions": regions,
        "regions_off": off / regions if regions else None,
        "regions_off_cracked": off_cracked / regions_cracked if regions_cracked else None,
    }


def _recall(photos: Sequence[Measured], dense: DenseView) -> list[JsonObject]:
    """Verdicts of the photos of the recall curve, by company, width and contrast."""
    said: dict[tuple[str, float, float], list[str]] = {}
    for photo in photos:
        verdict, _ = decide(np.array([score(photo, dense).p_crack]), dense.thresholds)
        facts = photo.facts
        case = str(facts["surface"]), float(facts["width"]), float(facts["contrast"])
        said.setdefault(case, []).append(str(verdict[0]))
    return [
        {
            "surface": surface, "width": width, "contrast": contrast, "photos": len(verdicts),
            "found": verdicts.count(Verdict.CRACK) / len(verdicts),
            "missed": verdicts.count(Verdict.CLEAR) / len(verdicts),
        }
        for (surface, width, contrast), verdicts in sorted(said.items())
    ]  # fmt: skip


def _share(is_N: NDArray[np.bool_]) -> float | None:
    return float(is_N.mean()) if len(is_N) else None


def _auc(is_crack_N: NDArray[np.bool_], p_N: NDArray[np.float64]) -> float | None:
    value = roc_auc(p_N, is_crack_N)
    return value if math.isfinite(value) else None


def families_table(found: JsonObject) -> list[str]:
    """Verdicts and regions by family."""
    lines = [
        "| photos | cracked | called clear | called crack | crack-free | called crack | review "
        "| ROC AUC | crack pixels touched | regions off a crack (of cracked photos) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for family, f in found["families"].items():
        off = f"{_percent(f['regions_off'])} ({_percent(f['regions_off_cracked'])})"
        lines.append(
            f"| {FAMILIES.get(family, family)} | {f['cracked']} | {_percent(f['missed'])} "
            f"| {_percent(f['found'])} | {f['clear']} | {_percent(f['alarms'])} "
            f"| {_percent(f['review'])} | {_number(f['roc_auc'])} "
            f"| {_percent(f['pixels_touched'])} | {off} |"
        )
    return lines


def rules_table(found: JsonObject) -> list[str]:
    """The rule beside simpler ones."""
    lines = [f"| {' | '.join(RULE_COLUMNS)} |", "| --- | ---: | ---: | ---: | ---: |"]
    return lines + [f"| {' | '.join(rule_cells(RuleFigures(**rule)))} |" for rule in found["rules"]]


def recall_table(found: JsonObject) -> list[str]:
    """Cracked photos called crack / called clear, by width, contrast and company."""
    contrasts = sorted({case["contrast"] for case in found["recall"]})
    lines = [
        f"| | width, px | {' | '.join(f'contrast {contrast:g}' for contrast in contrasts)} |",
        f"| --- | ---: |{' ---: |' * len(contrasts)}",
    ]
    rows: dict[tuple[str, float], list[str]] = {}
    for case in found["recall"]:
        shares = f"{100 * case['found']:.0f} % / {100 * case['missed']:.0f} %"
        rows.setdefault((case["surface"], case["width"]), []).append(shares)
    lines += [f"| {of} | {width:g} | {' | '.join(row)} |" for (of, width), row in rows.items()]
    return lines


def markdown(found: JsonObject) -> str:
    """The figures as tables."""
    tables = (families_table(found), rules_table(found), recall_table(found))
    return "\n\n".join("\n".join(lines) for lines in tables) + "\n"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
