"""The images that an export is compared on: golden images, and which of the user's photos set
ranges, choose the margin and are looked at by the gate."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from export.config import HELD_BACK_LIMIT, ExportConfig
from inspector.errors import ExportError, SourceError
from inspector.labelled.folder import image_paths
from inspector.model.preprocess import PreprocessSpec, Views
from inspector.photos.decode import decode
from inspector.predict import BATCH_SIZE
from inspector.synthesis import Kind, make_scene
from inspector.types import Decoded, ImageRef, View
from inspector.workers.loader import load_batches

T = TypeVar("T")

CALIBRATION_LIMIT = 256
"""Photos that set ranges at most: more change them little."""
CALIBRATION_MINIMUM = 32
_SEED = 20
_SCENES = (Kind.CLEAN, Kind.CRACK, Kind.CRACK, Kind.JOINT, Kind.STAIN, Kind.SHADOW)


def golden_inputs(size: int) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Names and pixels, uint8 (K, size, size, 3), of the golden images: the extremes, noise,
    saturated colours (which alone show exchanged channels) and scenes of concrete. Always the
    same, and synthetic, because a bundle may be handed on and a customer's photos may not."""
    rng = np.random.default_rng(_SEED)
    images = {
        "black": np.zeros((size, size, 3), np.uint8),
        "white": np.full((size, size, 3), 255, np.uint8),
        "noise": rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        "red": _stripes(size, 0),
        "green": _stripes(size, 1),
        "blue": _stripes(size, 2),
    }
    for place, kind in enumerate(_SCENES):
        images[f"{kind}-{place}"] = make_scene(rng, size, size, kind).pixels
    return tuple(images), np.stack(list(images.values()))


def _stripes(size: int, channel: int) -> NDArray[np.uint8]:
    """Bars of one pure colour on black, 16 px wide."""
    image = np.zeros((size, size, 3), np.uint8)
    image[:, np.arange(size) // 16 % 2 == 1, channel] = 255
    return image


@dataclass(frozen=True, slots=True)
class Photos:
    """Three parts without a photo in common; all but `calibration` lie below `folder`."""

    calibration: list[Path]
    choosing: list[Path]
    gating: list[Path]
    folder: Path


def gather_photos(config: ExportConfig) -> Photos:
    """The user's photos, dealt. Raises SourceError for a folder without any, ExportError when the
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
    calibration = spread_evenly(calibration, CALIBRATION_LIMIT)
    seen = {os.path.realpath(photo) for photo in calibration}
    held_back = [photo for photo in held_back if os.path.realpath(photo) not in seen]
    held_back = spread_evenly(held_back, config.images_limit or HELD_BACK_LIMIT)
    choosing, gating = deal_third(held_back, folder, "margin")
    check_enough(len(gating), config)
    return Photos(calibration, choosing, gating, folder)


def calibration_pixels(photos: Photos, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """The photos that set ranges as model input, uint8 (K, size, size, 3). Raises ExportError when
    too few can be decoded."""
    refs = refs_to(photos.calibration)
    with closing(load_batches(refs, spec, batch_size=BATCH_SIZE, workers=1)) as batches:
        pixels = [batch.pixels_NHWC for batch in batches]
    readable = sum(map(len, pixels))
    if readable < CALIBRATION_MINIMUM:
        raise ExportError(
            f"only {readable} photos can set the ranges of int8, and {CALIBRATION_MINIMUM} are "
            "needed; give --calibration a folder with more"
        )
    return np.concatenate(pixels)


def check_enough(gating: int, config: ExportConfig) -> None:
    """Raises ExportError when the gate would look at fewer than `config.held_back_minimum`."""
    if gating < config.held_back_minimum:
        raise ExportError(
            f"the gate would compare only {gating} held-back photos, and "
            f"{config.held_back_minimum} are needed; give --images a folder with at least "
            f"{8 * config.held_back_minimum // 5} photos that are not among --calibration's "
            "(a third of them chooses the margin), and no smaller --images-limit"
        )


def pick_photos(folder: Path, limit: int) -> list[Path]:
    """At most `limit` of `find_photos`, evenly spread."""
    return spread_evenly(find_photos(folder), limit)


def find_photos(folder: Path) -> list[Path]:
    """The image files of the tree below `folder`, sorted. Raises SourceError when there is none."""
    found = sorted(Path(path) for path in image_paths(folder) if os.path.isfile(path))
    if not found:
        raise SourceError(f"no images below {folder}; name a folder with photos")
    return found


def spread_evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, in their order and at even steps: the beginning of a sorted
    listing may hold a single class or day."""
    taken = min(count, len(items))
    return [items[k * len(items) // taken] for k in range(taken)]


def deal_third(photos: Sequence[Path], folder: Path, purpose: str) -> tuple[list[Path], list[Path]]:
    """A third of the photos below `folder`, and the rest. A photo's part depends on its relative
    path and `purpose` alone, so it stays the same when photos are added."""
    dealt: tuple[list[Path], list[Path]] = ([], [])
    for photo in photos:
        key = f"{purpose}:{photo.relative_to(folder).as_posix()}"
        first = hashlib.sha256(os.fsencode(key)).digest()[0]
        dealt[first % 3 != 0].append(photo)
    return dealt


def native_pixels(photo: str | os.PathLike[str]) -> NDArray[np.uint8] | None:
    """A photo at its own scale, upright, as a scan decodes it; None for one that it cannot."""
    outcome = decode(ImageRef.of(photo), PreprocessSpec(), views=Views(View.DENSE))
    return outcome.pixels_HWC if isinstance(outcome, Decoded) else None


def refs_to(photos: Sequence[Path]) -> list[ImageRef]:
    """References to the photos, numbered in their order."""
    return [ImageRef.of(photo, place) for place, photo in enumerate(photos)]
