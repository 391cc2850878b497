"""Photos that people labelled in a review, as training images."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.layout import Layout
from inspector.core.text import calendar_time
from inspector.errors import DataError
from inspector.labelled.folder import LabelledImage
from inspector.photos.limits import DecodeLimits
from inspector.photos.reading import sha256_within
from inspector.photos.source import source_of
from inspector.results.labels import Label, read_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.types import FileFacts, JsonObject


@dataclass(slots=True)
class Reviewed:
    """Labelled photos whose files are unchanged, and the numbers of all others."""

    images: list[LabelledImage] = field(default_factory=list)
    unsure: int = 0
    gone: int = 0
    """Files that are missing or cannot be read."""
    changed: int = 0
    """Files whose content is not the one that was labelled."""
    corrected: int = 0
    """Images that the labelled folder had with the other label."""

    def __str__(self) -> str:
        cracks = sum(image.is_crack for image in self.images)
        parts = [
            f"{len(self.images):,} photos labelled in reviews ({cracks:,} with cracks, "
            f"{len(self.images) - cracks:,} without)"
        ]
        counts = (
            (self.corrected, "of them labelled otherwise in DATA: the review counts"),
            (self.unsure, "left out as unsure"),
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
        if not Layout(out).work.is_dir():
            raise DataError(f"--labels {out} is no result directory of a scan")
        labels = read_labels(out).to_pylist()
        if not labels:
            raise DataError(f"{out} has no labels; make some with: inspector review {out}")
        for row in labels:
            known = rows.get(row["uri"])
            if known is None or known["labelled_at"] < row["labelled_at"]:
                rows[row["uri"]] = {**row, "source": out.resolve().name}
    for row in rows.values():
        _take(row, found)
    found.images = _groups(sorted(found.images, key=lambda image: image.path))
    return found


def merge_reviewed(
    training: Sequence[LabelledImage], validation: Sequence[LabelledImage], reviewed: Reviewed
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Training and validation images, with the reviewed images added to the former. A file that
    either side has already stays there and gets the reviewer's label, so that none is on both
    sides."""
    said = {os.path.realpath(image.path): image for image in reviewed.images}
    known: set[str] = set()
    wrong: set[str] = set()

    def corrected(image: LabelledImage) -> LabelledImage:
        place = os.path.realpath(image.path)
        if place not in said:
            return image
        known.add(place)
        if image.is_crack != said[place].is_crack:
            wrong.add(place)
        return replace(image, is_crack=said[place].is_crack)

    if not said:
        return list(training), list(validation)
    parts = [[corrected(image) for image in part] for part in (training, validation)]
    reviewed.corrected = len(wrong)
    added = [image for place, image in said.items() if place not in known]
    return [*parts[0], *added], parts[1]


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
    found.images.append(LabelledImage(path, is_crack, row["source"], os.path.dirname(path)))


def _is_unchanged(facts: FileFacts, row: JsonObject) -> bool:
    """Whether the file is the one labelled: by size and time, as in a scan, else by its hash."""
    labelled = row["size_bytes"], row["mtime"]
    if row["mtime"] is not None and labelled == (facts.size, calendar_time(facts.mtime_us)):
        return True
    digest = sha256_within(row["uri"], DecodeLimits().max_bytes)
    return digest is not None and digest.hex() == row["content_hash"]


def _groups(images: list[LabelledImage]) -> list[LabelledImage]:
    """Make each folder a group, since its photos mostly show one place. Where a class has fewer
    than four folders, which are too few to split, each photo is a group of its own."""
    folders = Counter(is_crack for _, is_crack in {(i.group, i.is_crack) for i in images})
    if min(folders[True], folders[False]) >= 4:
        return images
    return [replace(image, group=image.path) for image in images]
