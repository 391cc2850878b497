"""How far a bundle can be trusted on a labelled folder, per source, with intervals by group."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector import metrics
from inspector.backends import open_backend
from inspector.bundle import DEFAULT_PATH, ModelBundle, verdict_of
from inspector.data.folder import find_labelled
from inspector.data.loader import load_batches
from inspector.errors import DataError, UsageError
from inspector.text import printable
from inspector.types import ImageRef, Photo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.data.folder import LabelledImage

ALL_SOURCES = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """`groups` as in `find_labelled`. Raises UsageError when a value cannot be right."""

    data: Path
    model: Path | None = None
    positive: str | None = None
    groups: Path | None = None
    out: Path | None = None
    backend: str = "onnxruntime"
    device: str = "auto"
    batch_size: int = 32
    workers: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < 0:
            raise UsageError("batch size must be at least 1, and workers cannot be negative")


@dataclass(frozen=True, slots=True)
class Figures:
    """One source's figures. Intervals are 95 %, bootstrapped by group; figures that need both
    classes are NaN where one is missing. Accuracies are at probability one half."""

    source: str
    cracks: int
    clears: int
    groups: int
    roc_auc: float
    roc_auc_interval: tuple[float, float]
    average_precision: float
    balanced_accuracy: float
    balanced_accuracy_interval: tuple[float, float]
    matthews_corrcoef: float
    brier: float
    ece: float
    confusion: dict[str, int]
    crack_verdicts: dict[str, int]
    """Verdicts that images with a crack got, by the bundle's thresholds."""
    clear_verdicts: dict[str, int]
    """Verdicts that images without a crack got."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`sources` ends with one for all images together when there are several."""

    digest: str
    provider: str
    sources: tuple[Figures, ...]
    failed: tuple[str, ...]
    """Images that could not be decoded, with the reason; they are in no figure."""


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Judge every image of a labelled folder with the bundle's exported model.

    With `config.out`, writes `evaluation.json` and `predictions.parquet` there. Raises DataError,
    BundleError, BackendError.
    """
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    images = find_labelled(config.data, positive=config.positive, groups_csv=config.groups)
    p_N, failed, provider = _judge(config, bundle, images)
    judged = [k for k in range(len(images)) if not np.isnan(p_N[k])]
    if not judged:
        raise DataError(f"none of the images below {config.data} could be decoded")
    by_source = sorted({images[k].source for k in judged})
    parts = [[k for k in judged if images[k].source == source] for source in by_source]
    names = [source or config.data.name for source in by_source]
    if len(parts) > 1:
        parts, names = [*parts, judged], [*names, ALL_SOURCES]
    figures = tuple(
        _figures(name, bundle, [images[k] for k in part], p_N[part])
        for name, part in zip(names, parts, strict=True)
    )
    result = Evaluation(bundle.digest, provider, figures, tuple(failed))
    if config.out:
        _write(config.out, result, images, p_N)
    return result


def _judge(
    config: EvaluateConfig, bundle: ModelBundle, images: Sequence[LabelledImage]
) -> tuple[NDArray[np.float64], list[str], str]:
    """Probabilities (N,), NaN where an image could not be decoded; the failures; the provider."""
    refs = [ImageRef(k, image.path, "", None, None) for k, image in enumerate(images)]
    batches = load_batches(
        refs, bundle.preprocess, batch_size=config.batch_size, workers=config.workers
    )
    p_N = np.full(len(images), np.nan)
    failed = []
    with ExitStack() as stack:
        stack.enter_context(closing(batches))
        opened = open_backend(bundle, config.backend, device=config.device)
        backend = stack.enter_context(closing(opened))
        for batch in batches:
            photos = [item for item in batch.items if isinstance(item, Photo)]
            others = [item for item in batch.items if not isinstance(item, Photo)]
            failed += [f"{item.ref.path}: {item.code}" for item in others]
            if photos:
                p_N[[p.ref.index for p in photos]] = backend.run(batch.pixels_NHWC).p_crack_N
        return p_N, failed, backend.providers[0]


def _figures(
    source: str, bundle: ModelBundle, images: Sequence[LabelledImage], p_N: NDArray[np.float64]
) -> Figures:
    truth = np.array([image.is_crack for image in images])
    groups = [image.group for image in images]
    verdicts = np.array([str(verdict_of(float(p), bundle.thresholds)) for p in p_N])
    return Figures(
        source=source,
        cracks=int(truth.sum()),
        clears=int((~truth).sum()),
        groups=len(set(groups)),
        roc_auc=metrics.roc_auc(p_N, truth),
        roc_auc_interval=metrics.grouped_interval(metrics.roc_auc, p_N, truth, groups),
        average_precision=metrics.average_precision(p_N, truth),
        balanced_accuracy=metrics.balanced_accuracy(p_N, truth),
        balanced_accuracy_interval=metrics.grouped_interval(
            metrics.balanced_accuracy, p_N, truth, groups
        ),
        matthews_corrcoef=metrics.matthews_corrcoef(p_N, truth),
        brier=metrics.brier(p_N, truth),
        ece=metrics.ece(p_N, truth),
        confusion=metrics.confusion(p_N, truth, 0.5),
        crack_verdicts=dict(Counter(verdicts[truth].tolist())),
        clear_verdicts=dict(Counter(verdicts[~truth].tolist())),
    )


def _write(
    out: Path, result: Evaluation, images: Sequence[LabelledImage], p_N: NDArray[np.float64]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(to_json(result) + "\n", encoding="utf-8")
    table = pa.table(
        {
            "path": [image.path for image in images],
            "source": [image.source for image in images],
            "truth": ["crack" if image.is_crack else "clear" for image in images],
            "p_crack": pa.array(p_N, from_pandas=True),
        }
    )
    pq.write_table(table, out / "predictions.parquet")


def to_json(result: Evaluation) -> str:
    return json.dumps(_finite(asdict(result)), indent=2)


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def render(result: Evaluation) -> str:
    """A table of 80 columns: one line per source."""
    lines = [
        f"{'source':<12}{'cracks':>7}{'clear':>7}{'ROC AUC':>8}{'bal.acc':>8}{'ece':>8}"
        f"{'missed':>8}{'alarms':>8}{'review':>8}"
    ]
    for f in result.sources:
        review = f.crack_verdicts.get("review", 0) + f.clear_verdicts.get("review", 0)
        lines.append(
            f"{printable(f.source)[:12]:<12}{f.cracks:>7}{f.clears:>7}{_cell(f.roc_auc, '.4f')}"
            f"{_cell(f.balanced_accuracy, '.2%')}{_cell(f.ece, '.4f')}"
            f"{_share(f.crack_verdicts.get('clear', 0), f.cracks)}"
            f"{_share(f.clear_verdicts.get('crack', 0), f.clears)}"
            f"{_share(review, f.cracks + f.clears)}"
        )
    if result.failed:
        lines.append(f"{len(result.failed)} images could not be decoded")
    lines.append("missed: cracks called clear; alarms: clear images called crack")
    return "\n".join(lines)


def _cell(value: float, form: str) -> str:
    return f"{value:8{form}}" if np.isfinite(value) else f"{'-':>8}"


def _share(count: int, total: int) -> str:
    return _cell(count / total if total else float("nan"), ".1%")
