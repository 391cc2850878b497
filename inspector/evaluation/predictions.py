"""Labelled images with a model's predictions, and the table of them."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.text import display_path
from inspector.model.verdict import decide_each
from inspector.predict import BATCH_SIZE, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.engines.photo import PhotoEngine
    from inspector.labelled.folder import LabelledImage
    from inspector.model.bundle import ModelBundle, Thresholds
    from inspector.types import FailureCode, PhotoScore

OWN_SCALE = "at their own scale"
"""The kind of photos that have thresholds of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPredictions:
    """Predictions for N labelled images, row by row.

    `p_crack_N` float32 (N,); `verdict_N` and `reason_N` str (N,), by the rule of a scan; `cam_NHW`
    float32 (N, h, w), activation maps as in `Scores`; `ood_N` float32 (N,), None where the model
    has no out-of-distribution threshold; `width_px_N` float64 (N,), the crack's width in pixels,
    NaN where it is not known.
    """

    images: tuple[LabelledImage, ...]
    p_crack_N: NDArray[np.float32]
    verdict_N: NDArray[np.str_]
    reason_N: NDArray[np.str_]
    cam_NHW: NDArray[np.float32]
    ood_N: NDArray[np.float32] | None = None
    width_px_N: NDArray[np.float64] | None = None
    found_N: tuple[PhotoScore | None, ...] | None = None
    """What was found in each photo that was judged at its own scale, as in `Scores`."""
    failures: tuple[tuple[LabelledImage, FailureCode], ...] = ()
    """Images that could not be decoded; they are in no figure."""
    provider: str = ""
    """The execution provider that the engine reports."""

    @property
    def is_crack_N(self) -> NDArray[np.bool_]:
        """The labels, bool (N,)."""
        return np.array([image.is_crack for image in self.images], dtype=bool)

    @property
    def source_N(self) -> NDArray[np.str_]:
        """The sources' names (N,)."""
        return np.array([image.source for image in self.images], dtype=str)

    @property
    def group_N(self) -> NDArray[np.str_]:
        """The groups' names (N,)."""
        return np.array([image.group for image in self.images], dtype=str)

    @property
    def own_scale_N(self) -> NDArray[np.bool_]:
        """Whether an image was judged at its own scale, bool (N,)."""
        return np.array([f is not None for f in self.found_N or [None] * len(self.images)], bool)

    def only(self, wanted_N: NDArray[np.bool_]) -> LabelledPredictions:
        """The images where `wanted_N` is true; `failures` stay."""
        rows = np.flatnonzero(wanted_N)
        return replace(
            self,
            images=tuple(self.images[k] for k in rows),
            p_crack_N=self.p_crack_N[rows],
            verdict_N=self.verdict_N[rows],
            reason_N=self.reason_N[rows],
            cam_NHW=self.cam_NHW[rows],
            ood_N=None if self.ood_N is None else self.ood_N[rows],
            width_px_N=None if self.width_px_N is None else self.width_px_N[rows],
            found_N=None if self.found_N is None else tuple(self.found_N[k] for k in rows),
        )

    def without(self, paths: Collection[str]) -> LabelledPredictions:
        """All but the images at `paths`."""
        return self.only(np.array([image.path not in paths for image in self.images], bool))

    def by_thresholds(
        self, bundle: ModelBundle
    ) -> list[tuple[str, Thresholds, LabelledPredictions]]:
        """The images of each kind that there is, photos at their own scale and those judged whole:
        its name, the thresholds of `bundle` that decided them, and them."""
        whole, own_N = bundle.thresholds, self.own_scale_N
        own = whole if bundle.dense is None else bundle.dense.thresholds
        kinds = ((OWN_SCALE, own, own_N), ("judged whole", whole, ~own_N))
        return [(name, used, self.only(of_N)) for name, used, of_N in kinds if of_N.any()]

    def by_source(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """Each source's name and mask (N,), sorted by name."""
        source_N = self.source_N
        return [(str(name), source_N == name) for name in np.unique(source_N)]


def predict_labelled(
    images: Sequence[LabelledImage],
    bundle: ModelBundle,
    engine: Backend | PhotoEngine,
    *,
    batch_size: int = BATCH_SIZE,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledPredictions:
    """Predict labelled images as `predict` does, with verdicts by the bundle's thresholds."""
    found = predict(
        images, bundle, engine, batch_size=batch_size, workers=workers, progress=progress
    )
    scores, photos = found.scores, found.photos
    shrink_N = np.array([photo.shrink for photo in photos])
    dense = None if bundle.dense is None else bundle.dense.thresholds
    own_N = np.array([score is not None for score in scores.found_N or ()], np.bool_)
    verdict_N, reason_N = decide_each(
        scores.p_crack_N,
        own_N,
        bundle.thresholds,
        dense,
        ood_N=scores.ood_N,
        shrink_N=shrink_N,
        preview_N=np.array([photo.facts.is_preview for photo in photos], np.bool_),
    )
    return LabelledPredictions(
        images=tuple(images[photo.ref.index] for photo in photos),
        p_crack_N=scores.p_crack_N,
        verdict_N=verdict_N,
        reason_N=reason_N,
        cam_NHW=scores.cam_NHW,
        ood_N=None if bundle.thresholds.out_of_distribution is None else scores.ood_N,
        found_N=scores.found_N,
        failures=tuple((images[f.ref.index], f.code) for f in found.failures),
        provider=engine.providers[0],
    )


def to_parquet(found: LabelledPredictions, leaked: Collection[str] | None) -> bytes:
    r"""One row per labelled image, sorted by path. `p_crack`, `verdict` and `reason` are null and
    `failure_code` is not where an image could not be decoded; `leaked` is null where no leak was
    looked for. Bytes of a path that are not UTF-8 appear as \xNN."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, failed = len(found.images), len(found.failures)
    images = [*found.images, *(image for image, _ in found.failures)]
    ood = [None] * count if found.ood_N is None else found.ood_N.tolist()
    text, number = pa.string(), pa.float32()
    columns = {
        "path": ([display_path(image.path) for image in images], text),
        "source": ([display_path(image.source) for image in images], text),
        "group": ([display_path(image.group) for image in images], text),
        "truth": (["crack" if image.is_crack else "clear" for image in images], text),
        "p_crack": ([*found.p_crack_N.tolist(), *[None] * failed], number),
        "verdict": ([*found.verdict_N.tolist(), *[None] * failed], text),
        "reason": ([*found.reason_N.tolist(), *[None] * failed], text),
        "ood_score": ([*ood, *[None] * failed], number),
        "leaked": ([None if leaked is None else i.path in leaked for i in images], pa.bool_()),
        "failure_code": ([*[None] * count, *(str(code) for _, code in found.failures)], text),
    }
    table = pa.table({name: pa.array(values, kind) for name, (values, kind) in columns.items()})
    file = io.BytesIO()
    pq.write_table(table.sort_by("path"), file)
    return file.getvalue()
