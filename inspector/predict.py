"""Predictions for photos: decode, run an engine, keep the order asked.

Everything that asks a model about photos, except a scan, does it here. A scan has its own loop,
because it overlaps decoding, prediction and writing.
"""

from __future__ import annotations

from collections.abc import Sized
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from inspector.engines.contract import joined
from inspector.engines.photo import PhotoEngine
from inspector.errors import DataError
from inspector.model.preprocess import ALL_WHOLE
from inspector.types import Failure, ImageRef, Photo
from inspector.workers.loader import load_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from inspector.engines import Backend
    from inspector.labelled.folder import LabelledImage
    from inspector.model.bundle import ModelBundle
    from inspector.model.preprocess import PreprocessSpec, Views
    from inspector.types import Batch, Scores

    Images = Iterable[ImageRef | LabelledImage]
    """Photos to predict, by reference or with a label."""
    Counter = Callable[[int, int], None]
    """Called after each batch with the images done and the images in all (0: not known)."""

T = TypeVar("T")

BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Predictions:
    """Photos and failures in the order asked; the k-th `Photo` among `items` owns row k of
    `scores` (probability, activation map, out-of-distribution score, stage; what was found in it,
    where it was judged at its own scale)."""

    items: tuple[Photo | Failure, ...]
    scores: Scores

    @property
    def photos(self) -> tuple[Photo, ...]:
        return tuple(item for item in self.items if isinstance(item, Photo))

    @property
    def failures(self) -> tuple[Failure, ...]:
        return tuple(item for item in self.items if isinstance(item, Failure))


def predict(
    images: Sequence[ImageRef | LabelledImage],
    bundle: ModelBundle,
    engine: Backend | PhotoEngine,
    *,
    batch_size: int = BATCH_SIZE,
    workers: int = 1,
    progress: Counter | None = None,
) -> Predictions:
    """Predict all images with an open engine.

    Args:
        images: Files in any order. For labelled images, `ref.index` of an item is the place in
            `images`.
        bundle: Says how the pixels are prepared.
        engine: Left open. A `PhotoEngine` has each photo in its view; any other engine has them
            all whole.
        batch_size: Images decoded and run at once.
        workers: Decoder processes; 0 decodes in this process, without a time limit.
        progress: Called after each batch with images done and images in all.

    Raises:
        DataError: None of the images can be decoded.
        BackendError, LoaderError: The engine or the decoder processes fail.
    """
    engines = {"": engine}
    return predict_each(
        images, bundle, engines, batch_size=batch_size, workers=workers, progress=progress
    )[""]


def predict_each(
    images: Sequence[ImageRef | LabelledImage],
    bundle: ModelBundle,
    engines: Mapping[str, Backend | PhotoEngine],
    *,
    batch_size: int = BATCH_SIZE,
    workers: int = 1,
    progress: Counter | None = None,
) -> dict[str, Predictions]:
    """`predict` with several engines on the same pixels, decoded once; predictions by name. Where
    they are `PhotoEngine`s, all have the same views."""
    judges = {
        name: engine if isinstance(engine, PhotoEngine) else PhotoEngine(engine)
        for name, engine in engines.items()
    }
    (views,) = {judge.views for judge in judges.values()} or {ALL_WHOLE}
    items: list[Photo | Failure] = []
    scores: dict[str, list[Scores]] = {name: [] for name in engines}
    batches = predict_batches(
        images,
        bundle.preprocess,
        lambda batch: {name: judge.run(batch) for name, judge in judges.items()},
        views=views,
        batch_size=batch_size,
        workers=workers,
        progress=progress,
    )
    with closing(batches):
        for batch, outputs in batches:
            items += batch.items
            for name, found in (outputs or {}).items():
                scores[name].append(found)
    if not any(isinstance(item, Photo) for item in items):
        first = [f", first {f.ref.path} ({f.code})" for f in items[:1] if isinstance(f, Failure)]
        many = f"none of the {len(images):,} images" if len(images) > 1 else "no image"
        raise DataError(f"{many} could be decoded{''.join(first)}")
    return {name: Predictions(tuple(items), joined(parts)) for name, parts in scores.items()}


def predict_batches(
    images: Images,
    spec: PreprocessSpec,
    run: Callable[[Batch], T],
    *,
    views: Views = ALL_WHOLE,
    batch_size: int = BATCH_SIZE,
    workers: int = 1,
    progress: Counter | None = None,
) -> Generator[tuple[Batch, T | None]]:
    """Decode images and run them, batch by batch, in the order asked; memory stays bounded. Close
    the generator to end the decoder processes early.

    Args:
        images: Read `workers` batches ahead at most (see `load_batches`).
        spec: How the pixels are prepared.
        run: Takes a batch with at least one photo.
        views: Which photos come at their own scale.
        batch_size, workers, progress: As in `predict`.

    Yields:
        The batch and what `run` returned for its photos; None where no image of the batch could
        be decoded.

    Raises:
        BackendError, LoaderError: The engine or the decoder processes fail.
    """
    total = len(images) if isinstance(images, Sized) else 0
    done = 0
    refs = (
        image if isinstance(image, ImageRef) else ImageRef.of(image.path, place)
        for place, image in enumerate(images)
    )
    with closing(
        load_batches(refs, spec, batch_size=batch_size, workers=workers, views=views)
    ) as batches:
        for batch in batches:
            outputs = run(batch) if batch.photos else None
            done += len(batch.items)
            yield batch, outputs
            if progress is not None:
                progress(done, total)
