"""The synthetic image generator: what it promises about bytes, masks and errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.synthesis import (
    HARD_NEGATIVES,
    CrackStyle,
    Kind,
    SurfaceStyle,
    add_crack,
    add_distractor,
    make_scene,
    random_crack_style,
    random_surface_style,
)
from inspector.synthesis.noise import Mask, Pixels, octave_noise, streak_noise

SEEDS = st.integers(0, 2**32 - 1)
SIDES_PX = st.integers(33, 300)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def wall(seed: int = 1, height: int = 120, width: int = 150) -> Pixels:
    return make_scene(rng(seed), height, width, Kind.CLEAN).pixels


def ring(mask: Mask, radius_px: int = 8) -> Mask:
    """The pixels within `radius_px` of the mask (a square), without a safety margin of 3 px."""
    return grown(mask, radius_px) & ~grown(mask, 3)


def grown(mask: Mask, radius_px: int) -> Mask:
    height, width = mask.shape
    padded = np.pad(mask, radius_px)
    out = np.zeros_like(mask)
    for dy in range(2 * radius_px + 1):
        for dx in range(2 * radius_px + 1):
            out |= padded[dy : dy + height, dx : dx + width]
    return out


@pytest.mark.parametrize("kind", list(Kind))
def test_same_seed_gives_same_bytes(kind: Kind) -> None:
    first, second = (make_scene(rng(5), 97, 131, kind) for _ in range(2))
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert first.mask.tobytes() == second.mask.tobytes()


@pytest.mark.parametrize("kind", list(Kind))
def test_different_seeds_differ(kind: Kind) -> None:
    assert not np.array_equal(
        make_scene(rng(1), 64, 64, kind).pixels, make_scene(rng(2), 64, 64, kind).pixels
    )


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, height=SIDES_PX, width=SIDES_PX, kind=st.sampled_from(list(Kind)))
def test_scene_of_any_size(seed: int, height: int, width: int, kind: Kind) -> None:
    scene = make_scene(rng(seed), height, width, kind)
    assert scene.pixels.shape == (height, width, 3)
    assert scene.pixels.dtype == np.uint8
    assert scene.mask.shape == (height, width)
    assert scene.mask.dtype == np.bool_
    assert scene.kind is kind
    assert scene.mask.any() == (kind is Kind.CRACK)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, height=SIDES_PX, width=SIDES_PX)
def test_cracks_darken_their_masks(seed: int, height: int, width: int) -> None:
    """Several together: a single faint one may drown in the noise, once in some thousand."""
    generator = rng(seed)
    shares = []
    for _ in range(8):
        before = make_scene(generator, height, width, Kind.CLEAN).pixels
        after, mask = add_crack(before, generator, random_crack_style(generator))
        shares.append(after[mask].mean() / before[mask].mean())
    assert np.mean(shares) < 0.95


@pytest.mark.parametrize("seed", range(12))
def test_crack_is_darker_than_its_surroundings(seed: int) -> None:
    scene = make_scene(rng(seed), 224, 224, Kind.CRACK)
    assert scene.pixels[scene.mask].mean() < scene.pixels[ring(scene.mask)].mean()


@pytest.mark.parametrize("width_px", [0.3, 1.0, 4.0, 12.0])
def test_mask_is_about_as_wide_as_the_crack(width_px: float) -> None:
    style = CrackStyle(width_px=width_px, contrast=0.8, direction_deg=0)
    masks = [add_crack(wall(3, 200, 200), rng(seed), style)[1] for seed in range(8)]
    per_column = np.mean([mask.sum() / 200 for mask in masks])
    assert 0.6 * max(width_px, 1.0) < per_column < 1.6 * max(width_px, 1.0)


@pytest.mark.parametrize(("direction_deg", "taller"), [(0.0, False), (90.0, True)])
def test_direction(direction_deg: float, taller: bool) -> None:
    style = CrackStyle(width_px=3, contrast=0.8, direction_deg=direction_deg, roughness=0.05)
    rows, columns = np.nonzero(add_crack(wall(4, 160, 160), rng(7), style)[1])
    assert (np.ptp(rows) > np.ptp(columns)) == taller


def test_45_degrees_rises_to_the_right() -> None:
    style = CrackStyle(width_px=3, contrast=0.8, direction_deg=45, roughness=0.05)
    rows, columns = np.nonzero(add_crack(wall(4, 160, 160), rng(7), style)[1])
    assert np.corrcoef(rows, columns)[0, 1] < -0.8


def test_through_crack_reaches_both_borders_and_a_short_one_does_not() -> None:
    through = CrackStyle(width_px=3, contrast=0.8, direction_deg=0, roughness=0.05)
    short = dataclasses.replace(through, through=False)
    mask = add_crack(wall(2, 160, 160), rng(3), through)[1]
    assert mask[:, 0].any() and mask[:, -1].any()
    mask = add_crack(wall(2, 160, 160), rng(3), short)[1]
    assert not mask[:, 0].any() and not mask[:, -1].any()


def test_gaps_close_part_of_the_crack() -> None:
    whole = CrackStyle(width_px=4, contrast=0.8)
    torn = dataclasses.replace(whole, gaps=0.4)
    areas = [
        sum(int(add_crack(wall(), rng(seed), style)[1].sum()) for seed in range(6))
        for style in (whole, torn)
    ]
    assert 0 < areas[1] < 0.9 * areas[0]


@settings(max_examples=40, deadline=None)
@given(
    seed=SEEDS, height=SIDES_PX, width=SIDES_PX, kind=st.sampled_from([Kind.CRACK, *HARD_NEGATIVES])
)
def test_compositing_keeps_the_input(seed: int, height: int, width: int, kind: Kind) -> None:
    generator = rng(seed)
    before = np.full((height, width, 3), 140, dtype=np.uint8)
    if kind is Kind.CRACK:
        after, _ = add_crack(before, generator, random_crack_style(generator))
    else:
        after = add_distractor(before, generator, kind)
    assert after.shape == before.shape
    assert after.dtype == np.uint8
    assert (before == 140).all()
    assert not np.shares_memory(before, after)


@pytest.mark.parametrize("kind", HARD_NEGATIVES)
def test_distractor_changes_the_wall(kind: Kind) -> None:
    changed = [
        np.abs(add_distractor(wall(), rng(seed), kind).astype(int) - wall()).max()
        for seed in range(5)
    ]
    assert max(changed) >= 20


def test_scratch_is_light_and_rust_is_orange() -> None:
    before = np.full((160, 160, 3), 120, dtype=np.uint8)
    assert (add_distractor(before, rng(1), Kind.SCRATCH) >= before).all()
    red, _, blue = add_distractor(before, rng(1), Kind.RUST).astype(float).mean(axis=(0, 1))
    assert red > blue + 0.5


def test_read_only_and_strided_pixels_are_accepted() -> None:
    pixels = wall(1, 120, 160)[:, ::2]
    pixels.flags.writeable = False
    after, mask = add_crack(pixels, rng(), CrackStyle(width_px=3, contrast=0.8))
    assert after.shape == pixels.shape
    assert mask.any()
    assert add_distractor(pixels, rng(), Kind.STAIN).shape == pixels.shape


@pytest.mark.parametrize("brightness", [70.0, 200.0])
def test_surface_keeps_its_brightness(brightness: float) -> None:
    style = SurfaceStyle(brightness=brightness, gradient=0.2)
    pixels = make_scene(rng(3), 200, 200, Kind.CLEAN, surface=style).pixels
    assert pixels.mean() == pytest.approx(brightness, abs=0.12 * brightness)


@pytest.mark.parametrize("seed", range(20))
def test_random_styles_are_in_range(seed: int) -> None:
    crack, surface = random_crack_style(rng(seed)), random_surface_style(rng(seed))
    assert 0.7 <= crack.width_px <= 8.0
    assert crack.width_px * crack.contrast >= 0.45
    assert 60.0 <= surface.brightness <= 210.0


@pytest.mark.parametrize(
    "change",
    [
        {"width_px": 0.0},
        {"width_px": -1.0},
        {"width_px": float("nan")},
        {"width_px": 100.0},
        {"contrast": 0.0},
        {"contrast": 1.5},
        {"direction_deg": 180.0},
        {"direction_deg": -1.0},
        {"branches": -1},
        {"branches": 99},
        {"blur_px": -0.1},
        {"roughness": 0.0},
        {"gaps": 0.9},
        {"rim": 2.0},
    ],
)
def test_invalid_crack_style(change: dict[str, float]) -> None:
    style = CrackStyle(width_px=2.0, contrast=0.5)
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(style, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"brightness": 0.0}, {"grain": -0.1}, {"blur": 1.5}])
def test_invalid_surface_style(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"brightness|negative"):
        SurfaceStyle(**{"brightness": 100.0, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(0, 64), (64, 15), (-3, 64), (64, 20_000)])
def test_invalid_size(height: int, width: int) -> None:
    with pytest.raises(ValueError, match="each side must be"):
        make_scene(rng(), height, width, Kind.CLEAN)


def test_crack_style_needs_a_crack_scene() -> None:
    with pytest.raises(ValueError, match="takes no crack style"):
        make_scene(rng(), 64, 64, Kind.CLEAN, crack=CrackStyle(width_px=2, contrast=0.5))


@pytest.mark.parametrize("kind", [Kind.CLEAN, Kind.CRACK])
def test_distractor_must_be_a_hard_negative(kind: Kind) -> None:
    with pytest.raises(ValueError, match="not a hard negative"):
        add_distractor(wall(), rng(), kind)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((64, 64), dtype=np.uint8),
        np.zeros((64, 64, 4), dtype=np.uint8),
        np.zeros((64, 64, 3), dtype=np.float32),
        np.zeros((8, 64, 3), dtype=np.uint8),
    ],
)
def test_invalid_pixels(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match=r"uint8 pixels|each side"):
        add_crack(pixels, rng(), CrackStyle(width_px=2, contrast=0.5))
    with pytest.raises(ValueError, match=r"uint8 pixels|each side"):
        add_distractor(pixels, rng(), Kind.JOINT)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), octaves=st.integers(1, 9))
def test_noise_of_any_size(height: int, width: int, octaves: int) -> None:
    noise = octave_noise(rng(), height, width, [1.0] * octaves)
    assert noise.shape == (height, width)
    assert np.isfinite(noise).all()
    for vertical in (False, True):
        streaks = streak_noise(
            rng(), height, width, [1.0] * octaves, stretch_octaves=3, vertical=vertical
        )
        assert streaks.shape == (height, width)
