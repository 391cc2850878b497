"""What a synthetic scene shows."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The subject of a scene: bare concrete, a crack, or something easily mistaken for one."""

    CLEAN = "clean"
    CRACK = "crack"
    JOINT = "joint"
    STAIN = "stain"
    SHADOW = "shadow"
    HOLES = "holes"
    SCRATCH = "scratch"
    RUST = "rust"
    CABLE = "cable"
    MASONRY = "masonry"
    FORMWORK = "formwork"
    PLANT = "plant"


HARD_NEGATIVES: tuple[Kind, ...] = tuple(
    kind for kind in Kind if kind not in (Kind.CLEAN, Kind.CRACK)
)
"""Everything a crack detector may mistake for a crack, in a fixed order."""
