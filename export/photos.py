"""The user's photos: which of them serve what, and their pixels in batches."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.errors import SourceError
from inspector.labelled.folder import image_paths
from inspector.predict import BATCH_SIZE
from inspector.types import ImageRef, Photo
from inspector.workers.loader import load_batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.engines.parity import NamedPixels
    from inspector.model.preprocess import PreprocessSpec


def pick_photos(folder: Path, limit: int) -> list[Path]:
    """At most `limit` of `find_photos`, evenly spread."""
    return spread(find_photos(folder), limit)


def find_photos(folder: Path) -> list[Path]:
    """The image files of the tree below `folder`, sorted. Raises SourceError when there is none."""
    found = sorted(Path(path) for path in image_paths(folder) if os.path.isfile(path))
    if not found:
        raise SourceError(f"no images below {folder}; name a folder with photos")
    return found


def spread(photos: Sequence[Path], limit: int) -> list[Path]:
    """At most `limit` of them at even steps, so that no class or day is left out."""
    taken = min(limit, len(photos))
    return [photos[k * len(photos) // taken] for k in range(taken)]


def deal_third(photos: Sequence[Path], folder: Path, purpose: str) -> tuple[list[Path], list[Path]]:
    """A third of the photos below `folder` and the rest. Where a photo goes depends on its
    relative path and `purpose` alone, so it stays there when photos are added."""
    dealt: tuple[list[Path], list[Path]] = ([], [])
    for photo in photos:
        key = f"{purpose}:{photo.relative_to(folder).as_posix()}"
        first = hashlib.sha256(os.fsencode(key)).digest()[0]
        dealt[first % 3 != 0].append(photo)
    return dealt


def photo_batches(photos: Sequence[Path], spec: PreprocessSpec) -> Iterator[NamedPixels]:
    """Names and pixels, decoded as in a scan; files that a scan would fail are left out."""
    refs = [ImageRef.of(photo, place) for place, photo in enumerate(photos)]
    with closing(load_batches(refs, spec, batch_size=BATCH_SIZE, workers=1)) as batches:
        for batch in batches:
            if len(batch.pixels_NHWC):
                names = [item.ref.path for item in batch.items if isinstance(item, Photo)]
                yield names, batch.pixels_NHWC
