"""Seeded synthetic photos of concrete, with and without cracks.

All randomness comes from the `numpy.random.Generator` that the caller passes in: the same seed
and the same numpy give the same bytes. Needs numpy only.
"""

from inspector.synthesis.crack import CrackStyle, add_crack, random_crack_style
from inspector.synthesis.distractor import add_distractor
from inspector.synthesis.front import occlude
from inspector.synthesis.kind import HARD_NEGATIVES, Kind
from inspector.synthesis.scene import Scene, make_scene
from inspector.synthesis.surface import SurfaceStyle, random_surface_style

__all__ = [
    "HARD_NEGATIVES",
    "CrackStyle",
    "Kind",
    "Scene",
    "SurfaceStyle",
    "add_crack",
    "add_distractor",
    "make_scene",
    "occlude",
    "random_crack_style",
    "random_surface_style",
]
