"""The user's photos, as batches for the gate."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from inspector.data.decode import decode
from inspector.data.formats import named_like_an_image
from inspector.errors import SourceError
from inspector.types import Decoded, ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from inspector.backends.agreement import NamedPixels
    from inspector.preprocess import PreprocessSpec

_BATCH = 32
"""Photos that are compared at once; bounds memory, not accuracy."""


def pick_photos(folder: Path, limit: int) -> list[Path]:
    """At most `limit` image files, evenly spread over the sorted tree below `folder`, so that no
    class or day is left out. Raises SourceError when there is none."""
    found = sorted(
        file for file in folder.rglob("*") if named_like_an_image(file.name) and file.is_file()
    )
    if not found:
        raise SourceError(f"no images below {folder}; give --images a folder with photos")
    taken = min(limit, len(found))
    return [found[k * len(found) // taken] for k in range(taken)]


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
    ref = ImageRef(index, os.fspath(file), file.as_uri(), None, None)
    outcome = decode(ref, spec)
    return outcome if isinstance(outcome, Decoded) else None


def _stack(batch: Sequence[Decoded]) -> NamedPixels:
    names = [photo.ref.path for photo in batch]
    return names, np.stack([photo.pixels_HWC for photo in batch])
