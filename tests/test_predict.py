"""Predictions come in the order asked, with failures as values, whatever the batch size."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from inspector.engines import open_backend
from inspector.errors import DataError
from inspector.labelled.folder import LabelledImage
from inspector.model.verdict import SURE, log_odds, probability, shifted
from inspector.predict import predict, predict_batches, predict_each
from inspector.types import FailureCode, ImageRef, Photo

BROKEN = (1, 4)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for k in range(6):
        file = folder / f"{k}.png"
        if k in BROKEN:
            file.write_bytes(b"")
        else:
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(file)
    return [str(folder / f"{k}.png") for k in range(6)]


@pytest.fixture(scope="module")
def engine(tiny_bundle):
    with closing(open_backend(tiny_bundle, device="cpu")) as engine:
        yield engine


@pytest.mark.parametrize(("batch_size", "workers"), [(2, 0), (1, 0), (32, 1)])
def test_predictions_keep_the_order_asked(paths, tiny_bundle, engine, batch_size, workers):
    asked = [ImageRef.of(path, k) for k, path in enumerate(paths)][::-1]
    steps = []
    found = predict(
        asked, tiny_bundle, engine, batch_size=batch_size, workers=workers,
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert [item.ref.path for item in found.items] == paths[::-1]
    assert [f.ref.index for f in found.failures] == [4, 1]
    assert {f.code for f in found.failures} == {FailureCode.EMPTY}
    assert steps[-1] == (6, 6) and steps == sorted(steps)
    for k, photo in enumerate(found.photos):
        alone = predict([photo.ref], tiny_bundle, engine, workers=0)
        np.testing.assert_allclose(alone.scores.p_crack_N[0], found.scores.p_crack_N[k], atol=1e-6)
        np.testing.assert_allclose(alone.scores.cam_NHW[0], found.scores.cam_NHW[k], atol=1e-4)


def test_labelled_images_are_numbered_by_place(paths, tiny_bundle, engine):
    images = [LabelledImage(path, False, "", "") for path in paths]
    found = predict(images, tiny_bundle, engine, workers=0)
    assert [item.ref.index for item in found.items] == list(range(6))
    assert [item.ref.path for item in found.items] == paths


def test_predict_each_runs_all_engines_on_the_same_photos(paths, tiny_bundle, engine):
    found = predict_each(
        [ImageRef.of(path) for path in paths], tiny_bundle, {"a": engine, "b": engine}, workers=0
    )
    assert found["a"].items == found["b"].items
    assert np.array_equal(found["a"].scores.p_crack_N, found["b"].scores.p_crack_N)


def count_of(batch):
    return len(batch.pixels_NHWC)


def test_predict_batches_reads_no_further_than_the_batch_asked_for(paths, tiny_bundle):
    read = []

    def refs():
        for path in paths:
            read.append(path)
            yield ImageRef.of(path)

    batches = predict_batches(refs(), tiny_bundle.preprocess, count_of, batch_size=2, workers=0)
    batch, count = next(batches)
    assert count == sum(isinstance(item, Photo) for item in batch.items) == 1
    assert read == paths[:2]
    batches.close()


def test_a_batch_without_photos_is_not_run(paths, tiny_bundle):
    refs = [ImageRef.of(paths[k]) for k in BROKEN]
    ((batch, outputs),) = predict_batches(refs, tiny_bundle.preprocess, count_of, workers=0)
    assert outputs is None and len(batch.items) == 2


def test_predict_raises_when_nothing_can_be_decoded(paths, tiny_bundle, engine):
    refs = [ImageRef.of(paths[k]) for k in BROKEN]
    with pytest.raises(DataError, match=r"none of the 2 images could be decoded, first .* \(empty"):
        predict(refs, tiny_bundle, engine, workers=0)


def test_log_odds_and_probability_are_inverse_and_finite():
    p_N = np.array([0, SURE / 2, SURE, 0.1, 0.5, 0.9, 1 - SURE, 1])
    np.testing.assert_allclose(probability(log_odds(p_N)), np.clip(p_N, SURE, 1 - SURE), rtol=1e-9)
    assert np.isfinite(log_odds(p_N)).all()
    assert probability([-1e9, 0, 1e9]).tolist() == pytest.approx([0, 0.5, 1])


def test_shifted_moves_by_logits_and_leaves_certainty():
    assert log_odds(shifted(0.3, 2)) == pytest.approx(log_odds(0.3) + 2)
    assert shifted(0.0, 5) == 0 and shifted(1.0, -5) == 1
