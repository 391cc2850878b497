"""Photos at their own scale in two stages: the model judges again what is not beyond doubt, and
says the same there as without the first stage."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from inspector.engines.dense import open_dense
from inspector.engines.photo import open_photo_engine, screening_variant
from inspector.engines.screened import doubtful, open_screened
from inspector.model.bundle import DenseView, Thresholds
from inspector.model.evidence import find_candidates, judge_photo
from inspector.model.preprocess import Views
from inspector.model.verdict import log_odds
from inspector.model.windows import HALO
from inspector.types import View
from tests.engines.narrow import with_narrow

SIDE = 900


@pytest.fixture(scope="module")
def bundle(tiny_bundle_dir, tmp_path_factory):
    """The narrow pair says half of what the model does, and 3 less, of every cell."""
    dense = DenseView(
        temperature=1.0, shift=0.0, thresholds=Thresholds(clear_below=0.2, crack_from=0.8),
        photo={"grow": 1.0, "seed": 2.0},
    )  # fmt: skip
    return with_narrow(tiny_bundle_dir, tmp_path_factory.mktemp("narrow"), dense=dense)


@pytest.fixture(scope="module")
def photo():
    """Noise of another grain from place to place, so that answers vary."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (SIDE // 60, SIDE // 60, 3)).repeat(60, 0).repeat(60, 1)
    fine = rng.integers(0, 256, (SIDE, SIDE, 3)) * (coarse[..., :1] / 255)
    return ((coarse + fine) / 2).astype(np.uint8)


def opened(bundle, precision):
    return open_dense(bundle, device="cpu", precision=precision)


@pytest.fixture(scope="module")
def maps(bundle, photo):
    """What the narrow network and the model say of all of the photo."""
    found = []
    for precision in ("narrow", "fp32"):
        engine = opened(bundle, precision)
        found.append(engine.run(photo))
        engine.close()
    return found


def view(bundle, seed, clear_below=0.2):
    """The bundle's dense view; cells from `seed` on seed a candidate."""
    thresholds = replace(bundle.dense.thresholds, clear_below=clear_below)
    return replace(bundle.dense, photo={"grow": 1.0, "seed": seed}, thresholds=thresholds)


def screened(bundle, photo, seed, margin=0.0, ood_margin=-100.0, clear_below=0.2):
    engine = open_screened(bundle, partial(open_dense, bundle, device="cpu"), "fp32")
    engine._dense = view(bundle, seed, clear_below)
    engine._margins = margin, ood_margin
    found = engine.run(photo)
    engine.close()
    return found


@pytest.fixture
def wide(monkeypatch):
    """Parts of a photo see as much around them as its blocks: a random network looks far."""
    monkeypatch.setattr("inspector.model.windows.PART_HALO", HALO)


@pytest.mark.usefixtures("wide")
def test_what_is_doubtful_is_the_models_and_the_rest_the_narrow_ones(bundle, photo, maps):
    narrow, full = maps
    seed = float(np.quantile(narrow.cells_HW, 0.995))
    doubtful_HW = doubtful(narrow, view(bundle, seed), -100.0)
    found = screened(bundle, photo, seed, clear_below=1e-9)
    assert 1 < doubtful_HW.sum() < 0.1 * doubtful_HW.size
    off_HW = np.abs(found.cells_HW - full.cells_HW)
    assert off_HW[doubtful_HW].max() < 0.01
    kept_HW = found.cells_HW == narrow.cells_HW
    assert 0.3 < kept_HW.mean() < 1
    # Cells beside a doubtful one are near to their block's border, and a random network looks far.
    apart_HW = np.abs(narrow.cells_HW - full.cells_HW)
    assert off_HW[~kept_HW].mean() < 0.1 * apart_HW[~kept_HW].mean()
    assert (found.left, found.top, found.size) == (full.left, full.top, full.size)
    means_HW = [found.cells_HW[y : y + 2, x : x + 2].mean() for y, x in ((0, 0), (9, 20))]
    assert [found.log_odds_HW[0, 0], found.log_odds_HW[9, 20]] == pytest.approx(means_HW, abs=1e-5)


def test_a_photo_that_is_doubtful_everywhere_is_the_models(bundle, photo, maps):
    found = screened(bundle, photo, -1000.0)
    np.testing.assert_array_equal(found.log_odds_HW, maps[1].log_odds_HW)
    np.testing.assert_array_equal(found.ood_HW, maps[1].ood_HW)


@pytest.mark.usefixtures("wide")
def test_the_strongest_place_is_always_the_models(bundle, photo, maps):
    narrow, full = maps
    found = screened(bundle, photo, 1000.0)
    at = np.unravel_index(narrow.cells_HW.argmax(), narrow.cells_HW.shape)
    assert found.cells_HW[at] == pytest.approx(full.cells_HW[at], abs=0.01)
    assert (found.cells_HW == narrow.cells_HW).mean() > 0.5


def test_a_foreign_photo_is_the_models(bundle, photo, maps):
    narrow, full = maps
    near = 2.0 - narrow.ood_score  # the threshold of a bundle without one
    found = screened(bundle, photo, 1000.0, ood_margin=near + 1e-3)
    np.testing.assert_array_equal(found.cells_HW, full.cells_HW)
    found = screened(bundle, photo, 1000.0, ood_margin=near - 1e-3)
    assert (found.cells_HW == narrow.cells_HW).mean() > 0.5


def test_a_photo_that_is_not_clear_enough_is_the_models(bundle, photo, maps):
    _, full = maps
    partly = screened(bundle, photo, 1000.0)
    dense, sides = view(bundle, 1000.0), photo.shape[:2]
    p_crack = judge_photo(
        partly, found := find_candidates(partly, sides, dense),
        [each.features["window"] for each in found], sides, dense, ("",),
    ).p_crack  # fmt: skip
    below = float(log_odds(dense.thresholds.clear_below) - log_odds(p_crack))
    assert below > 0.1, "the photo is clear by its parts"
    found = screened(bundle, photo, 1000.0, margin=below + 1e-3)
    np.testing.assert_array_equal(found.cells_HW, full.cells_HW)
    found = screened(bundle, photo, 1000.0, margin=below - 1e-3)
    np.testing.assert_array_equal(found.cells_HW, partly.cells_HW)


def test_a_photo_that_exact_tiles_may_make_clear_is_the_models(bundle, photo, maps):
    partly = screened(bundle, photo, 1000.0)
    dense, sides = view(bundle, 1000.0), photo.shape[:2]
    (found,) = find_candidates(partly, sides, dense)
    p_crack = judge_photo(partly, [found], [found.features["window"]], sides, dense, ("",)).p_crack
    odds = float(log_odds(p_crack))
    for above, is_the_models in ((0.9, True), (1.1, False)):
        clear_below = 1 / (1 + np.exp(above - odds))
        again = screened(bundle, photo, 1000.0, clear_below=clear_below)
        of_whom = maps[1] if is_the_models else partly
        np.testing.assert_array_equal(again.cells_HW, of_whom.cells_HW)


def test_thresholds_that_want_more_certainty_are_not_screened(bundle):
    own, strict = bundle.dense.thresholds, Thresholds(clear_below=0.1, crack_from=0.8)
    assert screening_variant(bundle, "narrow") == bundle.variants["dense-narrow"]
    assert screening_variant(bundle, "narrow", own) == bundle.variants["dense-narrow"]
    assert screening_variant(bundle, "narrow", strict) is None
    assert screening_variant(bundle, "fp32") is None
    engine = open_photo_engine(
        bundle, views=Views(View.DENSE), device="cpu", precision="narrow", dense_thresholds=strict
    )
    assert engine.stages == ("narrow@64", "fp32@64", "fp32@dense")
    assert engine._open_mapper.func is not open_screened
    engine.close()
