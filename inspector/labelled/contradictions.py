"""Labelled photos that are there twice: with one label they count once, with two they are a mistake
that nothing can be learned from."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from typing import TYPE_CHECKING

from inspector.errors import DataError
from inspector.photos.formats import MAGIC_BYTES, sniff

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from inspector.labelled.folder import LabelledImage

_TAIL = 4096
"""Bytes at the end of a file that nearly always tell it from others of its size."""
SHOWN = 3


def without_contradictions(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """The images without those whose file has come before, by a link. Raises DataError naming
    photos that have both labels."""
    files: dict[Hashable, list[LabelledImage]] = defaultdict(list)
    sizes: dict[Hashable, list[LabelledImage]] = defaultdict(list)
    for image in images:
        try:
            about = os.stat(image.path)
        except OSError:  # what cannot be read is told of where it is decoded
            files[image.path].append(image)
            continue
        file = files[about.st_dev, about.st_ino]
        file.append(image)
        if len(file) == 1 and stat.S_ISREG(about.st_mode):
            sizes[about.st_size].append(image)
    both = list(filter(_has_both, files.values()))
    for alike in filter(_has_both, sizes.values()):
        for nearly in filter(_has_both, _by(alike, whole=False)):
            both += filter(_has_both, _by(nearly, whole=True))
    check_labels([(image.path, image.is_crack) for image in found] for found in both)
    return [found[0] for found in files.values()]


def check_labels(copies: Iterable[Sequence[tuple[str, bool]]]) -> None:
    """Raises DataError naming pictures that have both labels; each of `copies` are the paths of one
    picture, and whether it is labelled as a crack."""
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


def _by(images: Iterable[LabelledImage], *, whole: bool) -> Iterator[list[LabelledImage]]:
    """Images of one content, or end of it; files that are no images, like empty ones, are left
    out."""
    found: dict[bytes, list[LabelledImage]] = defaultdict(list)
    for image in images:
        try:
            with open(image.path, "rb") as file:
                head = file.read(MAGIC_BYTES)
                if not whole:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError:
            continue
        if sniff(head) is not None:
            found[head + content].append(image)
    yield from found.values()
