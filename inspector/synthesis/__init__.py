"""Seeded synthetic photos: concrete with and without cracks, and out-of-distribution images.

All randomness comes from the `numpy.random.Generator` (or the seed) that the caller passes in: the
same seed and the same NumPy give the same bytes.
"""

from inspector.synthesis.crack import CrackStyle, add_crack, random_crack_style
from inspector.synthesis.distractor import HARD_NEGATIVES, Kind, add_distractor
from inspector.synthesis.outliers import outlier_images
from inspector.synthesis.scene import Scene, SurfaceStyle, make_scene, random_surface_style

__all__ = [
    "HARD_NEGATIVES",
    "CrackStyle",
    "Kind",
    "Scene",
    "SurfaceStyle",
    "add_crack",
    "add_distractor",
    "make_scene",
    "outlier_images",
    "random_crack_style",
    "random_surface_style",
]
