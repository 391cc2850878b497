"""Labelled images with what a model said about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from inspector.labelled.folder import LabelledImage
    from inspector.types import FailureCode


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A labelled image that could not be decoded; it is in no figure."""

    image: LabelledImage
    code: FailureCode


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedImages:
    """N labelled images and the model's answers, row by row.

    `p_crack_N` float32 (N,); `verdict_N` and `reason_N` str (N,), as a scan would say;
    `cam_NHW` float32 (N, h, w), activation maps as in `Scores`; `ood_N` float32 (N,), how
    foreign an image looks, None where the model cannot tell; `width_px_N` float64 (N,), the
    crack's width in pixels, NaN where nobody measured it.
    """

    images: tuple[LabelledImage, ...]
    p_crack_N: NDArray[np.float32]
    verdict_N: NDArray[np.str_]
    reason_N: NDArray[np.str_]
    cam_NHW: NDArray[np.float32]
    ood_N: NDArray[np.float32] | None = None
    width_px_N: NDArray[np.float64] | None = None
    unjudged: tuple[Unjudged, ...] = ()
    provider: str = ""
    """What the engine says it ran on."""

    @property
    def is_crack_N(self) -> NDArray[np.bool_]:
        """The truth (N,)."""
        return np.array([image.is_crack for image in self.images], dtype=bool)

    @property
    def source_N(self) -> NDArray[np.str_]:
        """The source's name (N,)."""
        return np.array([image.source for image in self.images], dtype=str)

    @property
    def group_N(self) -> NDArray[np.str_]:
        """The group's name (N,)."""
        return np.array([image.group for image in self.images], dtype=str)

    def only(self, wanted_N: NDArray[np.bool_]) -> JudgedImages:
        """The images for which `wanted_N` holds; those that could not be judged stay."""
        return replace(
            self,
            images=tuple(self.images[k] for k in np.flatnonzero(wanted_N)),
            p_crack_N=self.p_crack_N[wanted_N],
            verdict_N=self.verdict_N[wanted_N],
            reason_N=self.reason_N[wanted_N],
            cam_NHW=self.cam_NHW[wanted_N],
            ood_N=None if self.ood_N is None else self.ood_N[wanted_N],
            width_px_N=None if self.width_px_N is None else self.width_px_N[wanted_N],
        )

    def by_source(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """Each source's name and where its images are, sorted by name."""
        source_N = self.source_N
        return [(str(name), source_N == name) for name in np.unique(source_N)]

    def looked_up(self, value_of: Mapping[str, float]) -> NDArray[np.float64]:
        """What is said about each image's path (N,)."""
        return np.array([value_of[image.path] for image in self.images], dtype=np.float64)

    def without(self, paths: frozenset[str] | Sequence[str]) -> JudgedImages:
        """All but the images at `paths`."""
        left_out = frozenset(paths)
        return self.only(np.array([image.path not in left_out for image in self.images], bool))
