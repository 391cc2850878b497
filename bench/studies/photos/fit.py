"""The dense view's numbers from photos with known cracks: temperature and shift from windows inside
photos, the rule's weights from candidates and photos, thresholds with a guarantee in photos."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from bench.studies.photos.measure import FIRST
from bench.studies.photos.sources import CHOOSE, FIT, CrackPixels
from inspector.calibration.logits import fit_calibration
from inspector.calibration.thresholds import Judged, Rule, choose_thresholds
from inspector.model.evidence import PhotoRule, judge_photo, logit, photo_features, with_tile
from inspector.training.ood_fit import choose_ood_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.studies.photos.measure import Measured
    from inspector.model.bundle import DenseView, Thresholds
    from inspector.model.evidence import Candidate
    from inspector.types import JsonObject, PhotoScore

    Floats = NDArray[np.floating[Any]]

LEAST_PIXELS = 80
"""Crack pixels in a window from which it shows a crack; with fewer, but some, nobody can say."""
NEAR = 32
"""Pixels around a region within which a crack counts as found by it."""
WEIGHTS = {"peak": 1, "sum": 1, "bent": -1, "tile": 1}
"""Features of a candidate that the rule weighs, and the sign that their weight may have: more
evidence never makes a crack less probable."""
PHOTO_WEIGHTS = {"best": 1, "windows": -1}
RULE = Rule(target_recall=0.9, target_specificity=0.9, highest_clear=0.04, lowest_crack=0.73)
"""Nine photos in ten, with confidence; and `clear` below 0.04 only, however much of it they would
allow: a missed crack costs most."""
STAGES = ("windows", "tiles")


def fit_view(photos: Sequence[Measured]) -> DenseView:
    """A view with temperature and shift by the windows of the photos of the part `FIT`, with one
    decimal: more would not hold on the next structure."""
    odds_N, is_crack_N = labelled_windows([photo for photo in photos if photo.part == FIT])
    found = fit_calibration(np.stack([np.zeros_like(odds_N), odds_N], axis=1), is_crack_N)
    shift = found.shift / found.temperature
    return replace(FIRST, temperature=round(found.temperature, 1), shift=round(shift, 1))


def fit_dense(photos: Sequence[Measured], view: DenseView, rule: Rule = RULE) -> DenseView:
    """The view with a rule fitted on the photos of the part `FIT` and thresholds chosen on those of
    `CHOOSE`. The exact tiles that `view` asks for must have been judged."""
    fitted = replace(view, photo=fit_rule([p for p in photos if p.part == FIT], view))
    chosen_on = [p for p in photos if p.part == CHOOSE]
    ood = choose_ood_threshold(
        np.array([score(photo, fitted).ood_score for photo in chosen_on]),
        [photo.family for photo in chosen_on],
    )
    thresholds = choose(chosen_on, fitted, rule)
    return replace(fitted, thresholds=replace(thresholds, out_of_distribution=ood))


def labelled_windows(photos: Sequence[Measured]) -> tuple[Floats, NDArray[np.bool_]]:
    """Raw log odds of windows that show a crack or none, and which of them do."""
    odds, labels = [], []
    for photo in photos:
        if not photo.is_placed:
            continue
        pixels_HW = _pixels_by_window(photo)
        known_HW = (pixels_HW == 0) | (pixels_HW >= LEAST_PIXELS)
        odds.append(photo.raw.log_odds_HW[known_HW])
        labels.append(pixels_HW[known_HW] > 0)
    return np.concatenate(odds).astype(np.float64), np.concatenate(labels)


def _pixels_by_window(photo: Measured) -> NDArray[np.int64]:
    count = CrackPixels(photo.mask_HW)
    rows, columns = photo.raw.log_odds_HW.shape
    tops = photo.raw.top + photo.raw.stride * np.arange(rows)
    lefts = photo.raw.left + photo.raw.stride * np.arange(columns)
    size = photo.raw.size
    pixels_HW: NDArray[np.int64] = count(
        lefts[None, :], tops[:, None], lefts[None, :] + size, tops[:, None] + size
    )
    return pixels_HW


def is_inside(photo: Measured, box: tuple[int, int, int, int], margin: int) -> bool:
    """Whether a crack pixel lies in a box (left, top, right, bottom) or within `margin` of it."""
    left, top, right, bottom = box
    reached = left - margin, top - margin, right + margin, bottom + margin
    return bool(CrackPixels(photo.mask_HW)(*reached) > 0)


def fit_rule(photos: Sequence[Measured], dense: DenseView) -> JsonObject:
    """Weights of candidates from those whose truth is known, the candidates of a photo sharing its
    weight; then the photo's, of all photos."""
    rows, labels, weights, families = [], [], [], []
    for photo in photos:
        if photo.is_placed:
            featured = features_of(photo, dense)
            rows += [[features[name] for name in WEIGHTS] for _, features in featured]
            labels += [is_inside(photo, box_of(found), NEAR) for found, _ in featured]
            weights += [1 / np.sqrt(len(featured))] * len(featured)
            families += [photo.family] * len(featured)
    y_N = np.array(labels)
    weight_N = balanced(y_N, np.array(families), np.array(weights))
    candidate = _logistic(np.array(rows), y_N, weight_N, WEIGHTS)
    rule = asdict(
        replace(PhotoRule(), candidate=candidate, window_from=_window_from(photos, dense))
    )
    dense = replace(dense, photo=rule)
    rows = [[photo_odds(photo, dense)[name] for name in PHOTO_WEIGHTS] for photo in photos]
    y_N = np.array([photo.is_crack for photo in photos])
    family_N = np.array([photo.family for photo in photos])
    weight_N = balanced(y_N, family_N)
    return {**rule, "photo": _logistic(np.array(rows), y_N, weight_N, PHOTO_WEIGHTS)}


def box_of(found: Candidate) -> tuple[int, int, int, int]:
    return found.x, found.y, found.x + found.width, found.y + found.height


WINDOW_ALARMS = 0.02
"""Share of the crack-free windows that count as ones that show a crack."""


def _window_from(photos: Sequence[Measured], dense: DenseView) -> float:
    odds_N, is_crack_N = labelled_windows(photos)
    raw = float(np.quantile(odds_N[~is_crack_N], 1 - WINDOW_ALARMS))
    return round(raw / dense.temperature + dense.shift, 1)


def features_of(photo: Measured, dense: DenseView) -> list[tuple[Candidate, dict[str, float]]]:
    """A photo's candidates with their features."""
    candidates = photo.candidates(dense)
    tiles: list[float | None] = [*photo.tile_odds(candidates)]
    tiles += [None] * (len(candidates) - len(tiles))
    return [
        (found, with_tile(found.features, odds))
        for found, odds in zip(candidates, tiles, strict=True)
    ]


def photo_odds(photo: Measured, dense: DenseView) -> dict[str, float]:
    """A photo's features, of its candidates by the rule of `dense`."""
    weights = PhotoRule.from_json(dense.photo).candidate
    logits = [logit(weights, features) for _, features in features_of(photo, dense)]
    return photo_features(logits, photo.raw.log_odds_HW.size)


def score(photo: Measured, dense: DenseView) -> PhotoScore:
    """What a scan says of the photo."""
    candidates = photo.candidates(dense)
    odds = photo.tile_odds(candidates)
    return judge_photo(photo.windows(dense), candidates, odds, photo.sides, dense, STAGES)


def choose(photos: Sequence[Measured], dense: DenseView, rule: Rule) -> Thresholds:
    """Thresholds of the photo's probability; a family of photos counts as a source."""
    judged = Judged(
        np.array([score(photo, dense).p_crack for photo in photos]),
        np.array([photo.is_crack for photo in photos]),
        np.array([photo.family for photo in photos]),
    )
    return choose_thresholds(judged, rule, on=f"{len(photos):,} composed and drone photos")


def balanced(
    is_crack_N: NDArray[np.bool_], part_N: NDArray[np.str_], weight_N: Floats | float = 1.0
) -> NDArray[np.float64]:
    """Weights, in proportion to `weight_N`: both classes weigh the same, and so do the parts
    within a class."""
    balanced_N = np.broadcast_to(np.asarray(weight_N, np.float64), is_crack_N.shape).copy()
    for is_crack in (False, True):
        own = np.unique(part_N[is_crack_N == is_crack])
        for part in own:
            of_N = (is_crack_N == is_crack) & (part_N == part)
            balanced_N[of_N] *= 0.5 / len(own) / balanced_N[of_N].sum()
    return balanced_N


_RIDGE = 1e-3


def _logistic(
    x_NF: Floats, y_N: NDArray[np.bool_], weight_N: Floats, signs: dict[str, int]
) -> dict[str, float]:
    """Weights by name, and `bias`, of a logistic regression with a small penalty on the weights of
    standardised features, each with the sign that is allowed (0: any)."""
    mean_F, spread_F = x_NF.mean(axis=0), x_NF.std(axis=0) + 1e-9
    z_NF = (x_NF - mean_F) / spread_F

    def loss(t: Floats) -> tuple[float, Floats]:
        odds_N = z_NF @ t[1:] + t[0]
        surprise = weight_N @ np.logaddexp(0, np.where(y_N, -odds_N, odds_N))
        off_N = weight_N * (expit(odds_N) - y_N)
        slope = np.concatenate([[off_N.sum()], z_NF.T @ off_N + 2 * _RIDGE * t[1:]])
        return float(surprise + _RIDGE * (t[1:] ** 2).sum()), slope

    limits = {1: (0.0, None), -1: (None, 0.0), 0: (None, None)}
    bounds = [(None, None), *(limits[sign] for sign in signs.values())]
    start = np.zeros(len(bounds))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    weight_F = found[1:] / spread_F
    values = {"bias": float(found[0] - weight_F @ mean_F)}
    values |= {name: float(value) for name, value in zip(signs, weight_F, strict=True)}
    return {name: round(value, 4) for name, value in values.items()}
