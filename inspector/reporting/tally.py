"""Everything that is counted while the table goes by once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inspector.reporting.best import Best, Examples
from inspector.reporting.coarse import Coarse
from inspector.reporting.copies import Copies
from inspector.reporting.counts import cell_of_rows, count, count_by, no_cells
from inspector.reporting.table import FAILED
from inspector.results.labels import Label
from inspector.types import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.reporting.config import SummaryConfig
    from inspector.reporting.table import Piece

MOST_FOLDERS = 20_000
MOST_PERIODS = 10_000
MOST_PLACES = 1_500
"""Kept at once while counting; where there are more, the next coarser ones."""
MOST_DIFFERING = 24
"""Photos shown of which a person says the opposite of the model."""
FAILURES_LISTED = 20
"""Failed files listed for each code."""

HOUR, DAY, MONTH, YEAR = 13, 10, 7, 4
"""Letters of an ISO time that name a period."""
PER_DEGREE = 100_000
"""Steps in which places are told apart: a metre or less."""
SIDES = tuple(1 << power for power in range(18))
"""Of squares of places, in these steps: from a metre to more than a hundred kilometres."""
_DEEPEST = 32
_SHIFT = 1 << 32
_US_PER_HOUR = 3_600_000_000
_SHOWN = (
    "uri path by_person verdict p_crack reason human_verdict failure_code peak_x peak_y width "
    "height content_hash taken_at gps_lat gps_lon camera"
).split()
_RUN = ("tool_version", "backend", "device", "providers", "stages")

Place = tuple[int, int]
"""The south-western corner of a square, in steps of a degree."""


class Tally:
    """`cells` of all rows (see `counts`); `said` counts by what the model and a person said."""

    def __init__(self, config: SummaryConfig) -> None:
        self.cells = no_cells()
        self.said: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.runs: Counter[tuple[str, ...]] = Counter()
        """Rows by what made them, as `_RUN` names it."""
        self.facts: dict[str, str] = {}
        self.size_bytes = 0
        self.folders = Coarse[str](MOST_FOLDERS, range(_DEEPEST, 0, -1), cut_folder)
        self.periods = Coarse[str](MOST_PERIODS, (HOUR, DAY, MONTH, YEAR), cut_period)
        self.places = Coarse[Place](MOST_PLACES, SIDES, cut_place)
        self.copies = Copies()
        self.failed = Examples(FAILURES_LISTED, "failure_code")
        self.cracks = Best(
            config.pictures,
            [("by_person", "descending"), ("p_crack", "descending"), ("uri", "ascending")],
        )
        self.differing = Best(
            min(config.pictures, MOST_DIFFERING),
            [("by_person", "descending"), ("p_crack", "ascending"), ("uri", "ascending")],
        )

    def add(self, piece: Piece) -> None:
        rows = piece.rows
        cell_N = cell_of_rows(rows)
        self.cells += count(cell_N)
        self.facts.update(piece.facts)
        self.runs[tuple(piece.facts.get(name, "") for name in _RUN)] += rows.num_rows
        self.size_bytes += pc.sum(rows["size_bytes"]).as_py() or 0
        _count_words(self.reasons, rows["reason"])
        _count_words(self.failures, rows["failure_code"])
        self._add_said(rows)
        self._add_folders(rows, cell_N)
        self._add_periods(rows["taken_at"], cell_N)
        self._add_places(rows, cell_N)
        self.copies.add(rows["content_hash"])
        failed = rows.filter(pc.equal(rows["model"], FAILED))
        self.failed.add(failed.select(["path", "failure_code", "detail", "human_verdict"]))
        self._add_best(rows)

    def run_facts(self) -> list[dict[str, str]]:
        """Who made the rows: how many, and what its part says, the most first."""
        return [
            {"rows": str(number), **dict(zip(_RUN, values, strict=True))}
            for values, number in self.runs.most_common()
            if number
        ]

    def _add_said(self, rows: pa.Table) -> None:
        looked_at = rows.filter(pc.is_valid(rows["human_verdict"]))
        pairs = (looked_at[name].to_pylist() for name in ("model", "human_verdict"))
        self.said.update(zip(*pairs, strict=True))

    def _add_folders(self, rows: pa.Table, cell_N: NDArray[np.int64]) -> None:
        folders = pc.replace_substring_regex(rows["uri"], pattern="/[^/]*$", replacement="")
        for folder, cells in count_by(folders.combine_chunks(), cell_N):
            self.folders.add(folder, cells)

    def _add_periods(self, taken_at: pa.ChunkedArray, cell_N: NDArray[np.int64]) -> None:
        known_N = pc.is_valid(taken_at).to_numpy()
        hours = pc.drop_null(taken_at).cast(pa.int64()).to_numpy() // _US_PER_HOUR
        for hour, cells in count_by(pa.array(hours), cell_N[known_N]):
            self.periods.add(str(np.datetime64(hour, "h")), cells)

    def _add_places(self, rows: pa.Table, cell_N: NDArray[np.int64]) -> None:
        """Squares as whole numbers first, so that Python sees each of them only once."""
        lat_N, lon_N = (rows[name].to_numpy() for name in ("gps_lat", "gps_lon"))
        use_N = np.isfinite(lat_N) & np.isfinite(lon_N)
        side = self.places.level
        south, west = (
            np.rint(degrees[use_N] * PER_DEGREE).astype(np.int64) // side * side
            for degrees in (lat_N, lon_N)
        )
        # Degrees take 26 bits each in these steps; the shift keeps them apart.
        for key, cells in count_by(pa.array(south * _SHIFT + west), cell_N[use_N]):
            row, column = divmod(key + _SHIFT // 2, _SHIFT)
            self.places.add((row, column - _SHIFT // 2), cells)

    def _add_best(self, rows: pa.Table) -> None:
        human, model = rows["human_verdict"], rows["model"]
        said_crack = pc.fill_null(pc.equal(human, Label.CRACK), False)
        rows = rows.append_column("by_person", said_crack.cast(pa.int8()))
        is_crack = pc.equal(rows["after"], Verdict.CRACK)
        rows = rows.select(_SHOWN)
        self.cracks.add(rows.filter(is_crack))
        missed = pc.and_(said_crack, pc.equal(model, Verdict.CLEAR))
        said_clear = pc.fill_null(pc.equal(human, Label.CLEAR), False)
        alarm = pc.and_(said_clear, pc.equal(model, Verdict.CRACK))
        self.differing.add(rows.filter(pc.or_(missed, alarm)))


def cut_folder(folder: str, depth: int) -> str:
    """`file:///a/b/c` at depth 2 is `file:///a/b`."""
    return "/".join(folder.split("/", 3 + depth)[: 3 + depth])


def cut_period(period: str, letters: int) -> str:
    return period[:letters]


def cut_place(place: Place, side: int) -> Place:
    return place[0] // side * side, place[1] // side * side


def _count_words(counter: Counter[str], column: pa.ChunkedArray) -> None:
    for entry in pc.value_counts(pc.drop_null(column)).to_pylist():
        counter[entry["values"]] += entry["counts"]
