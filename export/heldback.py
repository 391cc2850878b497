"""Which of the user's photos set ranges, choose the margin and are looked at by the gate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.config import HELD_BACK_LIMIT
from export.photos import deal_third, find_photos, photo_batches, spread
from inspector.errors import ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.config import ExportConfig
    from inspector.model.preprocess import PreprocessSpec

CALIBRATION_LIMIT = 256
"""Photos that set ranges at most: more change them little."""
CALIBRATION_MINIMUM = 32


@dataclass(frozen=True, slots=True)
class Photos:
    """Three parts without a photo in common; all below `folder` but those of calibration."""

    calibration: list[Path]
    choosing: list[Path]
    gating: list[Path]
    folder: Path


def gather_photos(config: ExportConfig) -> Photos:
    """Which photos serve what. Raises SourceError for a folder without any, ExportError when the
    gate would see too few."""
    calibration: list[Path] = []
    if config.images is None:
        assert config.calibration is not None
        folder = config.calibration
        calibration, held_back = deal_third(find_photos(folder), folder, "calibration")
    else:
        folder = config.images
        if config.calibration is not None:
            calibration = find_photos(config.calibration)
        held_back = find_photos(folder)
    calibration = spread(calibration, CALIBRATION_LIMIT)
    seen = {os.path.realpath(photo) for photo in calibration}
    held_back = [photo for photo in held_back if os.path.realpath(photo) not in seen]
    held_back = spread(held_back, config.images_limit or HELD_BACK_LIMIT)
    choosing, gating = deal_third(held_back, folder, "margin")
    check_enough(len(gating), config)
    return Photos(calibration, choosing, gating, folder)


def calibration_pixels(photos: Photos, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """What sets the ranges, as the model sees it, uint8 (K, size, size, 3). Raises ExportError
    when too few of the photos can be decoded."""
    batches = [pixels_NHWC for _, pixels_NHWC in photo_batches(photos.calibration, spec)]
    readable = sum(map(len, batches))
    if readable < CALIBRATION_MINIMUM:
        raise ExportError(
            f"only {readable} photos can set the ranges of int8, and {CALIBRATION_MINIMUM} are "
            "needed; give --calibration a folder with more"
        )
    return np.concatenate(batches)


def check_enough(gating: int, config: ExportConfig) -> None:
    """Raises ExportError when the gate would look at fewer than `config.held_back_minimum`."""
    if gating < config.held_back_minimum:
        raise ExportError(
            f"the gate would compare only {gating} held-back photos, and "
            f"{config.held_back_minimum} are needed; give --images a folder with at least "
            f"{3 * config.held_back_minimum // 2} photos that are not among --calibration's "
            "(a third of them chooses the margin), and no smaller --images-limit"
        )
