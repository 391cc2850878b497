"""What the network sees: drawn fairly, changed without changing the truth, the same every time."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inspector.labelled.folder import LabelledImage, find_labelled
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.training.data import (
    AugmentedPixels,
    HeldOut,
    augmentation,
    epoch_plan,
    hard_example,
    haze,
    rescale,
    white_balance,
)
from inspector.types import Decoded, ImageRef

SPEC = PreprocessSpec(size=64)


def strata(**sizes: int) -> list[LabelledImage]:
    return [
        LabelledImage(f"{name}{k}", name.startswith("crack"), name[-1], f"{name}{k}")
        for name, size in sizes.items()
        for k in range(size)
    ]


def test_epoch_plan_of_one_balanced_source_is_a_permutation():
    images = strata(crack_a=30, clear_a=30)
    plan = epoch_plan(images, 60, seed=1, epoch=0)
    assert sorted(plan) == list(range(60))
    assert list(plan) != list(range(60))


@given(
    st.integers(1, 200), st.integers(1, 200), st.integers(1, 50), st.integers(1, 400),
    st.floats(0, 0.8), st.integers(0, 5),
)  # fmt: skip
def test_epoch_plan_balances_labels_whatever_the_sizes(many, some, few, count, synthetic, epoch):
    images = strata(crack_a=some, clear_a=many, clear_b=few)
    plan = epoch_plan(images, count, seed=0, epoch=epoch, synthetic=synthetic)
    assert len(plan) == count
    cracks = sum(images[k].is_crack for k in plan)
    real = cracks + 0.6 * synthetic * (count - cracks)
    assert abs(real - count / 2) <= 2


def test_epoch_plan_differs_between_epochs_and_repeats_by_seed():
    images = strata(crack_a=40, clear_a=40)
    first = epoch_plan(images, 80, seed=1, epoch=0)
    assert np.array_equal(first, epoch_plan(images, 80, seed=1, epoch=0))
    assert not np.array_equal(first, epoch_plan(images, 80, seed=1, epoch=1))
    assert not np.array_equal(first, epoch_plan(images, 80, seed=2, epoch=0))


def test_epoch_plan_shows_images_of_small_sources_more_often():
    images = strata(crack_a=100, clear_a=900, clear_b=9)
    plan = epoch_plan(images, 1000, seed=0, epoch=0)
    per_source = Counter(images[k].source for k in plan if not images[k].is_crack)
    assert per_source["b"] / 9 > 5 * per_source["a"] / 900


@pytest.mark.parametrize("size", [32, 48, 64])
def test_augmentation_keeps_type_and_size(size):
    change = augmentation(size)
    for seed in range(20):
        torch.manual_seed(seed)
        image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
        changed = change(image)
        assert changed.dtype == torch.uint8 and changed.shape == (3, size, size)


def test_rescale_never_cuts_away_most_of_the_image():
    torch.manual_seed(0)
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    image[:, 24:40, 24:40] = 255
    for size in (32, 64):
        views = [rescale(image, size=size) for _ in range(100)]
        assert all(bool((view > 200).any()) for view in views)


def test_white_balance_moves_red_and_blue_alone():
    torch.manual_seed(0)
    image = torch.full((3, 8, 8), 120, dtype=torch.uint8)
    views = torch.stack([white_balance(image, 0.16) for _ in range(50)])
    assert (views[:, 1] == 120).all()
    assert 100 <= int(views.min()) < 115 and 125 < int(views.max()) <= 140


def test_haze_takes_contrast_but_leaves_the_crack():
    torch.manual_seed(0)
    image = torch.full((3, 16, 16), 120, dtype=torch.uint8)
    image[:, 8] = 20
    for _ in range(50):
        hazy = haze(image).int()
        assert hazy.min() >= 20 and hazy.max() <= 230
        assert ((hazy[:, 0] - hazy[:, 8]) >= 49).all(), "half of 100 grey levels, rounded"


def test_hard_example_is_labelled_by_what_it_shows():
    bare = np.full((64, 64, 3), 140, dtype=np.uint8)
    labels: Counter[int] = Counter()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        pixels, label = hard_example(bare, rng)
        assert pixels.shape == bare.shape and pixels.dtype == np.uint8
        labels[label] += 1
    assert 25 <= labels[1] <= 48  # three of five, by 60 draws
    assert (bare == 140).all()


def held_out(images, batch_size=7, workers=0) -> HeldOut:
    return HeldOut(images, SPEC, batch_size=batch_size, workers=workers)


def test_held_out_predicts_each_image_at_its_place(walls):
    images = find_labelled(walls)
    seen: dict[int, NDArray[np.uint8]] = {}
    for places, pixels_NHWC in held_out(images).predict(lambda pixels_NHWC: pixels_NHWC):
        seen |= dict(zip(places, pixels_NHWC, strict=True))
    for place, pixels_HWC in seen.items():
        expected = decode(ImageRef.of(images[place].path), SPEC)
        assert isinstance(expected, Decoded) and np.array_equal(pixels_HWC, expected.pixels_HWC)
    broken = [k for k, image in enumerate(images) if image.path.endswith("broken.jpg")]
    assert sorted([*seen, *broken]) == list(range(len(images)))


def test_held_out_names_broken_images_and_decodes_once(walls, tmp_path):
    shutil.copytree(walls, tmp_path / "walls")
    found = held_out(find_labelled(tmp_path / "walls"), batch_size=5)
    first = list(found.predict(np.sum))
    assert len(found.broken) == 1 and next(iter(found.broken)).endswith("broken.jpg")
    shutil.rmtree(tmp_path / "walls")
    assert list(found.predict(np.sum)) == first


def test_held_out_too_large_for_memory_decodes_again(walls, monkeypatch):
    monkeypatch.setattr("inspector.training.data._MOST_KEPT", 1)
    found = held_out(find_labelled(walls))
    assert list(found.predict(np.sum)) == list(found.predict(np.sum))
    assert found._kept is None


def test_augmented_sample_depends_on_its_place_alone(walls):
    images = find_labelled(walls)
    plan = epoch_plan(images, len(images), seed=0, epoch=0)
    dataset = AugmentedPixels(images, SPEC, plan, train_size=48, synthetic=0.5, seed=(0, 0))
    forwards = [dataset[k] for k in range(len(plan))]
    torch.manual_seed(99)
    for k in reversed(range(len(plan))):
        again, first = dataset[k], forwards[k]
        if isinstance(first, str):
            assert again == first
            continue
        assert np.array_equal(again[0], first[0]) and again[1:] == first[1:]


def test_augmented_samples_label_synthetic_cracks_as_cracks(walls):
    images = [image for image in find_labelled(walls) if not image.path.endswith("broken.jpg")]
    clear = [k for k, image in enumerate(images) if not image.is_crack]
    plan = np.array(clear * 10, dtype=np.int64)
    dataset = AugmentedPixels(images, SPEC, plan, train_size=64, synthetic=1.0, seed=(0, 0))
    labels = [sample[1] for k in range(len(plan)) if not isinstance(sample := dataset[k], str)]
    assert 0.45 < np.mean(labels) < 0.75  # 0.6 by construction
