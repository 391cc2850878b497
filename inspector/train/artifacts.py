"""What a training leaves beside the bundle for a person to look at."""

from __future__ import annotations

import csv
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.data.decode import decode
from inspector.types import Failure, ImageRef

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.data.folder import LabelledImage
    from inspector.preprocess import PreprocessSpec
    from inspector.train.loop import EpochResult, Predictions

GRID_IMAGES = 24
_GRID_COLUMNS = 6


def write_history(folder: Path, history: Sequence[EpochResult]) -> None:
    """`history.csv`, one line per epoch, and `curves.png`."""
    rows = [asdict(result) for result in history]
    with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _draw_curves(folder / "curves.png", history)


def _draw_curves(file: Path, history: Sequence[EpochResult]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    epochs = [result.epoch for result in history]
    loss.plot(epochs, [r.train_loss for r in history], "o-", label="training")
    loss.plot(epochs, [r.validation_loss for r in history], "s-", label="validation")
    loss.set(title="Cross-entropy", xlabel="epoch", ylabel="nats")
    accuracy.plot(epochs, [100 * r.train_accuracy for r in history], "o-", label="training")
    accuracy.plot(epochs, [100 * r.validation_accuracy for r in history], "s-", label="validation")
    accuracy.set(title="Accuracy", xlabel="epoch", ylabel="%")
    for axes in (loss, accuracy):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(file, dpi=120)


def misclassified(
    images: Sequence[LabelledImage], found: Predictions, p_N: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Validation images on the wrong side of one half, the most confidently wrong first."""
    wrong = np.flatnonzero((p_N >= 0.5) != found.is_crack_N)
    worst_first = wrong[np.argsort(-np.abs(p_N[wrong] - 0.5), kind="stable")]
    return [
        {
            "path": images[int(found.place_N[k])].path,
            "truth": "crack" if found.is_crack_N[k] else "clear",
            "p_crack": round(float(p_N[k]), 4),
        }
        for k in worst_first
    ]


def write_misclassified(folder: Path, rows: list[dict[str, Any]], spec: PreprocessSpec) -> None:
    """`misclassified.csv`, `misclassified.parquet` and a picture grid of the worst ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("path", pa.string()), ("truth", pa.string()), ("p_crack", pa.float64())])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "misclassified.parquet")
    with (folder / "misclassified.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=schema.names)
        writer.writeheader()
        writer.writerows(rows)
    picture = folder / "misclassified.png"
    picture.unlink(missing_ok=True)  # an earlier epoch's mistakes may be gone
    if rows:
        _draw_grid(picture, rows[:GRID_IMAGES], len(rows), spec)


def _draw_grid(file: Path, rows: list[dict[str, Any]], total: int, spec: PreprocessSpec) -> None:
    from matplotlib.figure import Figure

    columns = min(_GRID_COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(2.1 * columns, 2.6 * lines + 0.5), layout="constrained")
    figure.suptitle(f"{total} misclassified validation images, the {len(rows)} worst")
    for axes, row in zip(
        figure.subplots(lines, columns, squeeze=False).flat, _padded(rows, lines * columns),
        strict=True,
    ):  # fmt: skip
        axes.axis("off")
        outcome = row and decode(ImageRef(0, row["path"], "", None, None), spec)
        if not outcome or isinstance(outcome, Failure):
            continue
        axes.imshow(outcome.pixels_HWC)
        title = f"{_short_name(row['path'])}\nis {row['truth']}, p(crack) {row['p_crack']:.2f}"
        axes.set_title(title, fontsize=8, parse_math=False)
    figure.savefig(file, dpi=110)


def _short_name(path: str) -> str:
    """The end of a file's name: cameras and tilers count there."""
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return name if len(name) <= 26 else f"...{name[-23:]}"


def _padded(rows: list[dict[str, Any]], count: int) -> list[Any]:
    return [*rows, *[None] * (count - len(rows))]
