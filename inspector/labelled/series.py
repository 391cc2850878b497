"""Series: tiles numbered photo by photo and split without regard to the photos.

They are found without groups. The images of one folder, from both sides, are put in the natural
order of their names. Two things must hold before any of them counts as leaked. Neighbours by name
look more alike than images picked at random, so the names say something. And neighbours on
different sides look about as alike as neighbours on one side: a split between photos changes sides
where the photos change.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from inspector.labelled.fingerprints import below_shared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.labelled.fingerprints import Fingerprints

    Folder = tuple[tuple[str, ...], bool]
    """Source (its parts) and class."""

MIN_HELD_OUT, MIN_TRAINING = 10, 20
"""Images of a folder below which its order says nothing."""
_REACH = 2
"""Places by which a held-out image and its training neighbour may be apart."""
_MIN_NEAR = 0.25
"""Share of held-out images that must have such a neighbour; splits by photo hold back long runs."""
_SURE = 5.0
"""Standard errors by which neighbours must look more alike than random pairs."""
_IGNORED = 0.8
"""Likeness of neighbours across the sides over that on one side, from which on a split ignores the
photos. On ten folders of six sources, each split twelve times, 0.8 finds 96 % of the leaks of
splits by tile and wrongly calls 11 of 120 splits by photo; 0.9 finds 92 % and calls 2."""
_MIN_PAIRS = 10
"""Pairs of neighbours on one side below which there is nothing to compare with."""
_PAIRS = 4000
_FARTHEST = 4.0
"""Spreads at which a trait is cut off: one odd figure must not decide."""
_NUMBER = re.compile(r"(\d+)")


def same_series(training: Fingerprints, held_out: Fingerprints) -> dict[int, tuple[int, float]]:
    """By place in `held_out`, the place of the nearest training neighbour of images that look like
    parts of its photo, and their distance in spreads of the folder's traits; the nearest one where
    several folders match."""
    found: dict[int, tuple[int, float]] = {}
    known = _folders(training)
    for folder, new in _folders(held_out).items():
        for other, seen in known.items():
            if _may_be_one(folder, other):
                for k, mate, distance in _in_folder(training, seen, held_out, new):
                    if k not in found or distance < found[k][1]:
                        found[k] = mate, distance
    return found


def _folders(side: Fingerprints) -> dict[Folder, list[int]]:
    folders: dict[Folder, list[int]] = defaultdict(list)
    for k in np.flatnonzero(side.decoded_N):
        source = tuple(part for part in side.sources[k].split("/") if part)
        folders[source, bool(side.is_crack_N[k])].append(int(k))
    return folders


def _may_be_one(folder: Folder, other: Folder) -> bool:
    """Whether both have the same class and end alike: DATA may have been a folder higher once."""
    (one, is_crack), (two, other_is_crack) = folder, other
    shorter = min(len(one), len(two))
    return is_crack == other_is_crack and one[len(one) - shorter :] == two[len(two) - shorter :]


def _in_folder(
    training: Fingerprints, seen: list[int], held_out: Fingerprints, new: list[int]
) -> list[tuple[int, int, float]]:
    names = [*_names(training, seen), *_names(held_out, new)]
    order = sorted(range(len(names)), key=names.__getitem__)
    places = [*seen, *new]
    is_held_out_N = np.array(order) >= len(seen)
    traits_NF = np.concatenate([training.traits_NF[seen], held_out.traits_NF[new]])[order]
    pairs = (
        (places[order[k]], places[order[mate]], distance)
        for k, (mate, distance) in leaked_tiles(traits_NF, is_held_out_N).items()
    )
    # Where both groups are known, nothing needs to be guessed.
    return [pair for pair in pairs if not (held_out.groups[pair[0]] and training.groups[pair[1]])]


def _names(side: Fingerprints, places: list[int]) -> list[list[tuple[int, str]]]:
    """Sort keys of the paths, from the folder on that all of them share."""
    return list(map(_natural, below_shared(side.paths[k] for k in places)))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that orders numbers by value and the rest as text: a9 before a10."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part.casefold())
        for part in _NUMBER.split(name)
    ]


def leaked_tiles(
    traits_NF: NDArray[np.floating], is_held_out_N: NDArray[np.bool_]
) -> dict[int, tuple[int, float]]:
    """Find the held-out tiles that leak, where a folder is a series of tiles whose split ignores
    the photos, by the traits of both sides together, in the order of the names. By place, that of
    the most similar training neighbour, and how far its traits are, in their spreads. Empty where
    the names say nothing, or where the split respects them."""
    held_out_images = int(is_held_out_N.sum())
    if held_out_images < MIN_HELD_OUT or len(is_held_out_N) - held_out_images < MIN_TRAINING:
        return {}
    scaled_NF = _in_spreads(traits_NF)
    first, second = np.random.default_rng(0).integers(0, len(scaled_NF), (2, _PAIRS))
    apart = first != second
    by_chance = np.sort(_distances(scaled_NF[first[apart]], scaled_NF[second[apart]]))
    steps = _distances(scaled_NF[1:], scaled_NF[:-1])
    # Uniform from -0.5 to 0.5, with mean 0, where neighbours are no more alike than others.
    below, upto = (np.searchsorted(by_chance, steps, side) for side in ("left", "right"))
    ranks = (below + upto) / 2
    likeness = 0.5 - ranks / len(by_chance)
    if likeness.mean() < _SURE / np.sqrt(12 * len(likeness)):
        return {}
    mate_N, distance_N = _nearest(scaled_NF, is_held_out_N)
    if np.isfinite(distance_N[is_held_out_N]).mean() < _MIN_NEAR:
        return {}
    crosses = is_held_out_N[1:] != is_held_out_N[:-1]
    across, within = likeness[crosses], likeness[~crosses]
    # So regular a split as every second tile has no neighbours on one side, and ignores the photos.
    if len(within) >= _MIN_PAIRS and across.mean() < _IGNORED * within.mean():
        return {}
    leaked = np.flatnonzero(is_held_out_N & (distance_N <= np.median(by_chance)))
    return {int(k): (int(mate_N[k]), float(distance_N[k])) for k in leaked}


def _nearest(
    scaled_NF: NDArray[np.float32], is_held_out_N: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each image, the place and distance of the most similar training image within reach;
    infinite where there is none."""
    count = len(scaled_NF)
    mate_N, distance_N = np.zeros(count, np.intp), np.full(count, np.inf, np.float32)
    for shift in (s for s in range(-_REACH, _REACH + 1) if s and abs(s) < count):
        here = np.arange(max(0, -shift), count - max(0, shift))
        distance = np.where(
            is_held_out_N[here + shift],
            np.inf,
            _distances(scaled_NF[here], scaled_NF[here + shift]),
        )
        nearer = here[distance < distance_N[here]]
        mate_N[nearer] = nearer + shift
        distance_N[nearer] = distance[distance < distance_N[here]]
    return mate_N, distance_N


def _in_spreads(traits_NF: NDArray[np.floating]) -> NDArray[np.float32]:
    """Centre traits at their median and divide them by their median absolute deviation."""
    traits = traits_NF.astype(np.float32)
    centred = traits - np.median(traits, axis=0)
    spread = np.median(np.abs(centred), axis=0)
    # A trait that most images share exactly, as grey ones their lack of colour, has no spread.
    scaled: NDArray[np.float32] = centred / np.maximum(spread, np.float32(0.01))
    return scaled.clip(-_FARTHEST, _FARTHEST)


def _distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.abs(one - other).mean(axis=-1)
    return found
