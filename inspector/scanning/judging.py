"""The rows of judged photos, with their counts: what a scan commits, wherever they were made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.model.verdict import judge
from inspector.results.schema import make_row, to_table
from inspector.scanning.summary import Tally
from inspector.types import Photo

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from inspector.model.bundle import ModelBundle, Thresholds
    from inspector.model.scale import Scale
    from inspector.scanning.config import ScanConfig
    from inspector.types import Batch, Judgement, Scores


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows of consecutive files, in their order, and the counts of them."""

    rows: pa.Table
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Makes verdicts and rows of scores."""

    thresholds: Thresholds
    dense: Thresholds | None
    """Those of photos at their own scale."""
    scale: Scale
    stages: Sequence[str]
    """Those of the engine."""

    @classmethod
    def of(cls, config: ScanConfig, bundle: ModelBundle, stages: Sequence[str]) -> Judge:
        return cls(
            thresholds=config.thresholds(bundle.thresholds),
            dense=config.dense_thresholds(bundle),
            scale=config.scale,
            stages=stages,
        )

    def judge(self, batch: Batch, scores: Scores) -> tuple[Judged, tuple[Judgement, ...]]:
        """Make one row for each item of a batch, and one judgement for each of its photos."""
        batch = batch.at_scale(self.scale.mm_per_px)
        judgements = judge(
            scores, batch.photos, self.thresholds, self.stages, self.dense, self.scale
        )
        own = iter(judgements)  # the k-th photo has the k-th judgement
        rows = [
            make_row(item, next(own) if isinstance(item, Photo) else None) for item in batch.items
        ]
        tally = Tally()
        tally.count(batch, judgements)
        tally.count_hidden(batch.photos, self.scale)
        return Judged(to_table(rows, {}), tally), judgements
