"""The one way from photo to model pixels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inspector.core.untrusted import checked
from inspector.errors import UsageError
from inspector.model.preprocess import PreprocessSpec, fit, to_pixels

SPEC = PreprocessSpec()


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("sides", [(224, 224), (227, 227), (228, 228), (225, 228)])
def test_a_tile_close_to_the_size_keeps_its_pixels(sides):
    image = noise(*sides)
    left, top = (sides[0] - 224) // 2, (sides[1] - 224) // 2
    expected = to_pixels(image)[top : top + 224, left : left + 224]
    assert np.array_equal(to_pixels(fit(image, SPEC)), expected)


@pytest.mark.parametrize(
    "sides", [(229, 229), (227, 229), (223, 223), (224, 223), (4000, 3000), (64, 900), (1, 1)]
)
def test_any_other_photo_is_seen_whole(sides):
    image = noise(*sides)
    expected = image.resize((224, 224), Image.Resampling.BILINEAR)
    assert np.array_equal(to_pixels(fit(image, SPEC)), to_pixels(expected))


def test_nothing_on_the_edge_is_lost():
    """A dark line along each edge of a big photo stays visible."""
    photo = np.full((1000, 1500, 3), 200, dtype=np.uint8)
    photo[:10] = photo[-10:] = 0
    photo[:, :10] = photo[:, -10:] = 0
    seen = to_pixels(fit(Image.fromarray(photo), SPEC))[..., 0]
    for edge in (seen[0], seen[-1], seen[:, 0], seen[:, -1]):
        assert edge.max() < 100


@settings(max_examples=50, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.sampled_from([32, 224]),
    darker=st.integers(0, 200),
)
def test_shape_and_independence_of_the_pixel_values(width, height, size, darker):
    """An even photo stays exactly as bright as it is: nothing is stretched or normalised."""
    image = Image.new("RGB", (width, height), (darker, darker + 10, darker + 55))
    pixels = to_pixels(fit(image, PreprocessSpec(size=size)))
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert (pixels == (darker, darker + 10, darker + 55)).all()


def test_the_pixels_are_the_callers_own():
    image = noise(224, 224)
    to_pixels(image)[:] = 0
    assert np.asarray(image).any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 31),
        ("size", 4097),
        ("max_border", 0.021),
        ("max_border", -0.01),
        ("decode_margin", 0.99),
        ("std", (0.2, 0.0, 0.2)),
    ],
)
def test_a_spec_out_of_range_is_refused(field, value):
    with pytest.raises(UsageError):
        PreprocessSpec(**{field: value})


def test_json_round_trip():
    values: dict[str, Any] = {"size": 320, "max_border": 0.01, "mean": (0.1, 0.2, 0.3)}
    spec = PreprocessSpec(**values)
    assert checked(PreprocessSpec, json.loads(json.dumps(spec.to_json()))) == spec


def test_decode_side_is_a_whole_number_of_pixels():
    assert PreprocessSpec(size=225, decode_margin=1.5).decode_side == 338
