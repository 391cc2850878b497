"""Batches made in the process that asks for them."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from inspector.photos.decode import decode
from inspector.types import Batch, Decoded, Photo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from inspector.model.preprocess import PreprocessSpec
    from inspector.photos.limits import DecodeLimits
    from inspector.types import Failure, ImageRef

    Items = tuple[Photo | Failure, ...]


def chunks_of(refs: Iterable[ImageRef], size: int) -> Iterator[list[ImageRef]]:
    """`size` consecutive refs at a time; the last list may be shorter."""
    waiting = iter(refs)
    while chunk := list(islice(waiting, size)):
        yield chunk


def batch_shape(refs: list[ImageRef], spec: PreprocessSpec) -> tuple[int, int, int, int]:
    """Of the pixels if every file of `refs` decodes: N, H, W, C."""
    return (len(refs), spec.size, spec.size, 3)


def load_batch(refs: list[ImageRef], spec: PreprocessSpec, limits: DecodeLimits) -> Batch:
    """The photos of `refs`."""
    started = time.perf_counter()
    pixels_NHWC = np.empty(batch_shape(refs, spec), np.uint8)
    items = decode_into(pixels_NHWC, refs, spec, limits)
    return Batch(items, pixels_NHWC[: count_photos(items)], time.perf_counter() - started)


def decode_into(
    pixels_NHWC: NDArray[np.uint8],
    refs: list[ImageRef],
    spec: PreprocessSpec,
    limits: DecodeLimits,
) -> Items:
    """Decode `refs`; the k-th photo that succeeds fills `pixels_NHWC[k]`."""
    items: list[Photo | Failure] = []
    photos = 0
    for ref in refs:
        outcome = decode(ref, spec, limits)
        if isinstance(outcome, Decoded):
            pixels_NHWC[photos] = outcome.pixels_HWC
            photos += 1
            items.append(Photo(outcome.ref, outcome.facts, outcome.shrink))
        else:
            items.append(outcome)
    return tuple(items)


def count_photos(items: Iterable[Photo | Failure]) -> int:
    return sum(isinstance(item, Photo) for item in items)
