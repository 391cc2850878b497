"""How carefully a narrow network must look at photos at their own scale: margins with which no
photo that shows a crack is lost, and the evidence of other photos for them.

A photo's verdict hangs on its strongest place, and of two networks one often sees faint evidence
where the other sees none. So what counts is not whether both say the same of every photo, but
whether photos with a crack that the model leaves to a person, or finds, come out clear.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.gates import SAFETY, CpuEngines, engine_version
from export.photos import native_pixels
from inspector.engines.combined import DEFERRED
from inspector.engines.contract import VARIANTS
from inspector.engines.dense import open_dense
from inspector.engines.photo import cut_tile, dense_variant
from inspector.engines.screened import ScreenedEngine, doubtful, is_nearly_clear
from inspector.model.bundle import NARROW
from inspector.model.evidence import MOST_TILES, find_candidates, judge_photo
from inspector.model.verdict import decide, log_odds
from inspector.model.windows import STRIDE, WindowMap, plan_blocks, plan_parts
from inspector.synthesis import outlier_images
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.engines.dense import DenseEngine
    from inspector.model.bundle import DenseView, ModelBundle
    from inspector.model.windows import Plan
    from inspector.types import JsonObject

    Pixels = NDArray[np.uint8]

_MARGINS = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0)
"""Log odds that are tried."""
_OOD_MARGINS = (0.0, 0.05, 0.1, 0.2)
_LEAST = 0.5, 0.05
MOST_LOST = 0.01
"""Share of the photos with a crack, more than which may not come out clear because of it."""
CRACKED, SOUND = "Positive", "Negative"
"""Folders of photos with and without a crack, below that of their source."""
FOREIGN = "foreign"
"""The source that drawn foreign pictures count as."""
_FOREIGN_SIDE, _FOREIGN_PHOTOS = 480, 8


@dataclass(frozen=True, slots=True)
class Screening:
    """The engines of both stages, and those that decide then."""

    narrow: DenseEngine
    full: DenseEngine
    exact: Backend
    dense: DenseView
    size: int
    folder: Path

    @classmethod
    @contextmanager
    def opened(
        cls, source: ModelBundle, candidate: ModelBundle, folder: Path
    ) -> Iterator[Screening]:
        """`candidate` holds the narrow variants; photos lie below `folder`."""
        assert source.dense is not None
        with ExitStack() as stack:

            def dense(bundle: ModelBundle, precision: str) -> DenseEngine:
                engine = open_dense(bundle, device="cpu", precision=precision)
                return stack.enter_context(closing(engine))

            after = dense_variant(source, source.after(NARROW) or "fp32").precision
            yield cls(
                dense(candidate, NARROW),
                dense(source, after),
                stack.enter_context(CpuEngines())(source, "fp32"),
                source.dense,
                source.preprocess.size,
                folder,
            )

    def choose(self, photos: Sequence[Path]) -> tuple[float, float]:
        """The margins, `SAFETY` times those with which as few photos are lost as may be, and of
        these the ones with which the least is judged in full."""
        tried = list(product(_MARGINS, _OOD_MARGINS))
        cost_T, lost_T, cracked = np.zeros(len(tried)), np.zeros(len(tried)), 0
        for picture in self._pictures(photos, seed=41):
            own = _Photo(self, picture.pixels)
            cracked += picture.is_crack
            for k, margins in enumerate(tried):
                merged, share = own.screened(*margins)
                cost_T[k] += share * picture.pixels.size
                lost_T[k] += picture.is_lost(own.verdict(own.whole)[0], own.verdict(merged)[0])
        allowed_T = lost_T <= max(may_be_lost(cracked), lost_T.min())
        margin, ood_margin = tried[int(np.where(allowed_T, cost_T, np.inf).argmin())]
        return max(SAFETY * margin, _LEAST[0]), max(SAFETY * ood_margin, _LEAST[1])

    def gate(self, photos: Sequence[Path], margin: float, ood_margin: float) -> JsonObject:
        """Evidence for these margins, for `trouble_with_photos`."""
        sources: list[str] = []
        verdicts: list[tuple[str, str]] = []
        cracked, lost = [], []
        pairs: list[tuple[float, float]] = []
        full, area, windows = 0.0, 0.0, 0
        engine = ScreenedEngine(self.narrow, self.full, self.dense, (margin, ood_margin))
        for picture in self._pictures(photos, seed=42):
            own = _Photo(self, picture.pixels)
            merged = engine.run(picture.pixels)
            (said, p), (true, q) = own.verdict(merged), own.verdict(own.whole)
            sources.append(picture.source)
            cracked.append(picture.is_crack)
            verdicts.append((true, said))
            lost.append(picture.is_lost(true, said))
            pairs.append((q, p))
            share = own.screened(margin, ood_margin)[1]
            full, area = full + share * picture.pixels.size, area + picture.pixels.size
            windows += merged.log_odds_HW.size
        odds_N2 = log_odds(pairs)
        return {
            **by_source(
                sources,
                cracked=cracked,
                other=[true != said for true, said in verdicts],
                lost=lost,
                missed=[
                    away and true == Verdict.CRACK
                    for away, (true, _) in zip(lost, verdicts, strict=True)
                ],
                review=[true == Verdict.REVIEW for true, _ in verdicts],
                review_then=[said == Verdict.REVIEW for _, said in verdicts],
            ),
            "windows": windows,
            "max_difference": float(np.abs(odds_N2[:, 1] - odds_N2[:, 0]).max()),
            DEFERRED: full / area,
            "reference": f"{engine_version(VARIANTS)}, {self.full.stage}",
        }

    def _pictures(self, photos: Sequence[Path], seed: int) -> Iterator[_Picture]:
        """The photos that can be read, and foreign ones."""
        for photo in photos:
            if (pixels_HWC := native_pixels(photo)) is not None:
                source, folder = photo.relative_to(self.folder).parts[:2]
                yield _Picture(source, pixels_HWC, is_crack=folder == CRACKED)
        for pixels_HWC in outlier_images(_FOREIGN_PHOTOS, _FOREIGN_SIDE, seed):
            yield _Picture(FOREIGN, pixels_HWC, is_crack=False)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A photo, and what is known of it."""

    source: str
    pixels: Pixels
    is_crack: bool

    def is_lost(self, true: str, said: str) -> bool:
        """Whether the model gives it to a person or finds a crack, by the verdict `true`, and both
        stages together call it clear, where that is wrong: it shows a crack, or no concrete."""
        return (self.is_crack or self.source == FOREIGN) and said == Verdict.CLEAR != true


def may_be_lost(cracked: int) -> int:
    """How many of the photos with a crack may be lost."""
    return max(1, round(MOST_LOST * cracked))


def by_source(source_N: Sequence[str], **flags: Iterable[bool]) -> JsonObject:
    """The number of images, and by source that and how many of them have each flag."""
    counts: dict[str, Counter[str]] = {source: Counter() for source in sorted(set(source_N))}
    for source, *own in zip(source_N, *flags.values(), strict=True):
        counts[source].update({"images": 1, **dict(zip(flags, map(int, own), strict=True))})
    sources = {source: dict(count) for source, count in counts.items()}
    return {"images": len(source_N), "sources": sources}


def patched(first: WindowMap, other: WindowMap, parts: Sequence[Plan]) -> WindowMap:
    """The map `first` with what `other` says of `parts` of the photo, as `DenseEngine.run` fills
    them."""
    assert first.cells_HW is not None and other.cells_HW is not None
    cells_HW, ood_HW = first.cells_HW.copy(), first.ood_HW.copy()
    planes = ((cells_HW, other.cells_HW, 1), (ood_HW, other.ood_HW, first.size // STRIDE))
    for mine_HW, new_HW, several in planes:
        for place in (part.counted(*block, several)[0] for part in parts for block in part):
            mine_HW[place] = new_HW[place]
    return WindowMap.of_cells(cells_HW, ood_HW, left=first.left, top=first.top, size=first.size)


class _Photo:
    """A photo as both stages judge all of it."""

    def __init__(self, screening: Screening, pixels_HWC: Pixels) -> None:
        self._of, self._pixels_HWC = screening, pixels_HWC
        self.first = screening.narrow.run(pixels_HWC)
        self.whole = screening.full.run(pixels_HWC)
        self._tiles: dict[tuple[int, int], float] = {}

    def screened(self, margin: float, ood_margin: float) -> tuple[WindowMap, float]:
        """Its windows as both stages judge them with these margins, and how much of it the model
        looks at, as a share of what it looks at where it is alone."""
        dense, sides = self._of.dense, self._pixels_HWC.shape[:2]
        plan = plan_blocks(*sides, self._of.size)
        parts = plan_parts(plan, doubtful(self.first, dense, ood_margin))
        found, share = patched(self.first, self.whole, parts), sum(p.pixels for p in parts)
        if parts != [plan] and is_nearly_clear(found, sides, dense, margin):
            return self.whole, 1 + share / plan.pixels
        return found, share / plan.pixels

    def verdict(self, found: WindowMap) -> tuple[str, float]:
        """The photo's verdict and probability by its windows."""
        sides, dense = self._pixels_HWC.shape[:2], self._of.dense
        candidates = find_candidates(found, sides, dense)
        odds = [self._tile(c.tile_x, c.tile_y) for c in candidates[:MOST_TILES]]
        score = judge_photo(found, candidates, odds, sides, dense, ("", ""))
        ood_N = np.array([score.ood_score])
        verdict_N, _ = decide(np.array([score.p_crack]), dense.thresholds, ood_N=ood_N)
        return str(verdict_N[0]), score.p_crack

    def _tile(self, x: int, y: int) -> float:
        if (x, y) not in self._tiles:
            tile_HWC = cut_tile(self._pixels_HWC, x, y, self._of.size)
            self._tiles[x, y] = float(log_odds(self._of.exact.run(tile_HWC[None]).p_crack_N)[0])
        return self._tiles[x, y]
