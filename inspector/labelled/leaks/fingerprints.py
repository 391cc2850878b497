"""What an audit knows of an image: enough to compare it, far too little to show it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.machine import usable_cores
from inspector.labelled.leaks.looks import HASH_BYTES, SIDE, TRAITS, looks, pixel_hashes
from inspector.model.preprocess import PreprocessSpec
from inspector.types import ImageRef, Photo
from inspector.workers.loader import load_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from inspector.labelled.folder import LabelledImage
    from inspector.labelled.leaks.looks import Hashes
    from inspector.types import Batch

    Progress = Callable[[int, int], None]
    """Told images done, and images in all."""

SPEC = PreprocessSpec(size=SIDE)
"""The audit's own, so that fingerprints of different models' images can be compared. A tile within
2 % of its size keeps its pixels; a JPEG much larger is decoded at a fraction of its size."""
_BATCH = 32
_FEW = 200
"""Images that are decoded sooner than processes for it are up."""
_MOST_WORKERS = 8
"""More decoders would wait for this process, which makes the fingerprints."""


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """N images of one side, in any order.

    `groups` holds "" for an image of no known group. Where `decoded_N` is false, the three arrays
    of looks say nothing.
    """

    paths: tuple[str, ...]
    """As in `LabelledImage`, or from their common folder on, once they come from a bundle."""
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    is_crack_N: NDArray[np.bool_]
    decoded_N: NDArray[np.bool_]
    pixels_N: NDArray[np.uint64]
    """One number per picture: of its size and its pixels as the model would see them."""
    hashes_NB: Hashes
    """Perceptual hashes, uint8 (N, 32)."""
    traits_NF: NDArray[np.float16]
    """Light, colour and texture (N, 12), see `looks.traits`."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, places: Iterable[int]) -> Fingerprints:
        """The images at `places`, in that order."""
        chosen = np.fromiter(places, np.intp)
        return Fingerprints(
            paths=tuple(self.paths[k] for k in chosen),
            sources=tuple(self.sources[k] for k in chosen),
            groups=tuple(self.groups[k] for k in chosen),
            is_crack_N=self.is_crack_N[chosen],
            decoded_N=self.decoded_N[chosen],
            pixels_N=self.pixels_N[chosen],
            hashes_NB=self.hashes_NB[chosen],
            traits_NF=self.traits_NF[chosen],
        )


def fingerprint(
    images: Sequence[LabelledImage],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Fingerprints:
    """Decode each image once and take its fingerprint.

    `workers` are decoder processes, 0: this process decodes; None: as many as pay. An image that
    cannot be decoded keeps its name and group. Raises LoaderError when decoders keep dying.
    """
    if workers is None:
        workers = 0 if len(images) <= _FEW else min(_MOST_WORKERS, max(1, usable_cores() - 1))
    count = len(images)
    found = Fingerprints(
        paths=tuple(image.path for image in images),
        sources=tuple(image.source for image in images),
        groups=tuple("" if image.group == image.path else image.group for image in images),
        is_crack_N=np.array([image.is_crack for image in images], bool),
        decoded_N=np.zeros(count, bool),
        pixels_N=np.zeros(count, np.uint64),
        hashes_NB=np.zeros((count, HASH_BYTES), np.uint8),
        traits_NF=np.zeros((count, TRAITS), np.float16),
    )
    refs = [ImageRef.of(path, k) for k, path in enumerate(found.paths)]
    done = 0
    with closing(load_batches(refs, SPEC, batch_size=_BATCH, workers=workers)) as batches:
        for batch in batches:
            _take(found, batch)
            done += len(batch.items)
            if progress is not None:
                progress(done, count)
    return found


def _take(found: Fingerprints, batch: Batch) -> None:
    photos = [item for item in batch.items if isinstance(item, Photo)]
    if not photos:
        return
    places = [photo.ref.index for photo in photos]
    sides = [(photo.facts.width, photo.facts.height) for photo in photos]
    found.decoded_N[places] = True
    found.pixels_N[places] = pixel_hashes(batch.pixels_NHWC, sides)
    found.hashes_NB[places], found.traits_NF[places] = looks(batch.pixels_NHWC)
