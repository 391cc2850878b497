"""The user's photos: which of them serve what, and their pixels in batches."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import SourceError
from inspector.labelled.folder import image_paths
from inspector.photos.decode import decode
from inspector.types import Decoded, ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.engines.parity import NamedPixels
    from inspector.model.preprocess import PreprocessSpec

_BATCH = 32
"""Photos that are compared at once; bounds memory, not accuracy."""


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
    """Decoded as a scan would; files that a scan would report as failed are left out."""
    decoded = (_decode(file, index, spec) for index, file in enumerate(photos))
    batch: list[Decoded] = []
    for photo in decoded:
        if photo is not None:
            batch.append(photo)
        if len(batch) == _BATCH:
            yield _stack(batch)
            batch = []
    if batch:
        yield _stack(batch)


def _decode(file: Path, index: int, spec: PreprocessSpec) -> Decoded | None:
    ref = ImageRef(index, os.fspath(file), "", None, None)
    outcome = decode(ref, spec)
    return outcome if isinstance(outcome, Decoded) else None


def _stack(batch: Sequence[Decoded]) -> NamedPixels:
    names = [photo.ref.path for photo in batch]
    return names, np.stack([photo.pixels_HWC for photo in batch])
