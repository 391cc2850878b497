"""What the scale of a photo lets it show: millimetres per pixel, and the thinnest crack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from inspector.core.text import quantity
from inspector.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

LEAST_MM, MOST_MM = 1e-3, 1e4
"""Bounds of a pixel's and a crack's millimetres; beyond them lies a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What is said about the scale of all photos of a scan. It decides verdicts, so it belongs to
    the table's identity.

    Raises UsageError for a number that no photo of a structure can have.
    """

    mm_per_px: float | None = None
    """Of every photo, at its full resolution; None: what each photo says itself."""
    min_crack_mm: float | None = None
    """Width of the cracks that must be seen: a photo that cannot show them is never clear."""

    def __post_init__(self) -> None:
        for option, value in (("mm-per-px", self.mm_per_px), ("min-crack-mm", self.min_crack_mm)):
            if value is not None and not LEAST_MM <= value <= MOST_MM:
                raise UsageError(
                    f"--{option} {value} is not between {LEAST_MM:g} and {MOST_MM:,.0f} millimetres"
                )

    @classmethod
    def of(cls, identity: Mapping[str, str]) -> Self:
        """Read it from a table's identity, or the facts of a part; unknown where these do not
        say. Raises ValueError, UsageError."""
        values = {name: identity.get(name, repr(None)) for name in ("mm_per_px", "min_crack_mm")}
        return cls(**{n: None if text == repr(None) else float(text) for n, text in values.items()})

    @property
    def identity(self) -> dict[str, str]:
        """Its share of a table's identity."""
        return {"mm_per_px": repr(self.mm_per_px), "min_crack_mm": repr(self.min_crack_mm)}

    def hides_N(self, visible_mm_N: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Whether each photo cannot show the cracks asked for (bool, N), by the thinnest crack that
        it shows (mm; NaN where its scale is not known, which promises nothing). In float32, the
        precision of the table."""
        if self.min_crack_mm is None:
            return np.zeros(visible_mm_N.shape, np.bool_)
        hidden_N: NDArray[np.bool_] = ~(
            visible_mm_N.astype(np.float32) <= np.float32(self.min_crack_mm)
        )
        return hidden_N


NOTHING_ASKED = Scale()


def cannot_show(coarse: int, unknown: int, photos: int, min_crack_mm: float) -> str:
    """Say how many of `photos` cannot show cracks of a width: `coarse` by their scale, `unknown`
    for want of one."""
    said = f"{coarse + unknown:,} of {quantity(photos, 'photo')} cannot show {min_crack_mm:g} mm"
    if unknown:
        said += f" ({unknown:,} of them of unknown scale: --mm-per-px says it)"
    return said
