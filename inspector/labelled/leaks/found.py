"""What an audit found, for a terminal, a report and a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from inspector.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inspector.types import JsonObject

SHOWN = 3
"""Examples of each kind that `LeakAudit.lines` gives."""


class LeakKind(StrEnum):
    """Why an image on the held-out side is no new one, the plainest first."""

    SAME_PIXELS = "same_pixels"
    """The same picture, whatever the file is called and however it is stored without loss."""
    NEAR_DUPLICATE = "near_duplicate"
    """The same picture saved again, resized, brightened, mirrored or rotated."""
    SAME_GROUP = "same_group"
    """Another image of its group, hence of the same photo or place."""
    SAME_SERIES = "same_series"
    """A neighbour by name that looks like a part of the same photo; found without groups."""


MEANING = {
    LeakKind.SAME_PIXELS: "the same picture",
    LeakKind.NEAR_DUPLICATE: "nearly the same picture",
    LeakKind.SAME_GROUP: "another image of the same group",
    LeakKind.SAME_SERIES: "a neighbour by name from, it seems, the same photo",
}


@dataclass(frozen=True, slots=True)
class Leak:
    """`path` is the held-out image, `other` the image on the training side that gives it away.

    `distance`: bits out of 255 that differ (near_duplicate); mean difference of light, colour and
    texture in the folder's median absolute deviations (same_series); 0 otherwise.
    """

    kind: LeakKind
    path: str
    other: str
    distance: float = 0.0


@dataclass(frozen=True)
class LeakAudit:
    """`leaks` names each held-out image at most once per kind, in the order of `LeakKind`.

    `names` are those of the two sides. `undecodable` counts images, on both sides, of which only
    name and group could be compared.
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
        """For a terminal: one line without leaks, else how many and the first of each kind. File
        names are made printable."""
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
