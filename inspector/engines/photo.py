"""Photos of any size as one engine: whole ones as model inputs, others at their own scale."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Protocol

import numpy as np

from inspector.engines import open_backend
from inspector.engines.combined import DeferringBackend
from inspector.engines.contract import VARIANTS, joined, ragged
from inspector.errors import BundleError, UsageError
from inspector.model.bundle import NARROW
from inspector.model.evidence import MOST_TILES, STRONGEST_TILE, find_candidates, judge_photo
from inspector.model.preprocess import ALL_WHOLE, Views
from inspector.model.verdict import log_odds
from inspector.model.windows import WindowMap, pushed_into
from inspector.types import Scores, View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.model.bundle import DenseView, ModelBundle, Thresholds, Variant
    from inspector.types import Batch, PhotoScore

AUTO = "auto"
VIEWS = (AUTO, *map(str, View))
"""Values of `--view`."""
BIG = 1.5
"""A photo whose longer side is more than this many times the model's input is judged at its own
scale, unless another view is asked for."""
OVERLAP = 0.25
"""Share of a tile's side that the next one covers as well, under `--view tiles`."""
TILES_AT_ONCE = 32


class Mapper(Protocol):
    """Judges the windows of a photo at its own scale."""

    stage: str
    """Its name, as `precision@dense`."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    def run(self, pixels_HWC: NDArray[np.uint8]) -> WindowMap:
        """Judge a photo, upright uint8 (H, W, 3)."""

    def close(self) -> None: ...


def choose_views(name: str, bundle: ModelBundle) -> Views:
    """The views that `--view` means for a bundle: `auto` judges large photos at their own scale,
    densely where the bundle can, else in tiles; `dense` and `tiles` take every photo so. Raises
    UsageError for other names, BundleError where the bundle cannot."""
    if name not in VIEWS:
        raise UsageError(f"unknown view {name!r}; choose one of: {', '.join(VIEWS)}")
    if name == View.DENSE and bundle.dense is None:
        raise BundleError(
            f"{bundle.path} has no dense view; leave --view out: large photos are then judged in "
            "overlapping tiles"
        )
    if name == AUTO:
        own = View.TILES if bundle.dense is None else View.DENSE
        return Views(own, BIG * bundle.preprocess.size)
    return ALL_WHOLE if name == View.WHOLE else Views(View(name))


def dense_variant(bundle: ModelBundle, precision: str) -> Variant:
    """The variant that judges photos densely beside a tile engine of `precision`: of the same one,
    after a narrow one of the next, or else of fp32. Raises BundleError where there is neither."""
    wanted = (bundle.after(precision) or "fp32") if precision == NARROW else precision
    found = bundle.find(VARIANTS, wanted, View.DENSE)
    return found or bundle.variant(VARIANTS, "fp32", View.DENSE)


def screening_variant(
    bundle: ModelBundle, precision: str, thresholds: Thresholds | None = None
) -> Variant | None:
    """The narrow variant that looks at photos first, beside a tile engine of `precision`. None
    where there is none, or where `thresholds` (None: the bundle's own) ask for more certainty of a
    clear photo than its margins were chosen for."""
    if precision != NARROW or bundle.dense is None:
        return None
    own = bundle.dense.thresholds
    if (thresholds or own).clear_below < own.clear_below:
        return None
    return bundle.find(VARIANTS, NARROW, View.DENSE)


class PhotoEngine:
    """Judges the photos of a batch, each in its own view. Not to be shared by threads."""

    def __init__(
        self,
        tiles: Backend,
        dense: DenseView | None = None,
        views: Views = ALL_WHOLE,
        *,
        size: int = 224,
        stage: str = "",
        open_mapper: Callable[[], Mapper] | None = None,
    ) -> None:
        """Takes over `tiles`, which judges model inputs and exact tiles, `size` pixels along each
        side, and closes it. `open_mapper` opens what judges windows, whose stage is `stage`, with
        the first photo that needs it."""
        self.tiles = tiles
        self.views = views
        self.name, self.device = tiles.name, tiles.device
        self.providers = tiles.providers
        self._stage = stage or tiles.stages[0]
        self.stages: tuple[str, ...] = tuple(dict.fromkeys((*tiles.stages, self._stage)))
        self._dense = dense
        self._size = size
        self._open_mapper = open_mapper
        self._mapper: Mapper | None = None
        self._exact = tiles.last if isinstance(tiles, DeferringBackend) else tiles

    @property
    def notes(self) -> tuple[str, ...]:
        own = self._mapper.notes if self._mapper else ()
        return tuple(dict.fromkeys((*self.tiles.notes, *own)))

    def run(self, batch: Batch) -> Scores:
        """Answers for the photos of a batch, at least one, in their order. Raises BackendError."""
        if not batch.native:
            return self.tiles.run(batch.pixels_NHWC)
        found = self._judge_native(batch.native)
        whole = self.tiles.run(batch.pixels_NHWC) if len(batch.pixels_NHWC) else None
        whole_N = np.array([photo.view is View.WHOLE for photo in batch.photos])
        return _merged(whole_N, whole, found, self.stages)

    def _judge_native(self, photos: Sequence[NDArray[np.uint8]]) -> list[PhotoScore]:
        """The exact tiles of all photos are judged together."""
        assert self._dense is not None, "photos at their own scale need a dense view"
        maps = [self._map(pixels_HWC) for pixels_HWC in photos]
        candidates = [
            find_candidates(window_map, pixels_HWC.shape[:2], self._dense)
            for window_map, pixels_HWC in zip(maps, photos, strict=True)
        ]
        tiles = [
            cut_tile(pixels_HWC, found.tile_x, found.tile_y, self._size)
            for pixels_HWC, some in zip(photos, candidates, strict=True)
            for found in some[:MOST_TILES]
        ]
        odds_K = log_odds(self._exact.run(np.stack(tiles)).p_crack_N) if tiles else np.empty(0)
        scores = []
        for pixels_HWC, window_map, some in zip(photos, maps, candidates, strict=True):
            own_K, odds_K = np.split(odds_K, [min(len(some), MOST_TILES)])
            stages = (self._stage, self._exact.stages[-1])
            sides = pixels_HWC.shape[:2]
            found = judge_photo(window_map, some, own_K.tolist(), sides, self._dense, stages)
            scores.append(replace(found, window_map=window_map))
        return scores

    def _map(self, pixels_HWC: NDArray[np.uint8]) -> WindowMap:
        if self._mapper is None:
            assert self._open_mapper is not None
            self._mapper = self._open_mapper()
        return self._mapper.run(pixels_HWC)

    def close(self) -> None:
        """Give back memory and threads; the engine cannot run afterwards."""
        self.tiles.close()
        if self._mapper is not None:
            self._mapper.close()


def _merged(
    whole_N: NDArray[np.bool_], whole: Scores | None, found: list[PhotoScore], stages: Sequence[str]
) -> Scores:
    """Scores of all photos in order, from those judged whole and what was found in the others."""
    own = Scores(
        np.array([score.p_crack for score in found], np.float32),
        ragged([np.empty((0, 0), np.float32)] * len(found)),
        np.array([score.ood_score for score in found], np.float32),
        np.array([stages.index(score.stage) for score in found], np.uint8),
        tuple(found),
    )
    if whole is None:
        return own
    both = joined([whole, own])
    assert both.stage_N is not None and both.found_N is not None
    place_N = np.argsort(np.argsort(~whole_N, kind="stable"))
    return Scores(
        both.p_crack_N[place_N],
        both.cam_NHW[place_N],
        both.ood_N[place_N],
        both.stage_N[place_N],
        tuple(both.found_N[k] for k in place_N),
    )


def cut_tile(pixels_HWC: NDArray[np.uint8], x: int, y: int, size: int) -> NDArray[np.uint8]:
    """The tile of `size` pixels along each side whose corner is (x, y), pushed into the photo where
    it would overhang; a photo that is smaller is continued by its own reflection."""
    x, y = pushed_into(pixels_HWC.shape[:2], x, y, size)
    tile_HWC = pixels_HWC[y : y + size, x : x + size]
    missing = [(0, size - side) for side in tile_HWC.shape[:2]]
    if any(map(any, missing)):
        return np.pad(tile_HWC, (*missing, (0, 0)), mode="reflect")
    return tile_HWC


class TileMapper:
    """Judges overlapping tiles one by one, as images of their own. Does not close `tiles`."""

    notes: tuple[str, ...] = ()

    def __init__(self, tiles: Backend, size: int, overlap: float) -> None:
        self.stage = tiles.stages[0]
        self._tiles = tiles
        self._size = size
        self._stride = max(round(size * (1 - overlap)), 1)

    def run(self, pixels_HWC: NDArray[np.uint8]) -> WindowMap:
        """Outermost windows overhang the photo alike on both sides, by less than half of a window;
        their tiles are pushed back into it."""
        size, stride = self._size, self._stride
        rows, columns = (1 + ceil(max(side - size, 0) / stride) for side in pixels_HWC.shape[:2])
        top, left = (
            (side - size - (count - 1) * stride) // 2
            for count, side in zip((rows, columns), pixels_HWC.shape[:2], strict=True)
        )
        corners = [
            (left + x * stride, top + y * stride) for y in range(rows) for x in range(columns)
        ]
        parts = []
        for start in range(0, len(corners), TILES_AT_ONCE):
            some = corners[start : start + TILES_AT_ONCE]
            tiles_NHWC = np.stack([cut_tile(pixels_HWC, x, y, size) for x, y in some])
            parts.append(self._tiles.run(tiles_NHWC))
        scores = joined(parts)
        return WindowMap(
            log_odds_HW=log_odds(scores.p_crack_N).astype(np.float32).reshape(rows, columns),
            ood_HW=scores.ood_N.reshape(rows, columns),
            cells_HW=None,
            size=size,
            stride=stride,
            left=left,
            top=top,
        )

    def close(self) -> None: ...


def open_photo_engine(
    bundle: ModelBundle,
    name: str = "onnxruntime",
    *,
    views: Views = ALL_WHOLE,
    overlap: float = OVERLAP,
    device: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
    thresholds: Thresholds | None = None,
    dense_thresholds: Thresholds | None = None,
    opened: dict[str, Backend] | None = None,
) -> PhotoEngine:
    """Load a bundle into an engine for photos in `views`. The other arguments and errors are those
    of `open_backend`, where `dense_thresholds` decide photos at their own scale; what judges these
    is opened with the first of them."""
    tiles = open_backend(
        bundle,
        name,
        device=device,
        precision=precision,
        threads=threads,
        thresholds=thresholds,
        opened=opened,
    )
    size, dense = bundle.preprocess.size, bundle.dense or STRONGEST_TILE
    if views.big is View.WHOLE:
        return PhotoEngine(tiles)
    open_mapper: Callable[[], Mapper] = partial(TileMapper, tiles, size, overlap)
    stage = tiles.stages[0]
    if views.big is View.DENSE:
        from inspector.engines.dense import open_dense
        from inspector.engines.screened import open_screened

        open_full = partial(open_dense, bundle, name, device=device, threads=threads)
        full = dense_variant(bundle, precision).precision
        stage = f"{full}@{View.DENSE}"
        open_mapper = partial(open_full, precision=full)
        if screening_variant(bundle, precision, dense_thresholds) is not None:
            open_mapper = partial(open_screened, bundle, open_full, full)
    return PhotoEngine(tiles, dense, views, size=size, stage=stage, open_mapper=open_mapper)
