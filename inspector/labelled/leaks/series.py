"""Tiles numbered photo by photo, and a split that ignores it: found without knowing the photos.

The names of one folder from both sides are put in natural order. Two things must hold before any of
its images is called leaked. The names say something: held-out images look more like the training
images next to them by name than like those at other places in the folder. And the split ignores it:
neighbours on different sides are as alike as neighbours on one side, whereas a split between photos
changes sides where the photos change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_HELD_OUT, LEAST_TRAINING = 10, 20
"""Images of a folder below which its order is not judged."""
_NEIGHBOURS = 2
"""Training images before and after a held-out one that are looked at."""
_NEXT = 2
"""Places by which neighbours may be apart when both sides are in one order."""
_LEAST_NEXT = 0.25
"""Share of held-out images that must have a training image so near; where a split holds back runs
of ten names or more it is less."""
_SURE = 3.0
"""Standard deviations by which the true order must beat shifted ones."""
_ALIKE = 0.3
"""How unlike neighbours may be at most, on average: the rank, 0 to 1, among other places."""
_LIKELIER_THAN_NOT = 0.5
"""The same for a single image to be called leaked."""
_IGNORED = 0.8
"""Likeness of neighbours across sides in terms of that on one side. Splits by tile of six sources
gave 0.81 to 1.37; splits by photo 0.79 or less where enough images were next to each other."""
_LEAST_BORDERS = 10
_SHIFTS = 200
_PAIRS = 4000
_FARTHEST = 4.0
"""Spreads beyond which a trait counts no further: one odd figure must not decide."""


@dataclass(frozen=True, slots=True)
class Series:
    """What the order of a folder's names says about its held-out images, N of them.

    `is_leaked_N`, the nearest training image `mate_N` (place in the folder's training images) and
    its `distance_N` in spreads of the traits.
    """

    is_leaked_N: NDArray[np.bool_]
    mate_N: NDArray[np.intp]
    distance_N: NDArray[np.float32]


def judge_series(
    traits_NF: NDArray[np.floating], is_held_out_N: NDArray[np.bool_]
) -> Series | None:
    """None where the names of a folder say nothing or the split respects them.

    `traits_NF` (`looks.traits`) and `is_held_out_N` are in the order of the names, both sides
    together.
    """
    held_out, training = np.flatnonzero(is_held_out_N), np.flatnonzero(~is_held_out_N)
    if len(held_out) < LEAST_HELD_OUT or len(training) < LEAST_TRAINING:
        return None
    is_next = _places_to_nearest(held_out, training) <= _NEXT
    if is_next.mean() < _LEAST_NEXT:
        return None
    scaled = _in_spreads(traits_NF)
    before = np.searchsorted(training, held_out)
    around = before[:, None] + np.arange(-_NEIGHBOURS, _NEIGHBOURS)
    near = _Neighbours(scaled[training], scaled[held_out], around)
    rank_N, surprise = near.ranks()
    if rank_N[is_next].mean() > _ALIKE or surprise < _SURE:
        return None
    if not _ignores_likeness(scaled, is_held_out_N):
        return None
    mate_N, distance_N = near.nearest()
    return Series(is_next & (rank_N <= _LIKELIER_THAN_NOT), mate_N, distance_N)


def _places_to_nearest(places: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.intp]:
    after = np.searchsorted(others, places)
    below = places - others[np.maximum(after - 1, 0)]
    above = others[np.minimum(after, len(others) - 1)] - places
    nearest: NDArray[np.intp] = np.minimum(np.abs(below), np.abs(above))
    return nearest


def _in_spreads(traits_NF: NDArray[np.floating]) -> NDArray[np.float32]:
    """Traits less their median, in median absolute deviations."""
    traits = traits_NF.astype(np.float32)
    centred = traits - np.median(traits, axis=0)
    spread = np.median(np.abs(centred), axis=0)
    # A trait that most images share exactly, as grey ones their lack of colour, has no spread.
    scaled: NDArray[np.float32] = centred / np.maximum(spread, np.float32(0.01))
    return scaled.clip(-_FARTHEST, _FARTHEST)


def _distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.abs(one - other).mean(axis=-1)
    return found


@dataclass(frozen=True, slots=True)
class _Neighbours:
    training: NDArray[np.float32]
    held_out: NDArray[np.float32]
    around: NDArray[np.intp]
    """(N, neighbours): which training images; beyond the ends it goes on at the other end."""

    def _to_each(self, shift: int = 0) -> NDArray[np.float32]:
        places = (self.around + shift) % len(self.training)
        return _distances(self.training[places], self.held_out[:, None])

    def nearest(self) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        distances = self._to_each()
        best = distances.argmin(axis=1)
        rows = np.arange(len(best))
        return self.around[rows, best] % len(self.training), distances[rows, best]

    def ranks(self) -> tuple[NDArray[np.float64], float]:
        """Per held-out image, the share of shifted places with a training image as near as its own
        neighbours; and how far the mean of that lies below the means of the shifted orders, in
        their standard deviations. Shifts keep what neighbours have in common, so that the
        comparison holds however the folder is ordered."""
        count = min(_SHIFTS, len(self.training) - 1)
        shifts = np.linspace(0, len(self.training), count + 2)[1:-1].astype(int)
        shifted = np.stack([self._to_each(int(shift)).min(axis=1) for shift in shifts])
        rank_N = (shifted <= self._to_each().min(axis=1)).mean(axis=0)
        ranks = (np.argsort(np.argsort(shifted, axis=0), axis=0) / len(shifts)).mean(axis=1)
        return rank_N, float((ranks.mean() - rank_N.mean()) / max(ranks.std(), 1e-3))


def _ignores_likeness(scaled: NDArray[np.float32], is_held_out_N: NDArray[np.bool_]) -> bool:
    """Whether neighbours by name are about as alike across the sides as on one side."""
    first, second = np.random.default_rng(0).integers(0, len(scaled), (2, _PAIRS))
    apart = first != second
    by_chance = np.sort(_distances(scaled[first[apart]], scaled[second[apart]]))
    steps = _distances(scaled[1:], scaled[:-1])
    ranks = np.searchsorted(by_chance, steps) / len(by_chance)
    crosses = is_held_out_N[1:] != is_held_out_N[:-1]
    if min(crosses.sum(), (~crosses).sum()) < _LEAST_BORDERS:
        # So regular a split (every second tile) leaves nothing to compare with, and takes no heed.
        return bool(crosses.mean() > 0.5)
    within = 0.5 - ranks[~crosses].mean()
    return bool(0.5 - ranks[crosses].mean() >= _IGNORED * within > 0)
