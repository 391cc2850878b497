"""Report of a training: figures, curves and mistakes on its validation images."""

from __future__ import annotations

import csv
import io
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from inspector.core.durable import publish
from inspector.engines import open_backend
from inspector.evaluation import (
    Subject,
    TrainingRun,
    assess,
    misclassified,
    predict_labelled,
    write_report,
)
from inspector.training.checkpoint import LOG

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inspector.evaluation import LabelledPredictions
    from inspector.labelled.folder import LabelledImage
    from inspector.labelled.leaks import LeakAudit
    from inspector.model.bundle import ModelBundle
    from inspector.training.config import TrainConfig
    from inspector.training.loop import EpochResult


def write_artifacts(
    config: TrainConfig,
    bundle: ModelBundle,
    history: Sequence[EpochResult],
    validation: Sequence[LabelledImage],
    notes: Path,
    leaks: LeakAudit | None = None,
) -> list[dict[str, Any]]:
    """Write the report on the validation images, `history.csv` and `misclassified.csv` to `notes`.

    Returns:
        The misclassified images, the most confident first.

    Raises:
        OutputError: The files cannot be written.
    """
    with closing(open_backend(bundle, "eager", device=config.device)) as backend:
        workers = 1 if config.workers is None else min(1, config.workers)
        judged = predict_labelled(
            validation, bundle, backend, batch_size=config.batch_size, workers=workers
        )
    epochs = [asdict(result) for result in history]
    publish(_csv(epochs, list(epochs[0])), notes / "history.csv")
    missed = _rows(judged)
    publish(_csv(missed, ["path", "truth", "p_crack"]), notes / "misclassified.csv")
    subject = Subject(
        title="How far to trust this model: its validation images",
        data=", ".join(str(place) for place in _places(config)),
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        training=TrainingRun(epochs, (notes / LOG).read_text(encoding="utf-8"), _settings(config)),
    )
    write_report(notes, subject, assess(judged, bundle, leaks=leaks), judged, bundle, leaks)
    return missed


def _rows(judged: LabelledPredictions) -> list[dict[str, Any]]:
    return [
        {
            "path": judged.images[k].path,
            "truth": "crack" if judged.images[k].is_crack else "clear",
            "p_crack": round(float(judged.p_crack_N[k]), 4),
        }
        for k in misclassified(judged)
    ]


def _places(config: TrainConfig) -> list[Path]:
    """Places that the validation images come from."""
    place = config.validation or config.data
    return [place] if place else list(config.labels)


def _settings(config: TrainConfig) -> dict[str, str]:
    """Options of the run, as text."""
    return {name: str(value) for name, value in asdict(config).items() if value is not None}


def _csv(rows: Sequence[dict[str, Any]], columns: list[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
