"""The leak audit: held-out images compared with training images, kind by kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from inspector.core.progress import no_progress
from inspector.core.text import printable
from inspector.labelled.leaks.duplicates import near_duplicates, same_pixels
from inspector.labelled.leaks.fingerprints import fingerprint
from inspector.labelled.leaks.series import same_series

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from inspector.core.progress import Progress
    from inspector.labelled.folder import LabelledImage
    from inspector.labelled.leaks.fingerprints import Fingerprints
    from inspector.types import JsonObject

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
            lines += self._about(kind)
        return lines

    def _about(self, kind: LeakKind) -> Iterable[str]:
        found = [leak for leak in self.leaks if leak.kind is kind]
        if found:
            yield f"  {kind}: {len(found):,} have {MEANING[kind]} among the {self.names[0]} images"
            for leak in found[:SHOWN]:
                yield f"    {printable(leak.path)} ~ {printable(leak.other)}"

    def to_json(self) -> JsonObject:
        return {
            "names": list(self.names),
            "training_images": self.training_images,
            "held_out_images": self.held_out_images,
            "undecodable": self.undecodable,
            "leaked_images": len(self.leaked_paths),
            "counts": self.counts,
            "leaks": [
                {
                    "kind": leak.kind.value,
                    "path": printable(leak.path),
                    "other": printable(leak.other),
                    "distance": round(leak.distance, 3),
                }
                for leak in self.leaks
            ],
        }


def audit(
    training: Sequence[LabelledImage],
    held_out: Sequence[LabelledImage],
    *,
    names: tuple[str, str] = ("training", "validation"),
    workers: int | None = None,
    progress: Progress = no_progress,
) -> LeakAudit:
    """Decode every image once and compare the two sides.

    Args:
        training: Images that the model learns from.
        held_out: Images that it is measured on.
        names: Names of the two sides in messages.
        workers: Decoder processes, see `fingerprint`.
        progress: Called after each batch, over both sides.

    Raises:
        LoaderError: Decoder processes keep dying.
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
