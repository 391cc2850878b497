"""How carefully a narrow network must look at photos at their own scale: margins with which no
photo gets another verdict, and the evidence of other photos for them."""

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
from inspector.engines.screened import doubtful
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

_MARGINS = (0.0, 2.0, 4.0, 6.0, 8.0)
"""Log odds that are tried."""
_OOD_MARGINS = (0.0, 0.5, 1.0)
_LEAST = 0.5
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
        """The margins, `SAFETY` times those with which no photo has another verdict and the least
        is judged in full."""
        tried = list(product(_MARGINS, _OOD_MARGINS))
        cost_T, wrong_T = np.zeros(len(tried)), np.zeros(len(tried))
        for _, pixels_HWC in self._pictures(photos, seed=41):
            own = _Photo(self, pixels_HWC)
            for k, margins in enumerate(tried):
                merged, share = own.screened(*margins)
                cost_T[k] += share * pixels_HWC.size
                wrong_T[k] += own.verdict(merged)[0] != own.verdict(own.whole)[0]
        allowed_T = wrong_T <= wrong_T.min()
        margin, ood_margin = tried[int(np.where(allowed_T, cost_T, np.inf).argmin())]
        return max(SAFETY * margin, _LEAST), SAFETY * ood_margin

    def gate(self, photos: Sequence[Path], margin: float, ood_margin: float) -> JsonObject:
        """Evidence for these margins, for `trouble_with`."""
        sources: list[str] = []
        verdicts: list[tuple[str, str]] = []
        pairs: list[tuple[float, float]] = []
        full, area, windows = 0.0, 0.0, 0
        for source, pixels_HWC in self._pictures(photos, seed=42):
            own = _Photo(self, pixels_HWC)
            wanted_HW = doubtful(own.first, self.dense, margin, ood_margin)
            merged = self.full.run(pixels_HWC, own.first, wanted_HW)
            (said, p), (true, q) = own.verdict(merged), own.verdict(own.whole)
            sources.append(source)
            verdicts.append((true, said))
            pairs.append((q, p))
            share = own.screened(margin, ood_margin)[1]
            full, area = full + share * pixels_HWC.size, area + pixels_HWC.size
            windows += merged.log_odds_HW.size
        other = [true != said for true, said in verdicts]
        missed = [each == (Verdict.CRACK, Verdict.CLEAR) for each in verdicts]
        odds_N2 = log_odds(pairs)
        return {
            **by_source(sources, other=other, missed=missed),
            "windows": windows,
            "max_difference": float(np.abs(odds_N2[:, 1] - odds_N2[:, 0]).max()),
            "verdict_flips": [
                [*pair] for pair, is_other in zip(pairs, other, strict=True) if is_other
            ],
            DEFERRED: full / area,
            "reference": f"{engine_version(VARIANTS)}, {self.full.stage}",
        }

    def _pictures(self, photos: Sequence[Path], seed: int) -> Iterator[tuple[str, Pixels]]:
        """The photos that can be read, and foreign ones, each with its source."""
        for photo in photos:
            if (pixels_HWC := native_pixels(photo)) is not None:
                yield photo.relative_to(self.folder).parts[0], pixels_HWC
        for pixels_HWC in outlier_images(_FOREIGN_PHOTOS, _FOREIGN_SIDE, seed):
            yield FOREIGN, pixels_HWC


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
        """Its windows if cells within these margins are judged in full, and the share of its pixels
        that are."""
        dense, (height, width) = self._of.dense, self._pixels_HWC.shape[:2]
        wanted_HW = doubtful(self.first, dense, margin, ood_margin)
        plan = plan_blocks(height, width, self._of.size)
        parts = plan_parts(plan, wanted_HW)
        return patched(self.first, self.whole, parts), sum(p.pixels for p in parts) / plan.pixels

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
