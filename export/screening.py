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
from PIL import Image, ImageOps

from export.gates import SAFETY, engine_version
from inspector.engines import open_engine
from inspector.engines.combined import DEFERRED
from inspector.engines.dense import open_dense
from inspector.engines.photo import cut_tile, dense_variant
from inspector.engines.screened import doubtful
from inspector.model.bundle import NARROW
from inspector.model.evidence import MOST_TILES, find_candidates, judge_photo
from inspector.model.verdict import decide, log_odds
from inspector.model.windows import plan_blocks, plan_parts
from inspector.synthesis import outlier_images
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.engines.dense import DenseEngine
    from inspector.model.bundle import DenseView, ModelBundle
    from inspector.model.windows import WindowMap
    from inspector.types import JsonObject

    Pixels = NDArray[np.uint8]

_ENGINE = "onnxruntime"
_MARGINS = (0.0, 2.0, 4.0, 6.0, 8.0)
"""Log odds that are tried."""
_OOD_MARGINS = (0.0, 0.5, 1.0)
_LEAST = 0.5
_FOREIGN, _FOREIGN_SIDE = "foreign", 480
_FOREIGN_PHOTOS = 8


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

            yield cls(
                dense(candidate, NARROW),
                dense(source, dense_variant(source, source.after(NARROW) or "fp32").precision),
                stack.enter_context(closing(open_engine(source, _ENGINE, device="cpu"))),
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
        counts: dict[str, Counter[str]] = {}
        flips, full, area, windows, moved = [], 0.0, 0.0, 0, 0.0
        for source, pixels_HWC in self._pictures(photos, seed=42):
            own = _Photo(self, pixels_HWC)
            wanted_HW = doubtful(own.first, self.dense, margin, ood_margin)
            merged = self.full.run(pixels_HWC, own.first, wanted_HW)
            (said, p), (true, q) = own.verdict(merged), own.verdict(own.whole)
            missed = (true, said) == (Verdict.CRACK, Verdict.CLEAR)
            share = own.screened(margin, ood_margin)[1]
            each = {"images": 1, "other": int(said != true), "missed": int(missed)}
            counts.setdefault(source, Counter()).update(each)
            flips += [[q, p]] * (said != true)
            full, area = full + share * pixels_HWC.size, area + pixels_HWC.size
            windows += merged.log_odds_HW.size
            moved = max(moved, float(abs(log_odds(p) - log_odds(q))))
        return {
            "images": sum(each["images"] for each in counts.values()),
            "windows": windows,
            "max_difference": moved,
            "verdict_flips": flips,
            DEFERRED: full / area,
            "sources": {name: dict(each) for name, each in sorted(counts.items())},
            "reference": f"{engine_version(_ENGINE)}, {self.full.stage}",
        }

    def _pictures(self, photos: Sequence[Path], seed: int) -> Iterator[tuple[str, Pixels]]:
        """The photos that can be read, and foreign ones, each with its source."""
        for photo in photos:
            try:
                with Image.open(photo) as image:
                    pixels_HWC = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            except (OSError, ValueError, Image.DecompressionBombError):
                continue
            yield photo.relative_to(self.folder).parts[0], pixels_HWC
        for pixels_HWC in outlier_images(_FOREIGN_PHOTOS, _FOREIGN_SIDE, seed):
            yield _FOREIGN, pixels_HWC


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
        return self.first.patched(self.whole, parts), sum(p.pixels for p in parts) / plan.pixels

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
