"""Photos that people labelled in a review, as training images.

Of a photo that was judged at its own scale one learns place by place: where people, or the model
with their consent, say that there is a crack, and where they say that there is none.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from inspector.core.layout import Layout
from inspector.core.text import calendar_time, quantity
from inspector.errors import DataError
from inspector.labelled.folder import LabelledImage
from inspector.photos.pictures import LIMITS
from inspector.photos.reading import sha256_within
from inspector.photos.source import source_of
from inspector.results.labels import Box, Label, box_of, newest, read_decisions
from inspector.results.reader import Table, read_steadily
from inspector.types import FileFacts, JsonObject, View


@dataclass(frozen=True, slots=True)
class LargePhoto:
    """A photo that was judged at its own scale: `image` is all of it, a crack where people say so
    of it or of a place in it."""

    image: LabelledImage
    cracks: tuple[Box, ...]
    """Places that show a crack."""
    clear: tuple[Box, ...]
    """Places that look like one and are none."""
    unsaid: tuple[Box, ...]
    """Regions of which nobody has said anything."""
    is_clear: bool
    """Nothing in it is a crack."""


@dataclass(slots=True)
class Reviewed:
    """Labelled photos whose files are unchanged, and the numbers of all others."""

    images: list[LabelledImage] = field(default_factory=list)
    large: list[LargePhoto] = field(default_factory=list)
    """Photos that were judged at their own scale; of these only tiles are among `images`."""
    said: dict[str, bool] = field(default_factory=dict)
    """Whether it shows a crack, of each photo that has a label as a whole, by its real path."""
    tiles: int = 0
    unsure: int = 0
    unplaced: int = 0
    """Large photos with a crack of which nobody has said where it is, nor where there is none."""
    gone: int = 0
    """Files that are missing or cannot be read."""
    changed: int = 0
    """Files whose content is not the one that was labelled."""
    corrected: int = 0
    """Images that the labelled folder had with the other label."""

    def __str__(self) -> str:
        photos = [*self.images[: len(self.images) - self.tiles], *(p.image for p in self.large)]
        cracks = sum(image.is_crack for image in photos)
        parts = [
            f"{quantity(len(photos), 'photo')} labelled in reviews ({cracks:,} with cracks, "
            f"{len(photos) - cracks:,} without)"
        ]
        if self.large:
            shown = sum(image.is_crack for image in self.images[len(self.images) - self.tiles :])
            parts.append(
                f"{len(self.large):,} of them judged at their own scale, from which "
                f"{quantity(self.tiles, 'tile is', 'tiles are')} cut ({shown:,} with cracks)"
            )
        counts = (
            (self.corrected, "of them labelled otherwise in DATA: the review counts"),
            (self.unsure, "left out as unsure"),
            (self.unplaced, "large ones left out because nobody has marked where the crack is"),
            (self.changed, "left out because their files have changed since"),
            (self.gone, "left out because their files are gone or cannot be read"),
        )
        return "; ".join([*parts, *(f"{count:,} {what}" for count, what in counts if count)])


def read_reviewed(outs: Sequence[Path]) -> Reviewed:
    """Read the photos labelled `crack` or `clear` in the result directories `outs`.

    Where two directories label one file, the later decision counts. `source` is the directory's
    name, `group` the photo's folder (or the photo itself, see `_groups`). Raises DataError where
    there are no labels, OutputError for labels that cannot be read.
    """
    found = Reviewed()
    rows: dict[str, JsonObject] = {}
    for out in outs:
        if not os.path.isdir(Layout(out).work):
            raise DataError(f"--labels {out} is no result directory of a scan")
        decisions = newest(read_decisions(out)).to_pylist()
        labels = [row for row in decisions if row["label"] or row["regions"]]
        if not labels:
            raise DataError(f"{out} has no labels; make some with: inspector review {out}")
        judged = _judged_large(out, {row["uri"] for row in labels})
        for row in labels:
            known = rows.get(row["uri"])
            if known is None or known["labelled_at"] < row["labelled_at"]:
                large = judged.get(row["uri"])
                rows[row["uri"]] = {**row, "source": out.resolve().name, "judged": large}
    for row in rows.values():
        _take(row, found)
    photos = [*found.images, *(photo.image for photo in found.large)]
    groups = {image.path: image.group for image in _groups(photos)}
    found.images = [
        replace(image, group=groups[image.path])
        for image in sorted(found.images, key=lambda image: image.path)
    ]
    found.large = [
        replace(photo, image=replace(photo.image, group=groups[photo.image.path]))
        for photo in sorted(found.large, key=lambda photo: photo.image.path)
    ]
    return found


def _judged_large(out: Path, uris: set[str]) -> dict[str, list[Box]]:
    """The regions of those photos that the table of `out` has as judged at their own scale."""
    if not Layout(out).parts():
        return {}

    def read(table: Table) -> dict[str, list[Box]]:
        found = {}
        for batch in table.batches(["uri", "view", "regions"]):
            for k, uri in enumerate(batch.column("uri").to_pylist()):
                if uri in uris and batch.column("view")[k].as_py() not in (None, View.WHOLE):
                    regions = batch.column("regions")[k].as_py() or []
                    found[uri] = [box_of(region) for region in regions]
        return found

    return read_steadily(out, read)


def merge_reviewed(
    training: Sequence[LabelledImage], validation: Sequence[LabelledImage], reviewed: Reviewed
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Training and validation images, with the reviewed images added to the former. A file that
    either side has already stays there and gets the reviewer's label, so that none is on both
    sides; large photos are given theirs as well, but not added."""
    there: set[str] = set()
    wrong: set[str] = set()

    def corrected(image: LabelledImage) -> LabelledImage:
        place = os.path.realpath(image.path)
        there.add(place)
        is_crack = reviewed.said.get(place, image.is_crack)
        if is_crack != image.is_crack:
            wrong.add(place)
        return replace(image, is_crack=is_crack)

    parts = [[corrected(image) for image in part] for part in (training, validation)]
    reviewed.corrected = len(wrong)
    images = {os.path.realpath(image.path): image for image in reviewed.images}
    added = [image for place, image in images.items() if place not in there]
    return [*parts[0], *added], parts[1]


def with_tiles(reviewed: Reviewed, tiles: Sequence[LabelledImage]) -> Reviewed:
    """The same with tiles of its large photos at the end of its images."""
    return replace(reviewed, images=[*reviewed.images, *tiles], tiles=len(tiles))


def alone(reviewed: Reviewed) -> list[LabelledImage]:
    """Return the reviewed images as the only data. Raises DataError where one class is missing."""
    cracks = sum(image.is_crack for image in reviewed.images)
    if cracks in (0, len(reviewed.images)):
        missing = "with cracks" if cracks == 0 else "without cracks"
        raise DataError(
            f"the labels hold no usable photos {missing} ({reviewed}); label some, or give a "
            "labelled folder DATA as well"
        )
    return reviewed.images


def _take(row: JsonObject, found: Reviewed) -> None:
    if row["label"] in (Label.UNSURE, Label.NOT_CONCRETE):
        found.unsure += 1
        return
    try:
        source = source_of(row["uri"])
        facts = source.facts(row["uri"])
    except (OSError, ValueError):
        found.gone += 1
        return
    if not _is_unchanged(facts, row):
        found.changed += 1
        return
    path = source.plain(row["uri"])
    is_crack = row["label"] == Label.CRACK
    image = LabelledImage(path, is_crack, row["source"], os.path.dirname(path))
    if row["label"]:
        found.said[os.path.realpath(path)] = is_crack
    if row["judged"] is None:
        if row["label"]:
            found.images.append(image)
        return
    said = {box_of(region): region["label"] for region in row["regions"] or ()}
    cracks = {box for box, label in said.items() if label == Label.CRACK}
    clear = {box for box, label in said.items() if label == Label.CLEAR}
    others = {box for box in row["judged"] if box not in said}
    is_clear = row["label"] == Label.CLEAR
    if is_crack:
        cracks |= others
    elif is_clear:
        clear |= others
    unsaid = others - cracks - clear
    if is_crack and not cracks and not clear:
        found.unplaced += 1
    if cracks or clear or is_clear:
        image = replace(image, is_crack=is_crack or bool(cracks))
        places = [tuple(sorted(boxes)) for boxes in (cracks, clear, unsaid)]
        found.large.append(LargePhoto(image, places[0], places[1], places[2], is_clear))


def _is_unchanged(facts: FileFacts, row: JsonObject) -> bool:
    """Whether the file is the one labelled: by size and time, as in a scan, else by its hash."""
    labelled = row["size_bytes"], row["mtime"]
    if row["mtime"] is not None and labelled == (facts.size, calendar_time(facts.mtime_us)):
        return True
    digest = sha256_within(row["uri"], LIMITS.max_bytes)
    return digest is not None and digest.hex() == row["content_hash"]


def _groups(images: list[LabelledImage]) -> list[LabelledImage]:
    """Make each folder a group, since its photos mostly show one place. Where a class has fewer
    than four folders, which are too few to split, each photo is a group of its own."""
    folders = Counter(is_crack for _, is_crack in {(i.group, i.is_crack) for i in images})
    if min(folders[True], folders[False]) >= 4:
        return images
    return [replace(image, group=image.path) for image in images]
