"""Leak audit: held-out images that a model has, in effect, already seen.

    fingerprints of both sides ──▶ audit_fingerprints ──▶ LeakAudit
    (one decode per image)         same_pixels, near_duplicate, same_group, same_series

`train` keeps the fingerprints of its training images in the bundle, so that `evaluate` can audit
later, without those images (`trained_on_of`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from inspector.core.machine import usable_cores
from inspector.core.text import printable, quantity
from inspector.labelled.fingerprints import HASH_BYTES, Fingerprints, Hashes, orientations
from inspector.labelled.series import same_series
from inspector.types import JsonObject

Mates = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]
"""Held-out image, training image and the number of bits that differ, each (M,)."""

MOST_BITS = 40
"""Bits of 255 that may differ between near duplicates. On tiles of four sources, JPEG at quality
50, a third of the size or 15 % more light change at most 31 bits in 95 % of cases; of 24 million
pairs of tiles, those below 45 bits were all copies."""
MOST_LOW_BITS = 16
"""Bits that may differ in the 64 lowest frequencies, which copies keep best. Compared first, they
spare the rest of the comparison for all but 1 in 10,000 pairs."""
_WORDS = HASH_BYTES // 8
_BLOCK = 1 << 20
"""Pairs per block, so that a thread's data fit in its cache."""
SHOWN = 3
"""Examples of each kind that `LeakAudit.lines` gives."""


class LeakKind(StrEnum):
    """Why a held-out image is not new to the model, the most certain first."""

    SAME_PIXELS = "same_pixels"
    """The same picture, under any name and in any lossless format."""
    NEAR_DUPLICATE = "near_duplicate"
    """The same picture compressed again, resized, brightened, mirrored or rotated."""
    SAME_GROUP = "same_group"
    """Another image of its group, hence of the same photo or place."""
    SAME_SERIES = "same_series"
    """A neighbour by name that looks like a part of the same photo; found without groups."""


MEANING = {
    LeakKind.SAME_PIXELS: "the same picture",
    LeakKind.NEAR_DUPLICATE: "nearly the same picture",
    LeakKind.SAME_GROUP: "another image of the same group",
    LeakKind.SAME_SERIES: "a neighbour by name that seems to be from the same photo",
}


@dataclass(frozen=True, slots=True)
class Leak:
    """A held-out image `path` and the training image `other` that gives it away.

    `distance`: bits out of 255 that differ (near_duplicate); mean difference of light, colour and
    texture in the folder's median absolute deviations (same_series); 0 otherwise.
    """

    kind: LeakKind
    path: str
    other: str
    distance: float = 0.0

    def to_json(self) -> JsonObject:
        path, other = printable(self.path), printable(self.other)
        distance = round(self.distance, 3)
        return {"kind": self.kind.value, "path": path, "other": other, "distance": distance}


@dataclass(frozen=True)
class LeakAudit:
    """Result of an audit.

    `leaks` names each held-out image at most once per kind, in the order of `LeakKind`. `names`
    are those of the two sides. `undecodable` counts images, on both sides, of which only name and
    group could be compared.
    """

    names: tuple[str, str]
    training_images: int
    held_out_images: int
    leaks: tuple[Leak, ...] = ()
    undecodable: int = 0

    @cached_property
    def leaked_paths(self) -> frozenset[str]:
        """Held-out images with a leak of any kind."""
        return frozenset(leak.path for leak in self.leaks)

    @property
    def counts(self) -> dict[str, int]:
        """Held-out images by kind of leak; every kind has an entry."""
        found = Counter(leak.kind for leak in self.leaks)
        return {kind.value: found[kind] for kind in LeakKind}

    def lines(self) -> list[str]:
        """Summarise for a terminal: one line without leaks, else the number and first examples of
        each kind. File names are made printable."""
        training, held_out = self.names
        unseen = f" ({self.undecodable:,} could not be decoded)" if self.undecodable else ""
        if not self.leaks:
            return [f"no leak found between {training} and {held_out} images{unseen}"]
        share = len(self.leaked_paths) / self.held_out_images
        lines = [
            f"WARNING: {len(self.leaked_paths):,} of {self.held_out_images:,} {held_out} images "
            f"({share:.1%}) leak from the {training} images: figures on them may flatter the model"
        ]
        for kind in LeakKind:
            if found := [leak for leak in self.leaks if leak.kind is kind]:
                having = f"{quantity(len(found), 'has', 'have')} {MEANING[kind]}"
                lines.append(f"  {kind}: {having} among the {training} images")
                pairs = ((printable(leak.path), printable(leak.other)) for leak in found[:SHOWN])
                lines += [f"    {path} ~ {other}" for path, other in pairs]
        return lines

    def to_json(self) -> JsonObject:
        return {
            "names": list(self.names),
            "training_images": self.training_images,
            "held_out_images": self.held_out_images,
            "undecodable": self.undecodable,
            "leaked_images": len(self.leaked_paths),
            "counts": self.counts,
            "leaks": [leak.to_json() for leak in self.leaks],
        }


def audit_fingerprints(
    training: Fingerprints,
    held_out: Fingerprints,
    *,
    names: tuple[str, str] = ("training", "held-out"),
) -> LeakAudit:
    """Compare two sides by their fingerprints alone; touches no file."""
    return LeakAudit(
        names=names,
        training_images=len(training),
        held_out_images=len(held_out),
        leaks=tuple(_leaks(training, held_out)),
        undecodable=int((~training.decoded_N).sum() + (~held_out.decoded_N).sum()),
    )


def _leaks(training: Fingerprints, held_out: Fingerprints) -> Iterator[Leak]:
    def leak(kind: LeakKind, k: int, mate: int, distance: float = 0.0) -> Leak:
        return Leak(kind, held_out.paths[k], training.paths[mate], distance)

    same = same_pixels(training, held_out)
    for k, mate in same.items():
        yield leak(LeakKind.SAME_PIXELS, k, mate)
    for k, (mate, bits) in sorted(near_duplicates(training, held_out).items()):
        if k not in same:
            yield leak(LeakKind.NEAR_DUPLICATE, k, mate, float(bits))
    first: dict[str, int] = {}
    for mate, group in enumerate(training.groups):
        first.setdefault(group, mate)
    for k, group in enumerate(held_out.groups):
        if group and group in first:
            yield leak(LeakKind.SAME_GROUP, k, first[group])
    for k, (mate, distance) in sorted(same_series(training, held_out).items()):
        yield leak(LeakKind.SAME_SERIES, k, mate, distance)


def same_pixels(training: Fingerprints, held_out: Fingerprints) -> dict[int, int]:
    """Find the first training image with equal pixels, by held-out image."""
    first = {int(training.pixels_N[k]): int(k) for k in np.flatnonzero(training.decoded_N)[::-1]}
    mates = {
        int(k): first.get(int(held_out.pixels_N[k])) for k in np.flatnonzero(held_out.decoded_N)
    }
    return {k: mate for k, mate in mates.items() if mate is not None}


def near_duplicates(training: Fingerprints, held_out: Fingerprints) -> dict[int, tuple[int, int]]:
    """Find the most similar training image in any orientation, by held-out image, and the number of
    bits in which their hashes differ."""
    seen, new = np.flatnonzero(training.decoded_N), np.flatnonzero(held_out.decoded_N)
    nearest: dict[int, tuple[int, int]] = {}
    for turned in orientations(held_out.hashes_NB[new]):
        for k, mate, bits in zip(*_close_pairs(turned, training.hashes_NB[seen]), strict=True):
            place = int(new[k])
            if place not in nearest or int(bits) < nearest[place][1]:
                nearest[place] = (int(seen[mate]), int(bits))
    return nearest


def _close_pairs(queries: Hashes, known: Hashes) -> Mates:
    """Find all pairs within both bounds. Time grows with the product of the numbers: 40,000 images
    against 10,000 take about 10 seconds on two cores."""
    if not len(queries) or not len(known):
        return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.uint8)
    queries_NW = np.ascontiguousarray(queries).view(np.uint64)
    known_WN = np.ascontiguousarray(np.ascontiguousarray(known).view(np.uint64).T)
    rows = max(1, _BLOCK // len(known))
    starts = range(0, len(queries), rows)
    with ThreadPoolExecutor(min(usable_cores(), len(starts))) as threads:
        blocks = list(threads.map(lambda k: _in_block(queries_NW, known_WN, k, rows), starts))
    queries_M, known_M, bits_M = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return queries_M, known_M, bits_M


def _in_block(
    queries_NW: NDArray[np.uint64], known_WN: NDArray[np.uint64], start: int, rows: int
) -> Mates:
    block = queries_NW[start : start + rows]
    low = np.bitwise_count(block[:, :1] ^ known_WN[:1])
    k, mate = np.nonzero(low <= MOST_LOW_BITS)
    bits = sum(
        (np.bitwise_count(block[k, w] ^ known_WN[w, mate]) for w in range(1, _WORDS)),
        start=low[k, mate],
    )
    near = bits <= MOST_BITS
    return k[near] + start, mate[near], bits[near]
