"""Out-of-distribution score: features, fit, values and threshold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file, save_file

from inspector.errors import DataError
from inspector.model.ood import OodHead, fit_ood_head, pool_for_ood
from inspector.synthesis import outlier_images
from inspector.training.ood_fit import choose_ood_threshold, joined

CHANNELS = (8, 12, 16, 20)


KERNELS = [
    torch.from_numpy(
        np.random.default_rng(wide).normal(0, 1 / (3 * deep**0.5), (wide, deep, 3, 3))
    ).float()
    for deep, wide in pairwise((3, *CHANNELS))
]


def stages_of(images_NHWC: torch.Tensor) -> list[torch.Tensor]:
    """A small fixed network of four stages on uint8 pixels."""
    x, stages = images_NHWC.permute(0, 3, 1, 2).float() / 255, []
    for kernel in KERNELS:
        x = torch.relu(torch.nn.functional.conv2d(x, kernel, stride=2, padding=1))
        stages.append(x)
    return stages


def walls(count: int, seed: int) -> torch.Tensor:
    """Grey noise around some brightness, uint8 (count, 48, 48, 3)."""
    rng = np.random.default_rng(seed)
    light = rng.uniform(110, 170, (count, 1, 1, 1))
    pixels = light + rng.normal(0, 12, (count, 48, 48, 1)) + rng.normal(0, 2, (count, 48, 48, 3))
    return torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))


def cats(count: int, seed: int) -> torch.Tensor:
    """Large blobs of strong colour."""
    rng = np.random.default_rng(seed)
    blobs = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return torch.from_numpy(blobs.repeat(12, axis=1).repeat(12, axis=2))


@pytest.fixture(scope="module")
def head() -> OodHead:
    return fitted(pool_for_ood(stages_of(walls(400, 1))))


def fitted(training: torch.Tensor) -> OodHead:
    made = torch.from_numpy(np.stack(list(outlier_images(70, 48))))
    return fit_ood_head(training, pool_for_ood(stages_of(made)))


def test_score_is_about_one_for_walls_and_more_for_other_images(head):
    own, other = head(stages_of(walls(200, 2))), head(stages_of(cats(50, 3)))
    assert own.dtype == torch.float32 and own.shape == (200,)
    assert 0.7 < float(own.median()) < 1.4
    assert float(other.min()) > float(own.max())


def test_score_does_not_depend_on_the_batch(head):
    images = torch.cat([walls(5, 4), cats(5, 5)])
    together = head(stages_of(images))
    alone = torch.cat([head(stages_of(image[None])) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_score_is_finite_for_uniform_images(head):
    flat = torch.stack([torch.full((48, 48, 3), v, dtype=torch.uint8) for v in (0, 128, 255)])
    assert torch.isfinite(head(stages_of(flat))).all()


def test_score_of_half_precision_features_is_single_precision(head):
    stages = stages_of(cats(8, 6))
    halved = head([stage.half() for stage in stages])
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, head(stages), rtol=0.02, atol=0.02)


def test_head_restored_from_half_precision_scores_the_same(head, tmp_path):
    state = {f"domain.{k}": v for k, v in head.state_dict().items()}
    half = {k: v.half().contiguous() if v.dim() > 1 else v for k, v in state.items()}
    save_file(half, tmp_path / "weights.safetensors")
    loaded = OodHead.like(load_file(tmp_path / "weights.safetensors"), "domain.")
    images = torch.cat([walls(3, 7), cats(3, 8)])
    torch.testing.assert_close(loaded(stages_of(images)), head(stages_of(images)), rtol=0, atol=0)


def test_score_ignores_a_channel_that_never_varies():
    features = pool_for_ood(stages_of(walls(300, 1)))
    features[:, ::5] = 0
    silent = fitted(features)
    fresh = pool_for_ood(stages_of(walls(50, 9)))
    quiet = silent.score(fresh.index_fill(1, torch.arange(0, fresh.shape[1], 5), 0))
    noise = silent.score(fresh.index_fill(1, torch.arange(0, fresh.shape[1], 5), 1e-6))
    torch.testing.assert_close(quiet, noise, rtol=0, atol=0.05)


def test_fit_ood_head_is_deterministic():
    features = pool_for_ood(stages_of(walls(200, 1)))
    first, second = fitted(features), fitted(features.clone())
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_fit_ood_head_refuses_too_few_images():
    with pytest.raises(DataError, match="too few"):
        fitted(torch.randn(10, 36))


def test_pool_for_ood_is_the_deviation_over_sixteen_cells():
    stage, unread = torch.randn(3, 4, 8, 12), torch.full((3, 1, 1, 1), torch.nan)
    pooled = pool_for_ood([stage, stage[:, :2], stage[:, :1], unread])
    assert pooled.shape == (3, 7)
    cells = stage.reshape(3, 4, 4, 2, 4, 3).mean((3, 5))
    torch.testing.assert_close(pooled[:, :4], cells.std((2, 3), correction=0))


@pytest.mark.parametrize("side", [2, 3, 5, 6, 7, 14])
def test_pool_for_ood_reads_every_row_of_maps_of_any_side(side):
    for place in range(side):
        stage = torch.zeros(1, 1, side, side)
        stage[0, 0, place, 0] = 1
        assert float(pool_for_ood([stage])[0, 0]) > 0, place


@pytest.mark.parametrize("size", [48, 224])
def test_outlier_images_of_every_kind_are_images(size):
    pictures = np.stack(list(outlier_images(16, size, seed=2)))
    assert pictures.shape == (16, size, size, 3) and pictures.dtype == np.uint8
    assert len({picture.tobytes() for picture in pictures}) == 16


def test_outlier_images_are_equal_for_equal_seeds():
    first, again = (np.stack(list(outlier_images(14, 64, seed=3))) for _ in range(2))
    assert first.shape == (14, 64, 64, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    other = np.stack(list(outlier_images(14, 64, seed=4)))
    assert all((a != b).any() for a, b in zip(first, other, strict=True))


def test_features_of_batches_are_joined_and_need_an_image():
    batches = [pool_for_ood(stages_of(walls(30, 1))), pool_for_ood(stages_of(walls(20, 2)))]
    assert len(joined(batches)) == 50
    with pytest.raises(DataError, match="no readable"):
        joined([])


@given(
    hnp.arrays(np.float32, st.integers(1, 400), elements=st.floats(0, 100, width=32)),
    st.sampled_from([0.01, 0.02, 0.1]),
)
def test_choose_ood_threshold_is_reached_by_the_share_at_most(scores, share):
    threshold = choose_ood_threshold(scores, ["a"] * len(scores), share)
    assert (scores >= np.float32(round(threshold, 4))).mean() <= share


def test_choose_ood_threshold_holds_in_every_large_source():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(1, 0.1, 900), rng.normal(2, 0.1, 100), [50.0]])
    sources = ["metu"] * 900 + ["bridge"] * 100 + ["one odd photo"]
    threshold = choose_ood_threshold(scores, sources)
    assert (scores[900:1000] >= threshold).sum() <= 1
    assert threshold < 3, "a single photo decided"


def test_choose_ood_threshold_refuses_missing_or_infinite_scores():
    with pytest.raises(DataError):
        choose_ood_threshold(np.array([]), [])
    with pytest.raises(DataError):
        choose_ood_threshold(np.array([1.0, np.nan]), ["a", "a"])
    with pytest.raises(ValueError, match="2 sources"):
        choose_ood_threshold(np.ones(3), ["a", "b"])
