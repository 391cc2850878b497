"""Measures of how well a network ranks images of walls that it never learned from."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from inspector.errors import DataError
from inspector.evaluation.metrics import balanced_accuracy, has_both, recall_at_fpr, roc_auc
from inspector.model.verdict import probability
from inspector.predict import predict_batches
from inspector.types import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from inspector.labelled.folder import LabelledImage
    from inspector.model.preprocess import PreprocessSpec
    from inspector.types import Batch, JsonObject

    Judge = Callable[[Tensor], Tensor]
    """uint8 pixels (N, H, W, 3) to logits (N, 2) with the crack second."""

ALARMS = 0.05
"""Share of crack-free images that may be called crack, where missed cracks are counted."""
_LEARNED_SHARE = 4
"""Sources that gave training images are only a check that nothing broke: so many times fewer."""
_PARTIAL = 0.1
"""False-positive rate up to which the partial area goes (McClish 1989, as scikit-learn has it)."""
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Development:
    """Images to judge, and which sources gave no training image."""

    images: tuple[LabelledImage, ...]
    unseen: frozenset[str]


def development(
    images: Sequence[LabelledImage], learned: frozenset[str], per_class: int
) -> Development:
    """At most `per_class` images of each source and class, spread evenly over the sorted list; of
    `learned` sources a fourth of that.

    Raises DataError when the sources that are not in `learned` lack cracks or clear images.
    """
    strata: dict[tuple[str, bool], list[LabelledImage]] = {}
    for image in images:
        strata.setdefault((image.source, image.is_crack), []).append(image)
    kept = tuple(
        members[place]
        for (source, _), members in sorted(strata.items())
        for place in _spread(
            len(members), max(1, per_class // _LEARNED_SHARE) if source in learned else per_class
        )
    )
    unseen = frozenset(image.source for image in kept) - learned
    if len({image.is_crack for image in kept if image.source in unseen}) < 2:
        raise DataError(
            "the validation images have no cracked and crack-free walls of a source that gave no "
            "training image; nothing could be said about new walls"
        )
    return Development(kept, unseen)


def _spread(count: int, wanted: int) -> list[int]:
    return [int(k * count / min(count, wanted)) for k in range(min(count, wanted))]


@torch.inference_mode()
def logits_of(judge: Judge, held: Development, spec: PreprocessSpec) -> NDArray[np.float32]:
    """Logits of every image, (N, 2) float32, by `judge`. Raises DataError for a broken image."""

    def run(batch: Batch) -> NDArray[np.float32]:
        return np.asarray(judge(torch.from_numpy(batch.pixels_NHWC)).float().cpu().numpy())

    found: list[NDArray[np.float32]] = []
    batches = predict_batches(held.images, spec, run, batch_size=_BATCH, workers=0)
    with closing(batches):
        for batch, outputs in batches:
            if broken := [item for item in batch.items if isinstance(item, Failure)]:
                raise DataError(
                    f"{broken[0].ref.path} cannot be decoded; take it out of the images"
                )
            if outputs is not None:
                found.append(outputs)
    return np.concatenate(found)


def figures(logits_N2: NDArray[np.float32], held: Development) -> JsonObject:
    """Per source, and over all unseen sources together, where one threshold must do for all."""
    margin_N = logits_N2[:, 1].astype(np.float64) - logits_N2[:, 0]
    is_crack_N = np.array([image.is_crack for image in held.images])
    source_N = np.array([image.source for image in held.images])
    p_N = probability(margin_N)
    sources = {
        name: _of_source(p_N[source_N == name], is_crack_N[source_N == name])
        for name in sorted(set(source_N.tolist()))
    }
    unseen_N = np.isin(source_N, sorted(held.unseen))
    # By the margin: probabilities of sure answers are rounded to ties.
    return {"sources": sources, "unseen": _together(margin_N[unseen_N], is_crack_N[unseen_N])}


def _of_source(p_N: NDArray[np.float64], is_crack_N: NDArray[np.bool_]) -> JsonObject:
    clear_N = ~is_crack_N
    values: dict[str, Any] = {
        "roc_auc": roc_auc(p_N, is_crack_N),
        "balanced_accuracy": balanced_accuracy(p_N, is_crack_N),
        "alarms_at_half": float((p_N[clear_N] >= 0.5).mean()) if clear_N.any() else math.nan,
    }
    counts = {"cracks": int(is_crack_N.sum()), "clear": int(clear_N.sum())}
    return counts | {name: _known(value) for name, value in values.items()}


def _together(margin_N: NDArray[np.float64], is_crack_N: NDArray[np.bool_]) -> JsonObject:
    assert has_both(is_crack_N), "development() checks it"
    return {
        "cracks": int(is_crack_N.sum()),
        "clear": int((~is_crack_N).sum()),
        "roc_auc": roc_auc(margin_N, is_crack_N),
        "partial_roc_auc": float(roc_auc_score(is_crack_N, margin_N, max_fpr=_PARTIAL)),
        "missed": 1 - recall_at_fpr(margin_N, is_crack_N, ALARMS),
    }


def _known(value: float) -> float | None:
    """JSON knows no NaN, which a figure is where a class is missing."""
    return None if math.isnan(value) else round(value, 6)
