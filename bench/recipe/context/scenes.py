"""Scenes of `SIDE` px with a truth map: what training crops its views from.

Five kinds. WALL: a crack-free surface with none to three distractors and none to two cracks drawn
on it. BOARDS: the same among many straight joints, with hairlines. STONES: bricks or setts,
sometimes with a crack. MOSAIC: shrunk tiles side by side. DRONE: a drone crop with its own cracks,
sometimes with something drawn on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bench.recipe.context.labels import CLEAR, CRACK, UNCLEAR
from bench.recipe.context.mosaic import mosaic
from bench.recipe.context.things import brink, gauge, plant, spall, writing
from bench.studies.photos import hard
from bench.studies.photos.sources import LEAST_SEEN, darkened
from inspector.synthesis import CrackStyle, Kind, add_crack, add_distractor, random_crack_style

if TYPE_CHECKING:
    from bench.recipe.context.material import Material, Pixels

Distractor = Kind | Callable[["Pixels", np.random.Generator], "Pixels"]
"""A kind of the generator, or lines of a structure, drawn on a copy."""
SIDE = 448
KINDS = ("wall", "boards", "mosaic", "drone", "stones")
_ODDS = (0.36, 0.22, 0.18, 0.10, 0.14)
_DISTRACTORS: dict[Distractor, int] = {
    Kind.JOINT: 3, Kind.STAIN: 3, Kind.SHADOW: 3, Kind.HOLES: 2, Kind.SCRATCH: 2, Kind.RUST: 2,
    hard.boards: 2, hard.cable: 2, hard.slabs: 1,
    writing: 3, gauge: 1, spall: 3, plant: 2, brink: 2,
}  # fmt: skip
"""What stands on walls, and how often."""
_JOINTS: tuple[Distractor, ...] = (hard.boards, hard.boards, Kind.JOINT, hard.slabs)
_DRAWN, _JOINTED, _CRACKED = 0.8, 0.25, 0.3
"""Shares of the stones that are drawn, have joints of slabs beside, and a crack."""
_LEAST_DEPTH = 1.0
"""How much darker than its surroundings, in standard deviations of their fine texture, a drawn
crack must be on average: fainter ones are UNCLEAR, nobody can be asked to see them."""


def make_with_truth(material: Material, rng: np.random.Generator) -> Pixels:
    """A scene, uint8 (SIDE, SIDE, 4): colours, and the truth map last. Equal generators make equal
    scenes."""
    kind = draw_kind(rng)
    if kind == KINDS.index("mosaic"):
        pixels, truth = mosaic(material, rng, SIDE)
    else:
        make = (_wall, _boards, None, _on_drone, stones)[kind]
        pixels, truth = make(material, rng)  # type: ignore[misc]
    if rng.random() < 0.3:  # what was drawn is as soft as the photo that it was drawn on
        blur = float(rng.uniform(0.35, 0.9))
        soft = ndimage.gaussian_filter(pixels.astype(np.float32), (blur, blur, 0))
        pixels = np.rint(soft + rng.normal(0, 1.0, soft.shape)).clip(0, 255).astype(np.uint8)
    return np.dstack([pixels, truth])


def draw_kind(rng: np.random.Generator) -> int:
    """A place in KINDS: the first that is drawn for a scene."""
    return int(rng.choice(len(KINDS), p=_ODDS))


def _wall(material: Material, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    pixels, name = material.surface(rng, SIDE)
    kinds = list(_DISTRACTORS)
    odds = np.array(list(_DISTRACTORS.values()), dtype=np.float64)
    for _ in range(int(rng.choice(4, p=(0.3, 0.35, 0.25, 0.1)))):
        pixels = _distracted(pixels, rng, kinds[int(rng.choice(len(kinds), p=odds / odds.sum()))])
    truth = np.full((SIDE, SIDE), CLEAR, np.uint8)
    for _ in range(int(rng.choice(3, p=(0.35, 0.45, 0.2)))):
        paved = "asphalt" in name or rng.random() < 0.05
        pixels = draw_crack(pixels, truth, rng, _paved(rng) if paved else _style(rng, 0.5))
    return pixels, truth


def _boards(material: Material, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    pixels, _ = material.surface(rng, SIDE)
    for _ in range(int(rng.integers(1, 3))):
        pixels = _distracted(pixels, rng, _JOINTS[int(rng.integers(len(_JOINTS)))])
    if rng.random() < 0.3:
        other = (Kind.STAIN, Kind.SHADOW, Kind.HOLES)[int(rng.integers(3))]
        pixels = _distracted(pixels, rng, other)
    truth = np.full((SIDE, SIDE), CLEAR, np.uint8)
    for _ in range(int(rng.choice(4, p=(0.35, 0.35, 0.2, 0.1)))):
        pixels = draw_crack(pixels, truth, rng, _style(rng, 0.9))
    return pixels, truth


def stones(material: Material, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Pixels and truth map of a bond of stones, mostly drawn: what is learned last of all is that
    joints of stones, too, are no cracks."""
    pixels, _ = material.surface(rng, SIDE)
    if rng.random() < _DRAWN:
        pixels = hard.stones(pixels, rng)
    if rng.random() < _JOINTED:
        pixels = hard.slabs(pixels, rng)
    truth = np.full((SIDE, SIDE), CLEAR, np.uint8)
    if rng.random() < _CRACKED:
        pixels = draw_crack(pixels, truth, rng, random_crack_style(rng))
    return pixels, truth


def _on_drone(material: Material, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    photo = material.drone[int(rng.integers(len(material.drone)))]
    pixels, truth = photo[:, :, :3], photo[:, :, 3].copy()
    if rng.random() < 0.4:
        others: tuple[Distractor, ...] = (Kind.JOINT, Kind.SHADOW, Kind.SCRATCH, hard.boards)
        pixels = _distracted(pixels, rng, others[int(rng.integers(4))])
    if rng.random() < 0.4:
        pixels = draw_crack(pixels, truth, rng, _style(rng, 0.8))
    return pixels, truth


def _distracted(pixels: Pixels, rng: np.random.Generator, what: Distractor) -> Pixels:
    return add_distractor(pixels, rng, what) if isinstance(what, Kind) else what(pixels, rng)


def draw_crack(
    pixels: Pixels, truth: Pixels, rng: np.random.Generator, style: CrackStyle
) -> Pixels:
    """New pixels with a crack; its place is marked in `truth`, as UNCLEAR if it can hardly be seen
    on this surface."""
    changed, mask = add_crack(pixels, rng, style)
    if not mask.any():
        return changed
    darker, texture = darkened(pixels, changed, mask)
    seen = darker >= max(LEAST_SEEN, _LEAST_DEPTH * texture)
    truth[mask] = np.where(truth[mask] == CRACK, CRACK, CRACK if seen else UNCLEAR)
    return changed


def _style(rng: np.random.Generator, hairlines: float) -> CrackStyle:
    """Mostly as the generator has them; the share `hairlines` is 0.8 to 3 px wide, and one
    in ten of the others gapes."""
    if rng.random() >= hairlines:
        return _gap(rng) if rng.random() < 0.1 else random_crack_style(rng)
    width_px = float(np.exp(rng.uniform(np.log(0.8), np.log(3.0))))
    return CrackStyle(
        width_px=width_px,
        contrast=float(rng.uniform(max(0.28, 0.45 / width_px), 0.9)),
        branches=int(rng.integers(1, 4)) if rng.random() < 0.3 else 0,
        blur_px=float(rng.uniform(0.2, 1.4)),
        roughness=float(rng.uniform(0.03, 0.2)),
        gaps=float(rng.uniform(0.03, 0.2)) if rng.random() < 0.3 else 0.0,
        rim=float(rng.uniform(0.1, 0.8)) if rng.random() < 0.3 else 0.0,
        through=bool(rng.random() < 0.65),
    )


def _gap(rng: np.random.Generator) -> CrackStyle:
    """Up to a quarter of a tile across, soft, with a lit edge: seen from very near."""
    return CrackStyle(
        width_px=float(np.exp(rng.uniform(np.log(18.0), np.log(60.0)))),
        contrast=float(rng.uniform(0.6, 0.95)),
        blur_px=float(rng.uniform(0.5, 3.0)),
        roughness=float(rng.uniform(0.03, 0.2)),
        rim=float(rng.uniform(0.1, 0.8)) if rng.random() < 0.6 else 0.0,
        through=bool(rng.random() < 0.85),
    )


def _paved(rng: np.random.Generator) -> CrackStyle:
    """Asphalt's: wide, ragged, soft, branched."""
    return CrackStyle(
        width_px=float(np.exp(rng.uniform(np.log(2.0), np.log(18.0)))),
        contrast=float(rng.uniform(0.35, 0.85)),
        branches=int(rng.integers(0, 5)),
        blur_px=float(rng.uniform(0.5, 3.0)),
        roughness=float(rng.uniform(0.1, 0.3)),
        gaps=float(rng.uniform(0.03, 0.25)) if rng.random() < 0.4 else 0.0,
        rim=float(rng.uniform(0.1, 0.6)) if rng.random() < 0.3 else 0.0,
        through=bool(rng.random() < 0.75),
    )
