"""Study of a bundle's out-of-distribution score: real concrete against pictures of other things."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_auc_score

from bench.report.wording import figure
from export.photos import spread_evenly
from inspector.core.text import printable
from inspector.core.untrusted import take_paths
from inspector.engines import open_backend
from inspector.errors import BundleError, DataError, SourceError, UsageError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.model.verdict import decide
from inspector.photos.source import Discovery
from inspector.predict import predict
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.studies.report import Columns
    from inspector.engines import Backend
    from inspector.types import ImageRef, JsonObject

ALL = "all"
_NOTHING = {
    "images": 0,
    "roc_auc": None,
    "median": None,
    "flagged": 0.0,
    "clear": 0.0,
    "crack": 0.0,
}

METHOD = (
    "Every picture goes through the exported model as a scan shows it, shrunk or cropped to the "
    "model's input. AUROC: the chance that something else scores higher than a picture of "
    "concrete, all sources of it together; one half is guessing.",
    "flagged: at the threshold named below, the model's own unless another was given. The concrete "
    "must be other than what that was chosen on.",
    "clear, crack: verdicts by probability of what is not flagged. A scan calls no photo clear "
    "that it had to shrink much; these shares leave that aside.",
)

COLUMNS: Columns = {
    "pictures": lambda case: str(case["name"]),
    "n": lambda case: str(case["images"]),
    "AUROC": lambda case: "-" if case["roc_auc"] is None else f"{case['roc_auc']:.4f}",
    "score (median)": lambda case: figure(case["median"]),
    "flagged": lambda case: f"{case['flagged']:.1%}",
    "clear": lambda case: f"{case['clear']:.1%}",
    "crack": lambda case: f"{case['crack']:.1%}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OodBenchConfig:
    """`concrete` and `other` are folders; their first subfolders are sources and kinds. At most
    `limit` images of each. `threshold` None: the model's own. Raises UsageError."""

    concrete: Path
    other: Path
    model: Path | None = None
    threshold: float | None = None
    limit: int = 400

    def __post_init__(self) -> None:
        take_paths(self)
        if self.limit < 1:
            raise UsageError(f"--limit {self.limit} is less than 1")


@dataclass(frozen=True, slots=True)
class Answers:
    """One source's or kind's `p_crack_N` and `ood_N`, float32."""

    p_crack_N: NDArray[np.float32]
    ood_N: NDArray[np.float32]


def bench_ood(config: OodBenchConfig) -> JsonObject:
    """Figures of both kinds of pictures. Raises SourceError where nothing is found, BundleError for
    a model without an out-of-distribution threshold."""
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    threshold = config.threshold or bundle.thresholds.out_of_distribution
    if threshold is None:
        raise BundleError(f"{bundle.path} has no out-of-distribution score; train it again")
    with closing(open_backend(bundle)) as backend:
        concrete, other = (
            {
                name: _answers(backend, bundle, spread_evenly(refs, config.limit))
                for name, refs in _by_subfolder(folder).items()
            }
            for folder in (config.concrete, config.other)
        )
    return {
        "benchmark": "domain",
        "method": METHOD,
        "settings": {
            "model": bundle.digest[:12],
            "threshold": round(threshold, 4),
            "images of each, at most": config.limit,
        },
        "cases": [
            *_cases(bundle, concrete, threshold, reference=None, what="concrete"),
            *_cases(bundle, other, threshold, reference=_all(concrete), what="other"),
        ],
    }


def _by_subfolder(folder: Path) -> dict[str, list[ImageRef]]:
    """The folder's images by its first subfolders, in order; those beside them under its name."""
    found: dict[str, list[ImageRef]] = {}
    for ref in Discovery([str(folder)]):
        parts = Path(ref.path).relative_to(folder).parts
        found.setdefault(parts[0] if len(parts) > 1 else folder.name, []).append(ref)
    if not found:
        raise SourceError(f"no photos in {folder}")
    return dict(sorted(found.items()))


def _answers(backend: Backend, bundle: ModelBundle, refs: Sequence[ImageRef]) -> Answers:
    """Unreadable files have none."""
    try:
        scores = predict(refs, bundle, backend, workers=0).scores
    except DataError:
        return Answers(np.zeros(0, np.float32), np.zeros(0, np.float32))
    return Answers(scores.p_crack_N, scores.ood_N)


def _all(parts: dict[str, Answers]) -> Answers:
    return Answers(
        np.concatenate([part.p_crack_N for part in parts.values()]),
        np.concatenate([part.ood_N for part in parts.values()]),
    )


def _cases(
    bundle: ModelBundle,
    parts: dict[str, Answers],
    threshold: float,
    *,
    reference: Answers | None,
    what: str,
) -> list[JsonObject]:
    """One case per part and one for all; `reference`: the concrete that other parts differ
    from."""
    return [
        _case(bundle, f"{what}: {printable(name)}", part, threshold, reference)
        for name, part in [*parts.items(), (ALL, _all(parts))]
    ]


def _case(
    bundle: ModelBundle, name: str, part: Answers, threshold: float, reference: Answers | None
) -> JsonObject:
    if not len(part.ood_N):
        return {"name": name, "status": "failed", "reason": "no file could be read", **_NOTHING}
    flagged_N = part.ood_N >= np.float32(threshold)
    verdict_N, _ = decide(part.p_crack_N, bundle.thresholds)
    share = {
        verdict: float(np.mean((verdict_N == verdict) & ~flagged_N))
        for verdict in (Verdict.CLEAR, Verdict.CRACK)
    }
    return {
        "name": name,
        "status": "ok",
        "reason": "",
        "images": len(flagged_N),
        "roc_auc": None if reference is None else _roc_auc(reference.ood_N, part.ood_N),
        "median": float(np.median(part.ood_N)),
        "flagged": float(flagged_N.mean()),
        "clear": share[Verdict.CLEAR],
        "crack": share[Verdict.CRACK],
    }


def _roc_auc(concrete_N: NDArray[np.float32], other_N: NDArray[np.float32]) -> float:
    truth = np.repeat([0, 1], [len(concrete_N), len(other_N)])
    return float(roc_auc_score(truth, np.concatenate([concrete_N, other_N])))
