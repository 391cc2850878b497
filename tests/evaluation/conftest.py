"""Walls with known answers, and photos on disk."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.known import predictions_of


@pytest.fixture(scope="session")
def sample():
    """60 walls of up to 9 photos that look alike, two sources, scores with ties."""
    rng = np.random.default_rng(3)
    wall_N = rng.integers(0, 60, 300)
    is_crack_N = rng.random(300) < 0.6
    odds_N = 2.5 * is_crack_N - 1.2 + rng.normal(0, 1, 60)[wall_N] + rng.normal(0, 0.7, 300)
    p_N = np.round(1 / (1 + np.exp(-odds_N)), 2)
    sources = np.where(wall_N < 20, "east", "west")
    return predictions_of(p_N, is_crack_N, wall_N, sources.tolist())


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> list[str]:
    """Eight files, some with names that mean harm."""
    folder = tmp_path_factory.mktemp("photos")
    names = ["<img src=x onerror=document.title='owned'>.jpg", "a&amp;b.jpg", "$x_1$.jpg",
             "\x1b[31mred.jpg", "e.jpg", "f.jpg", "g.jpg", "h.jpg"]  # fmt: skip
    rng = np.random.default_rng(1)
    for name in names:
        pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name, "JPEG")
    return [str(folder / name) for name in names]
