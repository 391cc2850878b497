"""The study of photos: what a bundle makes of photos with known cracks, and a bundle whose dense
view is fitted on them.

Every figure comes from photos of the part that tests. The rule is fitted on one part, thresholds
and their guarantee come from another; no part shares a surface, a tile or a stretch of the drone's
flight with the next.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import describe_system
from bench.studies.photos.fit import fit_dense, fit_view
from bench.studies.photos.measure import FIRST, measure
from bench.studies.photos.report import figures, markdown
from bench.studies.photos.scenes import CURVE, CURVE_CASES, Scenes
from bench.studies.photos.sources import PARTS, TEST
from export.restamp import check_free, write_copy
from inspector.core.durable import publish
from inspector.core.untrusted import finite, take_paths
from inspector.errors import BundleError, UsageError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.studies.photos.measure import Measured
    from inspector.model.bundle import DenseView
    from inspector.types import JsonObject

COUNTS = {
    "boards": 60, "tiles": 60, "walls": 60, "stones": 40, "patches": 24, "slabs": 16, "large": 4,
    "sheets": 8, CURVE: 4 * len(CURVE_CASES),
}  # fmt: skip
"""Composed photos of each family in each part, half of them cracked."""
RESULTS, REPORT = "photos.json", "photos.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotosConfig:
    """Options of the study. Raises UsageError for impossible values."""

    data: Path
    """Folder with `photos/uavcrack`, `photos/no_crack` and `photos/mosaic`."""
    images: Path
    """Tiles, as the recipe lays them out: `validation` and `test`."""
    out: Path
    """Folder for figures, and for the model's answers, which are used again."""
    model: Path | None = None
    fit: Path | None = None
    """Directory for a copy of the bundle whose dense view is fitted; None: its own is measured."""
    precision: str = "fp32"
    """In which windows are judged; what is fitted and what the card tells is of fp32."""

    def __post_init__(self) -> None:
        take_paths(self)
        if self.fit is not None and self.precision != "fp32":
            raise UsageError("a view is fitted in fp32; leave out --precision")


def study_photos(config: PhotosConfig) -> tuple[ModelBundle, JsonObject]:
    """Measure, or fit and measure, a bundle's dense view. Writes `photos.json` and `photos.md` into
    `config.out`; also returns the bundle and the figures. Raises BundleError, OutputError."""
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    if bundle.dense is None:
        raise BundleError(f"{bundle.path} has no dense view; export one first")
    if config.fit is not None:
        check_free(config.fit)
    scenes = Scenes(config.data, config.images)
    if config.fit is None:
        photos = _measured(scenes, bundle, config.out, bundle.dense, (TEST,), config.precision)
    else:
        photos = _measured(scenes, bundle, config.out, None)
        view = fit_view(photos)
        if view != FIRST:  # other candidates, and so other exact tiles
            photos = _measured(scenes, bundle, config.out, view)
        dense = fit_dense(photos, view)
        bundle = write_copy(bundle, replace(bundle, dense=dense), config.fit)
    assert bundle.dense is not None
    found = figures([photo for photo in photos if photo.part == TEST], bundle.dense)
    settings = {"model": bundle.digest, "composed": COUNTS, "dense": asdict(bundle.dense)}
    if config.precision != "fp32":
        settings["precision"] = config.precision
    found = finite({"settings": settings, "system": describe_system(), **found})
    publish((json.dumps(found, indent=1) + "\n").encode(), config.out / RESULTS)
    publish(markdown(found).encode(), config.out / REPORT)
    return bundle, found


def _measured(
    scenes: Scenes, bundle: ModelBundle, out: Path, view: DenseView | None,
    parts: Sequence[str] = PARTS, precision: str = "fp32",
) -> list[Measured]:  # fmt: skip
    folder = out / "answers"
    return measure(scenes.all(COUNTS, parts), bundle, folder, view, precision=precision)
