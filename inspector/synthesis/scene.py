"""Whole synthetic photos: a bare concrete surface and its subject."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspector.synthesis.crack import CrackStyle, add_crack, random_crack_style
from inspector.synthesis.distractor import HARD_NEGATIVES, Kind, add_distractor
from inspector.synthesis.noise import Mask, Pixels, Rng
from inspector.synthesis.surface import SurfaceStyle, make_surface, random_surface_style

_COMPANY_ODDS = 0.3
"""Share of random crack scenes that also show a hard negative, as real walls do."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A synthetic photo: `pixels` (H, W, 3) uint8 RGB, crack `mask` (H, W) bool, its `kind`."""

    pixels: Pixels
    mask: Mask
    kind: Kind


def make_scene(
    rng: Rng,
    height: int,
    width: int,
    kind: Kind,
    *,
    crack: CrackStyle | None = None,
    surface: SurfaceStyle | None = None,
) -> Scene:
    """Render a scene of `height` x `width` px; equal generators give equal bytes.

    `crack` fixes the look of a crack and keeps other features off the wall; without it the style
    is random and a hard negative may keep the crack company. `surface` fixes the bare concrete.
    Raises ValueError if `crack` is given for another kind, or if a side is not within
    MIN_SIDE_PX..MAX_SIDE_PX.
    """
    if crack is not None and kind is not Kind.CRACK:
        raise ValueError(f"a scene of kind {kind!r} takes no crack style")
    wall = surface or random_surface_style(rng)
    pixels = make_surface(rng, height, width, wall)
    mask = np.zeros((height, width), dtype=np.bool_)
    if kind in HARD_NEGATIVES:
        pixels = add_distractor(pixels, rng, kind)
    elif kind is Kind.CRACK:
        if crack is None and rng.random() < _COMPANY_ODDS:
            company = HARD_NEGATIVES[int(rng.integers(len(HARD_NEGATIVES)))]
            pixels = add_distractor(pixels, rng, company)
        pixels, mask = add_crack(pixels, rng, crack or random_crack_style(rng))
    return Scene(pixels, mask, kind)
