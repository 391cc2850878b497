"""What is known about labelled images beside their label."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import DataError
from inspector.labelled.groups import read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.evaluation.config import EvaluateConfig
    from inspector.labelled.folder import LabelledImage

WIDTH_COLUMN = "crack_width_px"
"""Column of the CSV: a crack's greatest width, in pixels of the image as it is on disk."""
UNKNOWN = "(not said)"
"""What an image is filed under that the chosen column says nothing about."""


def named_by(config: EvaluateConfig, images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """The images with what the figures are split by as their `source`. Raises DataError."""
    return [
        replace(image, source=name or config.data.resolve().name)
        for image, name in zip(images, _names(config, images), strict=True)
    ]


def _names(config: EvaluateConfig, images: Sequence[LabelledImage]) -> list[str]:
    if config.by == "source":
        return [image.source for image in images]
    if config.by == "folder":
        return [image.source.split("/")[0] for image in images]
    if config.by == "group":
        return [image.group for image in images]
    return [value or UNKNOWN for value in _column(config, images, config.by)]


def _column(config: EvaluateConfig, images: Sequence[LabelledImage], column: str) -> list[str]:
    if config.groups is None:
        return [""] * len(images)
    return read_table(config.groups).column(column, images, [config.data])[0]


def widths_px(
    config: EvaluateConfig, images: Sequence[LabelledImage]
) -> NDArray[np.float64] | None:
    """Crack widths (N,), NaN where the CSV has none; None where it has no such column. Raises
    DataError when a width is no number."""
    if config.groups is None or WIDTH_COLUMN not in read_table(config.groups).columns:
        return None
    found = _column(config, images, WIDTH_COLUMN)
    try:
        return np.array([float(value) if value else np.nan for value in found])
    except ValueError as error:
        raise DataError(
            f"{config.groups}: every {WIDTH_COLUMN} must be a number of pixels: {error}"
        ) from error
