"""Rows of the table as they are shown: read when needed, a bounded number of parts kept."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inspector.results.parts import opened_part
from inspector.reviewing.index import SEE_VERIFY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.reviewing.index import Index, PartFile
    from inspector.types import JsonObject

KEPT_PARTS = 16
"""Parts whose shown columns stay in memory: some 4 MB each at 10,000 rows."""
KEPT_PATHS = 64
"""Parts whose paths stay in memory: below 1 MB each."""
_COLUMNS = (
    "uri path verdict p_crack reason stage failure_code detail peak_x peak_y width height format "
    "size_bytes mtime content_hash taken_at gps_lat gps_lon camera"
).split()


class Rows:
    """The rows behind an index. Every read checks that the part is still the one indexed, so a
    row number never means another photo; StaleTableError otherwise."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._tables = _Kept(_COLUMNS, KEPT_PARTS)
        self._paths = _Kept(["path"], KEPT_PATHS)

    def get(self, row: int) -> JsonObject:
        """All that is shown of one row, with its number as `row`."""
        part = self.index.part_of(row)
        values: JsonObject = self._tables.read(part).slice(row - part.begin, 1).to_pylist()[0]
        return {**values, "row": row}

    def paths(self, rows: Sequence[int]) -> list[str]:
        """The paths of some rows, in their order."""
        parts = [self.index.part_of(row) for row in rows]
        columns = {part.begin: self._paths.read(part)["path"] for part in dict.fromkeys(parts)}
        return [
            columns[part.begin][row - part.begin].as_py()
            for row, part in zip(rows, parts, strict=True)
        ]

    def matching(self, text: str) -> NDArray[np.bool_]:
        """Which rows have `text` in their path, in any case of letters."""
        found = np.ones(len(self.index), np.bool_)
        for part in self.index.parts:
            mask = pc.match_substring(_read(part, ["path"])["path"], text, ignore_case=True)
            found[part.begin : part.begin + part.rows] = mask.to_numpy()
        return found

    def find(self, uri: str) -> int | None:
        """The row of a file; None where the table has none."""
        for part in self.index.parts:
            place = pc.index(_read(part, ["uri"])["uri"], uri).as_py()
            if place >= 0:
                return part.begin + int(place)
        return None


class _Kept:
    """Some columns of the parts that were asked for last; never of a part that has changed."""

    def __init__(self, columns: Sequence[str], count: int) -> None:
        self._columns = columns
        self._count = count
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()

    def read(self, part: PartFile) -> pa.Table:
        if part.begin in self._tables:
            part.check()
            self._tables.move_to_end(part.begin)
            return self._tables[part.begin]
        table = self._tables[part.begin] = _read(part, self._columns)
        if len(self._tables) > self._count:
            self._tables.popitem(last=False)
        return table


def _read(part: PartFile, columns: Sequence[str]) -> pa.Table:
    """Some columns of a part. Raises StaleTableError, OutputError."""
    part.check()
    try:
        with opened_part(part.path, SEE_VERIFY) as file:
            return file.read(columns=list(columns), use_threads=False)
    finally:
        part.check()
