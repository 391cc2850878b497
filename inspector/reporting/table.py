"""The rows of a table as a stream of pieces, each with what a person said and what stands."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from inspector.core.layout import Layout
from inspector.errors import OutputError
from inspector.results.labels import Label, read_labels, with_human_verdicts
from inspector.results.parts import opened_part
from inspector.results.schema import METADATA_PREFIX, SCHEMA
from inspector.reviewing.index import SEE_VERIFY, StaleTableError, state_of
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pyarrow.parquet as pq

FAILED = "failed"
OUTCOMES = (str(Verdict.CRACK), str(Verdict.REVIEW), str(Verdict.CLEAR), FAILED)
"""What may become of a file, the most pressing first. `review` after a review is a photo that is
still to be decided."""
ROWS_AT_ONCE = 10_000

_COLUMNS = (
    "uri path verdict p_crack reason stage failure_code detail peak_x peak_y width height "
    "size_bytes mtime content_hash taken_at gps_lat gps_lon gps_alt camera"
).split()


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows with the columns `human_verdict`, `model` and `after` (both one of OUTCOMES: what
    the model said, and what stands after what people said), and their part's metadata."""

    rows: pa.Table
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """The table of `out` as it was when it was opened: its parts by file, each with what tells
    whether it still is the same one; `labels` as `read_labels` gives them."""

    out: Path
    parts: Mapping[Path, tuple[int, int, int]]
    labels: pa.Table

    @classmethod
    def open(cls, out: Path) -> Table:
        """Raises OutputError where there is no table yet."""
        labels = read_labels(out)
        files = Layout(out).parts()
        if not files:
            raise OutputError(
                f"{out} holds no rows yet; let its scan go on, or make some with: inspector scan"
            )
        return cls(out, {file: state_of(file) for file in files}, labels)

    @property
    def newest_us(self) -> int:
        """When its last part was written, microseconds since the epoch."""
        return max(changed_ns for _, _, changed_ns in self.parts.values()) // 1000

    @property
    def oldest_us(self) -> int:
        """When its first part was written, or rewritten without rows that were replaced."""
        return min(changed_ns for _, _, changed_ns in self.parts.values()) // 1000

    def count_rows(self) -> int:
        """By the footers of its parts. Raises as `pieces`."""
        return sum(self._rows_of(file) for file in self.parts)

    def pieces(self) -> Iterator[Piece]:
        """All rows in their order. Raises StaleTableError when a scan rewrote a part meanwhile,
        OutputError for one that cannot be read."""
        for file, state in self.parts.items():
            for piece in self._pieces_of(file):
                if state_of(file) != state:
                    raise StaleTableError(file.name)
                yield piece
            if state_of(file) != state:
                raise StaleTableError(file.name)

    def _rows_of(self, file: Path) -> int:
        with self._reading(file) as part:
            return int(part.metadata.num_rows)

    def _pieces_of(self, file: Path) -> Iterator[Piece]:
        with self._reading(file) as part:
            if not part.schema_arrow.equals(SCHEMA):
                raise OutputError(
                    f"{file} has other columns than this version writes; report with the version "
                    "that made it"
                )
            facts = _facts(part.schema_arrow.metadata or {})
            for batch in part.iter_batches(ROWS_AT_ONCE, columns=_COLUMNS, use_threads=False):
                yield Piece(self._with_people(pa.Table.from_batches([batch])), facts)
            if part.metadata.num_rows == 0:
                yield Piece(self._with_people(part.schema_arrow.empty_table()), facts)

    @contextlib.contextmanager
    def _reading(self, file: Path) -> Iterator[pq.ParquetFile]:
        try:
            with opened_part(file, SEE_VERIFY, page_checksum_verification=True) as part:
                yield part
        except OutputError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise StaleTableError(file.name) from error
            raise

    def _with_people(self, rows: pa.Table) -> pa.Table:
        rows = with_human_verdicts(rows, self.labels)
        human = rows["human_verdict"]
        decided = pc.if_else(pc.equal(human, Label.UNSURE), Verdict.REVIEW, human)
        rows = rows.append_column("model", pc.coalesce(rows["verdict"], FAILED))
        return rows.append_column("after", pc.coalesce(decided, rows["verdict"], FAILED))


def _facts(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        key.decode().removeprefix(METADATA_PREFIX): value.decode("utf-8", "replace")
        for key, value in metadata.items()
        if key.startswith(METADATA_PREFIX.encode())
    }
