"""From a photo's windows to places with evidence for a crack, and to one probability.

Cells with evidence that touch are a candidate. What is known of each (how strong, how long, how
thin) becomes its features; a logistic rule makes a probability of them, and another one the
photo's, of its best candidate. The rule is `PhotoRule`, JSON in the bundle. Boxes and windows are
in pixels of the upright photo, `sides` is its (height, width).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.untrusted import checked
from inspector.errors import BundleError
from inspector.model.bundle import DenseView
from inspector.model.verdict import SURE, probability
from inspector.model.windows import pushed_into
from inspector.types import PhotoScore, Region, SimpleRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.model.windows import WindowMap
    from inspector.types import JsonObject

MOST_TILES = 8
"""Candidates of a photo, the strongest ones, whose exact tile is judged at most."""
MOST_REGIONS = 100
"""Regions of a photo that are told at most, the most probable ones."""

CANDIDATE_FEATURES = ("peak", "sum", "bent", "tile", "window")
"""What a candidate's probability is made of: its highest cell and the sum of its cells, both on a
scale on which large log odds count less and less; how far its cells lie from its axis, as a share
of its length: a crack is a line; its exact tile, on that scale too, and as it is."""
PHOTO_FEATURES = ("best", "windows")
"""What a photo's is made of: log odds of its best candidate, and the logarithm of the number of
its windows: where one looks at more, more is found by chance."""

_CANDIDATE = {"bias": -11.9434, "peak": 2.4785, "sum": 0.9287, "bent": -10.2653, "tile": 0.7551}
_PHOTO = {"bias": 0.7726, "best": 0.9734, "windows": -0.2807}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRule:
    """The rule by which photos are judged."""

    grow: float = 3.25
    """Log odds from which a cell that touches a candidate belongs to it."""
    seed: float = 6.5
    """Log odds that a candidate's best cell has at least, but for the photo's best."""
    region_from: float = 0.6
    """Probability from which a candidate is told as a region."""
    window_from: float = 2.1
    """Log odds from which a window counts as one that shows a crack."""
    candidate: Mapping[str, float] = field(default_factory=lambda: dict(_CANDIDATE))
    """Weights of `CANDIDATE_FEATURES`, and `bias`; a missing one is 0."""
    photo: Mapping[str, float] = field(default_factory=lambda: dict(_PHOTO))
    """Weights of `PHOTO_FEATURES`, and `bias`."""

    def __post_init__(self) -> None:
        known = {"bias", *CANDIDATE_FEATURES}, {"bias", *PHOTO_FEATURES}
        for weights, names in zip((self.candidate, self.photo), known, strict=True):
            if unknown := weights.keys() - names:
                raise ValueError(f"no such feature: {', '.join(sorted(unknown))}")

    @classmethod
    def from_json(cls, values: JsonObject) -> PhotoRule:
        """Raises BundleError for anything that is no rule."""
        try:
            return checked(cls, values)
        except ValueError as error:
            raise BundleError(f"the bundle's rule for photos is damaged ({error})") from error


STRONGEST_TILE = DenseView(
    temperature=1.0,
    shift=0.0,
    photo={
        "grow": 0.0,
        "seed": 0.0,
        "region_from": 0.5,
        "window_from": 0.0,
        "candidate": {"window": 1.0},
        "photo": {"best": 1.0},
    },
)
"""The rule for models without a dense view: a photo is as probably cracked as the tile of it that
looks it most, and the tiles' thresholds decide."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A connected place with evidence. `features` are all but those of its exact tile."""

    x: int
    """Box around its cells: left, top, width, height."""
    y: int
    width: int
    height: int
    tile_x: int
    """Corner of the window at its peak, of the model's input size and inside the photo where that
    is large enough: its exact tile."""
    tile_y: int
    peak_x: float
    """Where its evidence is strongest, in pixels."""
    peak_y: float
    length_at_least: float
    length_at_most: float
    features: Mapping[str, float]


def find_candidates(
    window_map: WindowMap, sides: tuple[int, int], dense: DenseView
) -> tuple[Candidate, ...]:
    """The candidates of a photo, at least one, by falling evidence: the exact tiles of the first
    `MOST_TILES` are wanted."""
    rule = PhotoRule.from_json(dense.photo)
    grid = _Grid.of(window_map, sides, dense)
    odds, labels = grid.odds_HW.ravel(), components(grid.odds_HW >= rule.grow).ravel()
    cell_K = np.flatnonzero(labels >= 0)
    label_K = labels[cell_K]
    order_K = np.argsort(label_K, kind="stable")
    groups = np.split(cell_K[order_K], np.flatnonzero(np.diff(label_K[order_K])) + 1)
    kept = [group for group in groups if len(group) and odds[group].max() >= rule.seed]
    if not kept:
        best = odds.argmax()
        kept = [np.flatnonzero(labels == labels[best]) if labels[best] >= 0 else np.array([best])]
    found = [grid.candidate(group) for group in kept]
    found.sort(key=lambda c: c.features["peak"] + c.features["sum"], reverse=True)
    return tuple(found)


def judge_photo(
    window_map: WindowMap,
    candidates: Sequence[Candidate],
    tile_log_odds: Sequence[float],
    sides: tuple[int, int],
    dense: DenseView,
    stages: Sequence[str],
) -> PhotoScore:
    """A photo's answer. `tile_log_odds` are calibrated log odds of the exact tiles of the first
    candidates, as many as were judged; `stages` names who judged windows, and, where it has two
    names, who judged tiles."""
    rule = PhotoRule.from_json(dense.photo)
    logits = [
        logit(rule.candidate, with_tile(candidate.features, tile))
        for candidate, tile in zip_longest(candidates, tile_log_odds)
    ]
    order = sorted(range(len(candidates)), key=lambda k: logits[k], reverse=True)
    windows = window_map.log_odds_HW.size
    p_crack = probability(logit(rule.photo, photo_features(logits, windows)))
    regions = []
    for k in order[:MOST_REGIONS]:
        p_region = float(probability(logits[k]))
        if p_region < rule.region_from:
            break
        found, stage = candidates[k], stages[-1 if k < len(tile_log_odds) else 0]
        box = found.x, found.y, found.width, found.height
        lengths = found.length_at_least, found.length_at_most
        regions.append(Region(*box, p_region, *lengths, stage))
    first = candidates[order[0]]
    return PhotoScore(
        p_crack=float(p_crack),
        ood_score=window_map.ood_score,
        stage=stages[-1 if order[0] < len(tile_log_odds) else 0],
        regions=tuple(regions),
        windows=windows,
        crack_windows=int((window_map.log_odds_HW >= rule.window_from).sum()),
        peak_x=float(np.clip(first.peak_x / sides[1], 0, 1)),
        peak_y=float(np.clip(first.peak_y / sides[0], 0, 1)),
        simple=simple_rules(window_map),
    )


def simple_rules(window_map: WindowMap) -> SimpleRules:
    """What rules without candidates say of a photo."""
    step = -(-window_map.size // window_map.stride)
    p_K = np.sort(probability(window_map.log_odds_HW[::step, ::step].ravel()))
    return SimpleRules(
        maximum=float(p_K[-1]),
        top_three=float(p_K[-3:].mean()),
        noisy_or=float(1 - np.exp(np.log1p(-np.minimum(p_K, 1 - SURE)).sum())),
        mean=float(p_K.mean()),
    )


def with_tile(features: Mapping[str, float], tile_log_odds: float | None) -> dict[str, float]:
    """A candidate's features with that of its exact tile; where it was not judged, the window at
    its peak stands for it."""
    if tile_log_odds is None:
        return dict(features)
    return {**features, "tile": _bent(tile_log_odds), "window": tile_log_odds}


def photo_features(logits: Sequence[float], windows: int) -> dict[str, float]:
    """A photo's features from the log odds of its candidates."""
    return {"best": max(logits), "windows": math.log(windows)}


def components(is_in_HW: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Labels of the cells that touch, also at a corner: of each component the flat place of its
    first cell, -1 where `is_in_HW` does not hold."""
    rows, columns = is_in_HW.shape
    nothing = rows * columns
    label_HW = np.where(is_in_HW, np.arange(nothing).reshape(rows, columns), nothing)
    while True:
        framed = np.pad(label_HW, 1, constant_values=nothing)
        low = np.minimum(np.minimum(framed[:-2], framed[1:-1]), framed[2:])
        low = np.minimum(np.minimum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
        low = np.where(is_in_HW, low, nothing)
        # A label is a place with a label of its own: following it spans a long line in few rounds.
        low = np.append(low.ravel(), nothing)[low]
        if np.array_equal(low, label_HW):
            return np.where(is_in_HW, label_HW, -1)
        label_HW = low


@dataclass(frozen=True, slots=True)
class _Grid:
    """Local evidence of a photo: log odds of cells that do not overlap, of those cells whose middle
    lies within the photo. What its reflection beyond the border shows counts for nothing more."""

    odds_HW: NDArray[np.float32]
    rows: _Line
    columns: _Line
    window_map: WindowMap

    @classmethod
    def of(cls, found: WindowMap, sides: tuple[int, int], dense: DenseView) -> _Grid:
        """Of windows that were judged one by one, each says what lies in its middle."""
        odds_HW, shift = found.log_odds_HW, np.full(2, (found.size - found.stride) / 2)
        if found.cells_HW is not None:
            odds_HW, shift = found.cells_HW, np.array((dense.offset_y, dense.offset_x))
        rows, columns = (
            _Line.of(first, count, side, found.stride)
            for first, count, side in zip(
                shift + np.array((found.top, found.left)), odds_HW.shape, sides, strict=True
            )
        )
        inside_HW = odds_HW[
            rows.skipped : rows.skipped + rows.count,
            columns.skipped : columns.skipped + columns.count,
        ]
        return cls(inside_HW, rows, columns, found)

    def candidate(self, cell_K: NDArray[np.int64]) -> Candidate:
        row_K, column_K = np.divmod(cell_K, self.odds_HW.shape[1])
        odds_K = self.odds_HW[row_K, column_K].astype(np.float64)
        top = int(odds_K.argmax())
        x0, x1 = self.columns.span(column_K)
        y0, y1 = self.rows.span(row_K)
        tile_x, tile_y, window = self._window(int(row_K[top]), int(column_K[top]))
        peak_x, peak_y = self.columns.middle(column_K[top]), self.rows.middle(row_K[top])
        weight_K = np.maximum(odds_K, 0.1)
        strong_K = weight_K >= 0.5 * weight_K[top]
        length, thickness = _axis(row_K, column_K, weight_K)
        proven, _ = _axis(row_K[strong_K], column_K[strong_K], weight_K[strong_K])
        return Candidate(
            x0, y0, x1 - x0, y1 - y0, tile_x, tile_y, peak_x, peak_y,
            length_at_least=max(0.0, proven - 1) * self.window_map.stride,
            length_at_most=float((length + 2) * self.window_map.stride),
            features={
                "peak": _bent(odds_K[top]),
                "sum": float(np.log1p(np.maximum(odds_K, 0).sum())),
                "bent": thickness / (length + 1),
                "tile": _bent(window),
                "window": window,
            },
        )  # fmt: skip

    def _window(self, row: int, column: int) -> tuple[int, int, float]:
        """Corner of the strongest window with a cell, pushed into the photo, and its log odds."""
        found = self.window_map
        reach = 1 if found.cells_HW is None else found.size // found.stride
        last_row, last_column = row + self.rows.skipped, column + self.columns.skipped
        first_row, first_column = max(0, last_row - reach + 1), max(0, last_column - reach + 1)
        near = found.log_odds_HW[first_row : last_row + 1, first_column : last_column + 1]
        at_row, at_column = np.unravel_index(int(near.argmax()), near.shape)
        x = found.left + (first_column + int(at_column)) * found.stride
        y = found.top + (first_row + int(at_row)) * found.stride
        x, y = pushed_into((self.rows.side, self.columns.side), x, y, found.size)
        return x, y, float(near.max())


@dataclass(frozen=True, slots=True)
class _Line:
    """The cells along one side of the photo whose middle lies within it, at least one."""

    first: float
    """Pixel at which the first of them begins."""
    skipped: int
    """Cells before it."""
    count: int
    side: int
    stride: int

    @classmethod
    def of(cls, first: float, count: int, side: int, stride: int) -> _Line:
        middle_K = first + (np.arange(count) + 0.5) * stride
        inside_K = np.flatnonzero((middle_K >= 0) & (middle_K < side))
        if not len(inside_K):
            inside_K = np.array([np.abs(middle_K - side / 2).argmin()])
        skipped = int(inside_K[0])
        return cls(first + skipped * stride, skipped, len(inside_K), side, stride)

    def span(self, place_K: NDArray[np.int64]) -> tuple[int, int]:
        """Pixels from and to below of the cells; the outermost cells reach to the border."""
        low, high = int(place_K.min()), int(place_K.max())
        begin = 0 if low == 0 else round(self.first + low * self.stride)
        end = self.side if high == self.count - 1 else round(self.first + (high + 1) * self.stride)
        return begin, end

    def middle(self, place: np.int64) -> float:
        """The pixel in a cell's middle."""
        return min(max(self.first + (float(place) + 0.5) * self.stride, 0.0), float(self.side))


def _axis(
    row_K: NDArray[np.int64], column_K: NDArray[np.int64], weight_K: NDArray[np.float64]
) -> tuple[float, float]:
    """Extent along the principal axis and typical distance from it, in cells."""
    place_K2 = np.stack([row_K, column_K], axis=1).astype(np.float64)
    place_K2 -= np.average(place_K2, axis=0, weights=weight_K)
    spread_22 = (place_K2 * weight_K[:, None]).T @ place_K2 / weight_K.sum()
    variance_2, axis_22 = np.linalg.eigh(spread_22)
    along_K = place_K2 @ axis_22[:, 1]
    return float(np.ptp(along_K)), float(np.sqrt(max(0.0, variance_2[0])))


def _bent(odds: float) -> float:
    """Log odds whose excess beyond a few counts less and less."""
    return float(np.arcsinh(odds))


def logit(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    total = weights.get("bias", 0.0)
    return total + sum(weights.get(name, 0.0) * value for name, value in features.items())
