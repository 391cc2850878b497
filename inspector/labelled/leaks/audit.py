"""Training and held-out images compared, kind by kind."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from inspector.labelled.leaks.duplicates import near_duplicates, same_pixels
from inspector.labelled.leaks.fingerprints import fingerprint
from inspector.labelled.leaks.found import Leak, LeakAudit, LeakKind
from inspector.labelled.leaks.series import judge_series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.labelled.folder import LabelledImage
    from inspector.labelled.leaks.fingerprints import Fingerprints, Progress

    Folders = dict[tuple[tuple[str, ...], bool], list[int]]
    """By source (its parts) and class, places in a side's fingerprints."""

_NUMBER = re.compile(r"(\d+)")


def audit(
    training: Sequence[LabelledImage],
    held_out: Sequence[LabelledImage],
    *,
    names: tuple[str, str] = ("training", "validation"),
    workers: int | None = None,
    progress: Progress | None = None,
) -> LeakAudit:
    """Decode every image once and compare the two sides; three of them go pair by pair.

    `workers` and `progress` (over both sides) as in `fingerprint`. Raises LoaderError.
    """
    both = fingerprint([*training, *held_out], workers=workers, progress=progress)
    seen, new = both.take(range(len(training))), both.take(range(len(training), len(both)))
    return audit_fingerprints(seen, new, names=names)


def audit_fingerprints(
    training: Fingerprints,
    held_out: Fingerprints,
    *,
    names: tuple[str, str] = ("training", "held-out"),
) -> LeakAudit:
    """Compare two sides by their fingerprints; touches no file."""
    leaks = [
        *_pictures(training, held_out),
        *_groups(training, held_out),
        *_series(training, held_out),
    ]
    return LeakAudit(
        names=names,
        training_images=len(training),
        held_out_images=len(held_out),
        leaks=tuple(leaks),
        undecodable=int((~training.decoded_N).sum() + (~held_out.decoded_N).sum()),
    )


def _pictures(training: Fingerprints, held_out: Fingerprints) -> Iterator[Leak]:
    same = same_pixels(training, held_out)
    for k, mate in same.items():
        yield Leak(LeakKind.SAME_PIXELS, held_out.paths[k], training.paths[mate])
    for k, (mate, bits) in sorted(near_duplicates(training, held_out).items()):
        if k not in same:
            paths = held_out.paths[k], training.paths[mate]
            yield Leak(LeakKind.NEAR_DUPLICATE, *paths, float(bits))


def _groups(training: Fingerprints, held_out: Fingerprints) -> Iterator[Leak]:
    first: dict[str, str] = {}
    for group, path in zip(training.groups, training.paths, strict=True):
        first.setdefault(group, path)
    for group, path in zip(held_out.groups, held_out.paths, strict=True):
        if group and group in first:
            yield Leak(LeakKind.SAME_GROUP, path, first[group])


def _series(training: Fingerprints, held_out: Fingerprints) -> Iterator[Leak]:
    """Each image once: with the most alike of its neighbours where several folders match."""
    found: dict[int, Leak] = {}
    known = _folders(training)
    for key, new in _folders(held_out).items():
        for other, seen in known.items():
            if not _may_be_one_folder(key, other):
                continue
            for k, leak in _in_folder(training, seen, held_out, new):
                if k not in found or leak.distance < found[k].distance:
                    found[k] = leak
    yield from (found[k] for k in sorted(found))


def _folders(side: Fingerprints) -> Folders:
    folders: Folders = defaultdict(list)
    for k in np.flatnonzero(side.decoded_N):
        source = tuple(part for part in side.sources[k].split("/") if part)
        folders[source, bool(side.is_crack_N[k])].append(int(k))
    return folders


def _may_be_one_folder(
    key: tuple[tuple[str, ...], bool], other: tuple[tuple[str, ...], bool]
) -> bool:
    """Whether they are called the same, from as far up as both are known: DATA may have been a
    folder higher on one side."""
    (one, is_crack), (two, other_is_crack) = key, other
    shorter = min(len(one), len(two))
    return is_crack == other_is_crack and one[len(one) - shorter :] == two[len(two) - shorter :]


def _in_folder(
    training: Fingerprints, seen: list[int], held_out: Fingerprints, new: list[int]
) -> Iterator[tuple[int, Leak]]:
    names = [*_names(training, seen), *_names(held_out, new)]
    order = sorted(range(len(names)), key=names.__getitem__)
    places = np.array([*seen, *new])[order]
    is_held_out = np.array(order) >= len(seen)
    traits = np.concatenate([training.traits_NF[seen], held_out.traits_NF[new]])[order]
    series = judge_series(traits, is_held_out)
    if series is None:
        return
    new_in_order, seen_in_order = places[is_held_out], places[~is_held_out]
    for n in np.flatnonzero(series.is_leaked_N):
        k, mate = int(new_in_order[n]), int(seen_in_order[series.mate_N[n]])
        if held_out.groups[k] and training.groups[mate]:
            continue  # what is known of both need not be guessed
        distance = float(series.distance_N[n])
        yield k, Leak(LeakKind.SAME_SERIES, held_out.paths[k], training.paths[mate], distance)


def _names(side: Fingerprints, places: list[int]) -> list[list[tuple[int, str]]]:
    """What the names, from the folder on that all of them share, are sorted by."""
    paths = [os.path.abspath(side.paths[k]) for k in places]
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [_natural(path[len(folder) :].lstrip("/" + os.sep)) for path in paths]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts numbers by value and the rest as text: a9 before a10."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part.casefold())
        for part in _NUMBER.split(name)
    ]
