"""The shipped bundle's quick ways give the verdicts of its fp32 model on the samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.recipe.narrow.attach import trouble_with_photos
from export.gates import FLIPS_PER
from inspector.engines import open_backend
from inspector.engines.dense import open_dense
from inspector.engines.parity import differing
from inspector.model.bundle import DEFAULT_PATH, NARROW, ModelBundle, Thresholds
from inspector.model.verdict import judge
from inspector.photos.decode import decode
from inspector.synthesis import Kind, make_scene
from inspector.types import Decoded, ImageRef, Photo, PhotoFacts, View


@pytest.fixture(scope="module")
def shipped():
    return ModelBundle.load(DEFAULT_PATH)


@pytest.fixture(scope="module")
def pixels_NHWC(shipped):
    samples = Path(__file__).parents[2] / "samples"
    files = sorted(samples.glob("c*_*.*"))
    refs = [ImageRef(k, str(file), file.as_uri(), None, None) for k, file in enumerate(files)]
    outcomes = [decode(ref, shipped.preprocess) for ref in refs]
    return np.stack([o.pixels_HWC for o in outcomes if isinstance(o, Decoded)])


@pytest.fixture(scope="module")
def expected(shipped, pixels_NHWC):
    backend = open_backend(shipped, device="cpu")
    scores = backend.run(pixels_NHWC)
    backend.close()
    return scores


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16", "narrow"])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_verdicts_are_those_of_fp32(shipped, pixels_NHWC, expected, name, precision):
    backend = open_backend(shipped, name, device="cpu", precision=precision)
    scores = backend.run(pixels_NHWC)
    backend.close()
    assert len(scores.p_crack_N) >= 20
    assert not differing(scores, expected, shipped.thresholds).any()
    if precision in ("fp32", "fp16"):
        np.testing.assert_allclose(scores.p_crack_N, expected.p_crack_N, atol=5e-3)


def test_a_row_does_not_depend_on_the_others_in_its_batch(shipped, pixels_NHWC):
    """Alone, with any neighbours, in any order: the same answer to the last bit, and the same
    place of the evidence, from every stage."""
    moved = np.roll(pixels_NHWC, 80, axis=2)  # so that not every peak is in the middle
    mixed = pixels_NHWC[-3:, ::-1] // 2 + pixels_NHWC[:3] // 2
    pixels = np.concatenate([pixels_NHWC, moved, mixed])
    refs = [ImageRef(k, str(k), f"file:///{k}", None, None) for k in range(len(pixels))]
    # Everything is a crack or near one: a clear photo has no place of the evidence.
    found = Thresholds(clear_below=0.0, crack_from=0.5)
    backend = open_backend(shipped, device="cpu", precision="int8", threads=1)

    def judged(places):
        photos = [Photo(refs[k], PhotoFacts(), 1.0) for k in places]
        return judge(backend.run(pixels[places]), photos, found, backend.stages)

    expected = judged(range(len(pixels)))
    assert {j.stage for j in expected} == set(backend.stages)
    assert {j.peak_x for j in expected if j.stage == backend.stages[0]} > {0.5}

    @settings(max_examples=3, deadline=None)
    @given(st.permutations(range(len(pixels))), st.sampled_from((1, 2, 7)))
    def same(order, size):
        for start in range(0, len(order), size):
            some = order[start : start + size]
            assert judged(some) == tuple(expected[k] for k in some)

    same()
    backend.close()


def test_every_quick_way_was_gated(shipped):
    for variant in shipped.whole.values():
        flips = variant.parity["verdict_flips"]
        assert len(flips) <= variant.parity["images"] // FLIPS_PER, variant.file
        limits = shipped.thresholds
        # Of what the model leaves to a person, a smaller network may clear one in a thousand; of
        # what it calls a crack, none.
        lowest = limits.crack_from if variant.precision == NARROW else limits.clear_below
        assert not any(quick < limits.clear_below and exact >= lowest for exact, quick in flips), (
            variant.file
        )
    assert shipped.variant("onnxruntime", "int8").parity["images"] >= 2000


def test_no_crack_was_lost_by_what_looks_at_photos_first(shipped):
    seen = shipped.variant("onnxruntime", NARROW, View.DENSE).parity
    assert trouble_with_photos(seen) == ""
    assert seen["images"] >= 300 and sum(s["cracked"] for s in seen["sources"].values()) >= 200


def test_parts_of_a_photo_are_judged_nearly_as_all_of_it(shipped):
    pixels_HWC = make_scene(np.random.default_rng(7), 900, 1400, Kind.CRACK).pixels
    full = open_dense(shipped, device="cpu", precision="int8")
    whole = full.run(pixels_HWC)
    assert whole.cells_HW is not None
    wanted_HW = np.zeros_like(whole.cells_HW, np.bool_)
    wanted_HW[np.unravel_index(whole.cells_HW.argmax(), wanted_HW.shape)] = True
    wanted_HW[[0, -1], [0, -1]] = True  # and two corners
    first = replace(whole, cells_HW=np.full_like(whole.cells_HW, -9.0))
    found = full.run(pixels_HWC, first, wanted_HW)
    full.close()
    assert found.cells_HW is not None
    assert (found.cells_HW == -9.0).mean() > 0.5
    assert np.abs(found.cells_HW - whole.cells_HW)[wanted_HW].max() < 0.5
