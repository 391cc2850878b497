"""Sets of labelled images: free of contradictions, split by group, identified by a digest."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import DataError
from inspector.photos.formats import MAGIC_BYTES, sniff
from inspector.photos.reading import sha256_of
from inspector.photos.source import source_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from inspector.labelled.folder import LabelledImage


def split(
    images: Sequence[LabelledImage], share: float, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Split by `hold_back` into training and validation images. Raises DataError when one lacks a
    class."""
    training, validation = hold_back(images, share=share, seed=seed)
    for name, part in (("training", training), ("validation", validation)):
        if len({image.is_crack for image in part}) < 2:
            raise DataError(
                f"the {name} part would lack one class: too few images or groups; add images, or "
                "use smaller groups"
            )
    return training, validation


def hold_back(
    images: Sequence[LabelledImage], *, share: float, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Hold back a share of the images: seeded, stratified by source and class, groups whole.
    Returns the rest, and the images held back.

    Within each stratum, shuffled groups are held back until `share` of its images are; a group that
    would make it more than half of the stratum is not. A group counts in the stratum of most of its
    images.
    """
    groups: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        groups[image.group].append(image)
    strata: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for name, members in groups.items():
        stratum, _ = Counter((m.source, m.is_crack) for m in members).most_common(1)[0]
        strata[stratum].append(name)
    held: set[str] = set()
    for stratum in sorted(strata):
        sizes = {name: len(groups[name]) for name in sorted(strata[stratum])}
        held |= _pick(sizes, share, np.random.default_rng([seed, *str(stratum).encode()]))
    return (
        [image for image in images if image.group not in held],
        [image for image in images if image.group in held],
    )


def _pick(sizes: dict[str, int], share: float, rng: np.random.Generator) -> set[str]:
    total = sum(sizes.values())
    names = list(sizes)
    picked: set[str] = set()
    taken = 0
    for place in rng.permutation(len(names)):
        name = names[int(place)]
        if taken >= share * total:
            break
        if taken + sizes[name] <= max(1, total // 2):
            picked.add(name)
            taken += sizes[name]
    return picked if len(picked) < len(names) else set()


def data_digest(images: Iterable[LabelledImage]) -> str:
    """Compute a sha256 over names, labels, sources and sizes. It identifies a data set wherever it
    lies, without reading every byte."""
    digest = hashlib.sha256()
    for image in images:
        about = (image.source, Path(image.path).name, image.is_crack, _size_of(image.path))
        digest.update(repr(about).encode())
    return digest.hexdigest()


def _size_of(path: str) -> int:
    """Size in bytes; -1 for a missing file, which counts as one that cannot be decoded."""
    try:
        size = source_of(path).facts(path).size
    except (OSError, ValueError):
        return -1
    return -1 if size is None else size


SHOWN = 3


def without_contradictions(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Leave out images whose file a link has named before. Raises DataError naming photos that have
    both labels."""
    files: dict[Hashable, list[LabelledImage]] = defaultdict(list)
    sizes: dict[int, list[LabelledImage]] = defaultdict(list)
    for image in images:
        try:
            about = os.stat(image.path)
        except OSError:  # reported where it is decoded
            files[image.path].append(image)
            continue
        file = files[about.st_dev, about.st_ino]
        file.append(image)
        if len(file) == 1 and stat.S_ISREG(about.st_mode):
            sizes[about.st_size].append(image)
    contents: dict[bytes, list[LabelledImage]] = defaultdict(list)
    for image in (image for alike in sizes.values() if _has_both(alike) for image in alike):
        contents[_content(image)].append(image)
    contents.pop(b"", None)
    copies = filter(_has_both, [*files.values(), *contents.values()])
    check_labels([(image.path, image.is_crack) for image in found] for found in copies)
    return [found[0] for found in files.values()]


def check_labels(copies: Iterable[Sequence[tuple[str, bool]]]) -> None:
    """Raise DataError naming pictures that have both labels, given paths and whether they are
    labelled as crack for each picture."""
    sides = [({is_crack: path for path, is_crack in reversed(found)}) for found in copies]
    both = [side for side in sides if len(side) == 2]
    if not both:
        return
    pairs = "; ".join(f"{side[True]} (crack) and {side[False]} (clear)" for side in both[:SHOWN])
    more = f", and {len(both) - SHOWN:,} more" if len(both) > SHOWN else ""
    raise DataError(
        f"photos with both labels, which contradict each other: {len(both):,}: {pairs}{more}; keep "
        "each of them in one class only"
    )


def _has_both(images: Iterable[LabelledImage]) -> bool:
    return len({image.is_crack for image in images}) == 2


def _content(image: LabelledImage) -> bytes:
    """sha256 of the file; empty where it is no image or cannot be read."""
    try:
        with source_of(image.path).open(image.path) as file:
            if sniff(file.read(MAGIC_BYTES)) is None:
                return b""
            file.seek(0)
            return sha256_of(file)
    except OSError:
        return b""
