"""Photos of any size as one engine: each has its own answer, whatever stands beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.engines.combined import DeferringBackend, UncertaintyBand
from inspector.engines.contract import joined
from inspector.engines.photo import (
    TILES_AT_ONCE,
    PhotoEngine,
    TileMapper,
    choose_views,
    cut_tile,
    dense_variant,
)
from inspector.errors import BundleError, UsageError
from inspector.model.bundle import DEFAULT_PATH, DenseView, ModelBundle
from inspector.model.evidence import MOST_TILES, STRONGEST_TILE, find_candidates
from inspector.model.preprocess import ALL_WHOLE, Views
from inspector.model.verdict import probability
from inspector.model.windows import WindowMap
from inspector.types import Batch, ImageRef, Photo, PhotoFacts, PhotoScore, Scores, View

SIZE = 32
DENSE = DenseView(temperature=1.0, shift=0.0)


class Grey:
    """A tile engine: the brighter, the likelier a crack."""

    name, device = "grey", "cpu"
    providers: tuple[str, ...] = ("Grey",)
    notes: tuple[str, ...] = ("grey is slow",)

    def __init__(self, stage: str = "fp32@32") -> None:
        self.stages: tuple[str, ...] = (stage,)
        self.seen: list[int] = []
        self.closed = 0

    def run(self, pixels_NHWC):
        assert pixels_NHWC.shape[1:] == (SIZE, SIZE, 3) and pixels_NHWC.flags.c_contiguous
        self.seen.append(len(pixels_NHWC))
        p_N = pixels_NHWC.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32) / 255
        return Scores(p_N, np.ones((len(p_N), 2, 2), np.float32) * p_N[:, None, None], p_N + 1)

    def close(self):
        self.closed += 1


class Bright:
    """Windows of half their size apart; evidence is where it is bright."""

    stage = "int8@dense"
    notes: tuple[str, ...] = ("bright is quick",)

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.closed = 0

    def run(self, pixels_HWC):
        self.shapes.append(pixels_HWC.shape)
        rows, columns = (max(side // 16, 1) for side in pixels_HWC.shape[:2])
        odds_HW = pixels_HWC[: rows * 16 : 16, : columns * 16 : 16, 0] / 16 - 8
        return WindowMap(
            odds_HW.astype(np.float32), np.ones_like(odds_HW, np.float32), None, SIZE, 16, 0, 0
        )

    def close(self):
        self.closed += 1


def pixels(seed: int, height: int, width: int):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def batch_of(sides: list[tuple[int, int] | None]) -> Batch:
    """Photos with pixels of their own; those without sides are whole."""
    photos, whole, native = [], [], []
    for place, shape in enumerate(sides):
        ref = ImageRef(place, f"{place}.jpg", f"file:///{place}.jpg", 1, 0)
        view = View.WHOLE if shape is None else View.DENSE
        photos.append(Photo(ref, PhotoFacts(), 1.0, view, shape))
        if shape is None:
            whole.append(pixels(place, SIZE, SIZE))
        else:
            native.append(pixels(place, *shape))
    inputs = np.stack(whole) if whole else np.empty((0, SIZE, SIZE, 3), np.uint8)
    return Batch(tuple(photos), inputs, 0.0, tuple(native))


def engine_of(tiles=None, mapper=None, views=Views(View.DENSE, 48)) -> PhotoEngine:  # noqa: B008
    mapper = mapper or Bright()
    return PhotoEngine(
        tiles or Grey(), DENSE, views, size=SIZE, stage=mapper.stage, open_mapper=lambda: mapper
    )


def test_whole_photos_are_the_tile_engines():
    batch = batch_of([None] * 5)
    expected, found = Grey().run(batch.pixels_NHWC), PhotoEngine(Grey()).run(batch)
    assert found.found_N is None and found.stage_N is None
    np.testing.assert_array_equal(found.p_crack_N, expected.p_crack_N)
    np.testing.assert_array_equal(found.cam_NHW, expected.cam_NHW)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.tuples(st.integers(1, 90), st.integers(1, 90))), min_size=1,
        max_size=7,
    )
)  # fmt: skip
def test_an_answer_does_not_depend_on_the_others_in_the_batch(sides):
    batch, engine = batch_of(sides), engine_of()
    together = engine.run(batch)
    whole, native = iter(batch.pixels_NHWC), iter(batch.native)
    alone = []
    for photo in batch.photos:
        if photo.view is View.WHOLE:
            one = Batch((photo,), next(whole)[None], 0.0)
        else:
            one = Batch((photo,), batch.pixels_NHWC[:0], 0.0, (next(native),))
        alone.append(engine.run(one))
    apart = joined(alone)
    np.testing.assert_array_equal(together.p_crack_N, apart.p_crack_N)
    np.testing.assert_array_equal(together.ood_N, apart.ood_N)
    found_N = together.found_N or (None,) * len(sides)
    assert found_N == (apart.found_N or (None,) * len(sides))
    assert [found is None for found in found_N] == [shape is None for shape in sides]
    for k, found in enumerate(found_N):
        if isinstance(found, PhotoScore) and together.stage_N is not None:
            assert together.p_crack_N[k] == np.float32(found.p_crack)
            assert engine.stages[together.stage_N[k]] == found.stage
        else:
            np.testing.assert_array_equal(together.cam_NHW[k], apart.cam_NHW[k])


def test_the_exact_tiles_of_all_photos_are_judged_together_by_the_last_stage():
    quick, exact = Grey("int8@32"), Grey("fp32@32")
    everything = UncertaintyBand(((0.0, 1.0),))
    tiles = DeferringBackend([(quick, everything), (exact, UncertaintyBand())])
    engine = engine_of(tiles)
    assert engine.stages == ("int8@32", "fp32@32", "int8@dense")
    scores = engine.run(batch_of([(90, 80), (70, 90)]))
    assert quick.seen == [] and len(exact.seen) == 1 and 2 <= exact.seen[0] <= 2 * MOST_TILES
    assert scores.found_N is not None
    for found in scores.found_N:
        assert found is not None and {r.stage for r in found.regions} <= {"fp32@32", "int8@dense"}


def test_without_a_dense_view_the_likeliest_tile_is_the_photo():
    grey = Grey()
    engine = PhotoEngine(
        grey, STRONGEST_TILE, Views(View.TILES, 48), size=SIZE,
        open_mapper=lambda: TileMapper(grey, SIZE, 0.25),
    )  # fmt: skip
    batch = batch_of([(90, 80), (70, 200), (20, 100)])
    scores = engine.run(batch)
    assert scores.found_N is not None
    for pixels_HWC, p_crack, found in zip(
        batch.native, scores.p_crack_N, scores.found_N, strict=True
    ):
        tiles = TileMapper(Grey(), SIZE, 0.25).run(pixels_HWC).log_odds_HW
        assert p_crack == pytest.approx(probability(tiles.max()), abs=1e-6)
        assert found is not None and all(region.p_crack >= 0.5 for region in found.regions)
        assert bool(found.regions) == (p_crack >= 0.5)


def test_nothing_is_opened_for_whole_photos_and_all_is_closed():
    tiles, mapper = Grey(), Bright()
    engine = engine_of(tiles, mapper)
    engine.run(batch_of([None]))
    assert engine.notes == tiles.notes and engine._mapper is None
    engine.run(batch_of([(60, 50)]))
    assert engine.notes == tiles.notes + mapper.notes
    engine.close()
    assert (tiles.closed, mapper.closed) == (1, 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 100), st.integers(1, 100), st.integers(-40, 120), st.integers(-40, 120))
def test_a_tile_is_cut_out_of_the_photo(height, width, x, y):
    photo = pixels(0, height, width)
    tile = cut_tile(photo, x, y, SIZE)
    assert tile.shape == (SIZE, SIZE, 3)
    left, top = (max(0, min(at, side - SIZE)) for at, side in ((x, width), (y, height)))
    inside = photo[top : top + SIZE, left : left + SIZE]
    assert np.array_equal(tile[: inside.shape[0], : inside.shape[1]], inside)
    assert {tuple(p) for p in tile.reshape(-1, 3).tolist()} <= {
        tuple(p) for p in photo.reshape(-1, 3).tolist()
    }


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 200), st.integers(1, 200), st.sampled_from([0.0, 0.25, 0.5, 0.9]),
    st.sampled_from([0, -1]),
)  # fmt: skip
def test_tiles_cover_every_pixel(height, width, overlap, corner):
    """One bright pixel in a corner is seen, and only by the windows that have it; its place is a
    candidate's."""
    photo = np.zeros((height, width, 3), np.uint8)
    photo[corner, corner] = 255
    tiles = Grey()
    found = TileMapper(tiles, SIZE, overlap).run(photo)
    assert max(tiles.seen) <= TILES_AT_ONCE
    assert sum(tiles.seen) == found.log_odds_HW.size == found.ood_HW.size
    odds_HW = found.log_odds_HW
    assert odds_HW[corner, corner] == odds_HW.max() > odds_HW.min() or odds_HW.size == 1
    for count, side in zip(odds_HW.shape, (height, width), strict=True):
        assert (count - 1) * found.stride + SIZE >= side
        assert count == 1 or (count - 2) * found.stride + SIZE < side
    (best,) = find_candidates(found, (height, width), STRONGEST_TILE)
    assert best.features["window"] == odds_HW.max()
    assert best.x <= (width - 1) * -corner < best.x + best.width
    assert best.y <= (height - 1) * -corner < best.y + best.height


def test_views_by_name():
    shipped = ModelBundle.load(DEFAULT_PATH, verify=False)
    assert shipped.dense is not None
    views = choose_views("auto", shipped)
    assert [views.of((224, side)) for side in (336, 337)] == [View.WHOLE, View.DENSE]
    assert choose_views("whole", shipped) == ALL_WHOLE
    assert choose_views("tiles", shipped).of((1, 1)) is View.TILES
    without = replace(shipped, dense=None)
    views = choose_views("auto", without)
    assert [views.of((224, side)) for side in (336, 337)] == [View.WHOLE, View.TILES]
    assert choose_views("tiles", without).of((1, 1)) is View.TILES
    with pytest.raises(BundleError, match="no dense view; leave --view out"):
        choose_views("dense", without)
    with pytest.raises(UsageError, match="unknown view"):
        choose_views("sliced", shipped)


def test_the_dense_variant_is_of_the_tiles_precision_or_else_exact():
    shipped = ModelBundle.load(DEFAULT_PATH, verify=False)
    assert dense_variant(shipped, "int8").precision == "int8"
    fp32 = {
        name: variant for name, variant in shipped.variants.items()
        if variant.view != View.DENSE or variant.precision == "fp32"
    }  # fmt: skip
    assert dense_variant(replace(shipped, variants=fp32), "int8").precision == "fp32"
    with pytest.raises(BundleError, match="inspector export"):
        dense_variant(replace(shipped, variants=shipped.whole), "int8")
