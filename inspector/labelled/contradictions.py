"""Photos that occur twice in a labelled folder: with one label they count once, with two labels
they contradict each other."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from typing import TYPE_CHECKING

from inspector.errors import DataError
from inspector.photos.formats import MAGIC_BYTES, sniff
from inspector.photos.source import source_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from inspector.labelled.folder import LabelledImage

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
    """Raise DataError naming pictures that have both labels.

    Args:
        copies: For each picture, paths and whether they are labelled as crack.
    """
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
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""
