"""Study of how much a split by tile flatters: cheap models under it and under a split by group."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.studies.report import figures, spread
from inspector.core.untrusted import take_paths
from inspector.errors import DataError
from inspector.evaluation.metrics import balanced_accuracy, roc_auc
from inspector.labelled.fingerprints import fingerprint
from inspector.labelled.folder import find_labelled
from inspector.labelled.leaks import LeakKind, audit_fingerprints
from inspector.labelled.split import hold_back
from inspector.model.network import DeployedModel, build_network
from inspector.model.preprocess import PreprocessSpec
from inspector.predict import predict_batches
from inspector.types import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.studies.report import Columns
    from inspector.labelled.folder import LabelledImage
    from inspector.labelled.leaks import LeakAudit
    from inspector.types import Batch, JsonObject

    Rows = NDArray[np.intp]
    Model = Callable[
        [NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]], NDArray[np.float64]
    ]
    """Features and truth to fit on, features to judge: probabilities of a crack."""

_STRENGTH = 0.01
"""Inverse strength of the ridge penalty: 512 features of few thousand tiles."""
SPLITS = ("by tile", "by group")

METHOD = (
    "Each round draws both splits anew, stratified by source and class as in `inspector train`: "
    "by tile as if no groups were known, by group with each group whole on one side. Models are "
    "fitted on features of a frozen ResNet18 that has seen none of these images, and judged on the "
    "images held back: logistic regression, and the nearest image (its probability: how much more "
    "alike the nearest crack is than the nearest clear image).",
    "error: one less balanced accuracy at one half. Without leaks: the same model on those "
    "held-out images only in which the audit, which is not told the groups, finds no leak. Figures "
    "are the median of all rounds and their range.",
    "series precision and recall: of the images called same_series, those whose group is among the "
    "training images too; of those, the ones called so. Images without a group in the CSV count as "
    "having none in common.",
)
COLUMNS: Columns = {
    "split": lambda case: str(case["split"]),
    "model": lambda case: str(case["model"]),
    "held out": lambda case: figures(case["held_out"]),
    "near duplicates": lambda case: figures(case["near_duplicate"]),
    "same series": lambda case: figures(case["same_series"]),
    "series precision": lambda case: figures(case["precision"]),
    "series recall": lambda case: figures(case["recall"]),
    "error %": lambda case: figures(case["error"]),
    "ROC AUC": lambda case: _fine(case["roc_auc"]),
    "error % without leaks": lambda case: figures(case["error_without"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaksBenchConfig:
    """`data` and `groups` as in `find_labelled`; `size` of the images that features are taken of,
    pixels; `share` held back."""

    data: Path
    groups: Path
    positive: str | None = None
    init: str = "imagenet"
    size: int = 112
    share: float = 0.2
    rounds: int = 5

    def __post_init__(self) -> None:
        take_paths(self)


def bench_leaks(config: LeaksBenchConfig) -> JsonObject:
    """Raises DataError (layout, groups), DownloadError or BundleError (weights)."""
    images = find_labelled(config.data, positive=config.positive or (), groups_csv=config.groups)
    prints = replace(fingerprint(images), groups=("",) * len(images))
    features_NF = _features(images, config)
    is_crack_N = np.array([image.is_crack for image in images])
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed in range(config.rounds):
        for split in SPLITS:
            training, held_out = _rows(images, split, config.share, seed)
            audit = audit_fingerprints(prints.take(training), prints.take(held_out))
            about = _about(audit, images, training, held_out)
            new = np.array([images[k].path not in audit.leaked_paths for k in held_out])
            for name, model in MODELS.items():
                p_N = model(features_NF[training], is_crack_N[training], features_NF[held_out])
                figures_of = about | _figures(p_N, is_crack_N[held_out], new)
                found.setdefault((split, name), []).append(figures_of)
    return {
        "benchmark": "leaks",
        "settings": {"init": config.init, "size": config.size, "share": config.share,
                     "rounds": config.rounds, "images": len(images)},
        "method": METHOD,
        "cases": [_case(split, name, rounds) for (split, name), rounds in found.items()],
    }  # fmt: skip


def _features(images: Sequence[LabelledImage], config: LeaksBenchConfig) -> NDArray[np.float32]:
    """(N, 512), in the images' order."""
    spec = PreprocessSpec(size=config.size)
    model = DeployedModel(build_network(config.init), spec, 1.0, 1).eval()

    @torch.inference_mode()
    def run(batch: Batch) -> NDArray[np.float32]:
        pixels = model.normalise(torch.from_numpy(batch.pixels_NHWC))
        return np.asarray(model.features(pixels).mean(dim=(2, 3)).numpy())

    parts = []
    with closing(predict_batches(images, spec, run)) as batches:
        for batch, features in batches:
            if broken := [item for item in batch.items if isinstance(item, Failure)]:
                raise DataError(f"{broken[0].ref.path} cannot be decoded; take it out of DATA")
            if features is not None:
                parts.append(features)
    return np.concatenate(parts)


def _rows(
    images: Sequence[LabelledImage], split: str, share: float, seed: int
) -> tuple[Rows, Rows]:
    """Images that are trained on, and images that are held back."""
    if split == "by tile":
        images = [replace(image, group=image.path) for image in images]
    place = {image.path: k for k, image in enumerate(images)}
    training, held_out = hold_back(images, share=share, seed=seed)
    return (
        np.array([place[image.path] for image in training]),
        np.array([place[image.path] for image in held_out]),
    )


def _logistic(
    known_NF: NDArray[np.float32], is_crack_N: NDArray[np.bool_], new_NF: NDArray[np.float32]
) -> NDArray[np.float64]:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=300))
    probabilities: NDArray[np.float64] = model.fit(known_NF, is_crack_N).predict_proba(new_NF)
    return probabilities[:, 1]


def _nearest(
    known_NF: NDArray[np.float32], is_crack_N: NDArray[np.bool_], new_NF: NDArray[np.float32]
) -> NDArray[np.float64]:
    known, new = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (known_NF, new_NF))
    likeness = new @ known.T
    crack, clear = likeness[:, is_crack_N].max(axis=1), likeness[:, ~is_crack_N].max(axis=1)
    p_N: NDArray[np.float64] = 0.5 + (crack - clear).astype(np.float64) / 4
    return p_N


MODELS: dict[str, Model] = {"logistic regression": _logistic, "nearest image": _nearest}


def _figures(
    p_N: NDArray[np.float64], is_crack_N: NDArray[np.bool_], is_new_N: NDArray[np.bool_]
) -> dict[str, float]:
    without = balanced_accuracy(p_N[is_new_N], is_crack_N[is_new_N])
    return {
        "error": 100 * (1 - balanced_accuracy(p_N, is_crack_N)),
        "roc_auc": roc_auc(p_N, is_crack_N),
        "error_without": 100 * (1 - without),
    }


def _about(
    audit: LeakAudit, images: Sequence[LabelledImage], training: Rows, held_out: Rows
) -> dict[str, float]:
    """Counts of the audit, and how its series agree with the groups that it did not know."""
    seen = {images[k].group for k in training}
    leaked = {images[k].path for k in held_out if images[k].group in seen}
    called = {leak.path for leak in audit.leaks if leak.kind is LeakKind.SAME_SERIES}
    right = len(called & leaked)
    return {
        "held_out": len(held_out),
        "near_duplicate": audit.counts["near_duplicate"],
        "same_series": len(called),
        "precision": right / len(called) if called else np.nan,
        "recall": right / len(leaked) if leaked else np.nan,
    }


def _case(split: str, name: str, rounds: list[dict[str, float]]) -> JsonObject:
    def over_rounds(figure: str) -> dict[str, float] | None:
        values = [values[figure] for values in rounds]
        return None if np.isnan(values).any() else spread([float(value) for value in values])

    summaries = {figure: over_rounds(figure) for figure in rounds[0]}
    about = {"name": f"{split}, {name}", "split": split, "model": name}
    return {**about, "status": "ok", "reason": "", **summaries}


def _fine(summary: JsonObject) -> str:
    return "{median:.5f} ({min:.5f}..{max:.5f})".format(**summary)
