"""Ask a scan's table, joined with what people said, in SQL (DuckDB).

DuckDB reads streams of rows and no file: names that are no UTF-8, pipes in place of parts and
tables that a scan is changing stay the business of `reader`. Nothing else loads DuckDB, and a scan
never loads this module.
"""

from __future__ import annotations

import contextlib
import shutil
import weakref
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from inspector.core.spare import spare_folder
from inspector.errors import OutputError
from inspector.results.labels import SIDES, newest
from inspector.results.reader import ROW, Table, batch_schema
from inspector.results.view import KEYS, applying
from inspector.types import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inspector.types import JsonObject

FAILED = str(Status.FAILED)
_LEAST_MEMORY, _MEMORY_PER_ROW = 32_000_000, 8
"""Bytes that DuckDB may hold for a report; it writes the rest to a temporary directory."""
_THREADS = 1
"""A stream feeds no more; each costs 15 MB."""
_ROWS_FETCHED = 2_000
OPPOSITE = "(('crack', 'clear'), ('clear', 'crack'), ('not_concrete', 'crack'))"
"""What a person said beside what the model had said, where one is the opposite of the other."""
_JUDGED = ("regions", "width", "height", "peak_x", "peak_y")
"""Columns that what a person said of places is about."""
_POINT = 14
"""A place marked by a click is a square around it, this part of the photo's longer side."""


def _box(name: str) -> str:
    return "{" + ", ".join(f"{side}: {name}.{side}" for side in SIDES) + "}"


_PLACES = f"""SELECT *, coalesce(places, []) AS said_of, coalesce(regions, []) AS found,
  greatest(width, height) // {_POINT} AS side,
  [r FOR r IN said_of IF r.label = 'clear'] AS clear,
  [{_box("r")} FOR r IN found] AS known,
  [if(r.width > 0 AND r.height > 0, {_box("r")}, {{
      x: greatest(0, r.x - side // 2)::INTEGER, y: greatest(0, r.y - side // 2)::INTEGER,
      width: (least(width, r.x + side // 2 + 1) - greatest(0, r.x - side // 2))::INTEGER,
      height: (least(height, r.y + side // 2 + 1) - greatest(0, r.y - side // 2))::INTEGER}})
    FOR r IN said_of IF r.label = 'crack' AND NOT list_contains(known, {_box("r")})] AS boxes
  FROM decided LEFT JOIN judged USING (row)"""
_SAY = f"""INSERT INTO said SELECT row, uri, label, [{_box("r")} FOR r IN clear],
  [{{x: r.x, y: r.y, width: r.width, height: r.height, p_crack: NULL::FLOAT,
     length_at_least: NULL::FLOAT, length_at_most: NULL::FLOAT, stage: NULL::VARCHAR}}
    FOR r IN boxes],
  len([r FOR r IN clear IF peak_x * width BETWEEN r.x AND r.x + r.width
    AND peak_y * height BETWEEN r.y AND r.y + r.height]) > 0, note
  FROM ({_PLACES})"""
_STANDING = {
    "regions": f"""if(len(marked) > 0 OR len(rejected) > 0 AND len(regions) > 0, list_concat(marked,
      [r FOR r IN coalesce(regions, []) IF NOT list_contains(rejected, {_box("r")})]), regions)""",
    "peak_x": "if(off_peak, NULL, peak_x)",
    "peak_y": "if(off_peak, NULL, peak_y)",
}
"""What stands of these columns after people had their say, in SQL."""


class Query:
    """SQL over one opened table; `close` ends it.

    `db` is a private database. Its table `said` has the rows that somebody labelled: `row`, `uri`
    and `human` (a `Label`; null where there is none, or of other bytes), `note`, and what was said
    of places: `rejected`, the boxes of regions that were called clear, `off_peak`, whether the
    evidence peaks in one of these, and `marked`, the places that a person marked as cracks.

    Wherever this class gives `regions`, they are without the rejected and begin with the marked,
    which have no probability, no length and no stage; `peak_x` and `peak_y` are null where the
    evidence peaks in a rejected one.
    """

    def __init__(
        self,
        table: Table,
        decisions: pa.Table,
        *,
        progress: Callable[[int], None] | None = None,
        memory: int = 0,
    ) -> None:
        """Join a table with `decisions` about its photos, from `read_decisions`. `progress` is
        called with the number of rows of each batch that is read; `memory` is how many bytes
        DuckDB may hold, if more than it needs to count the rows. Raises as `ask`."""
        self.table = table
        self.progress = progress
        folder = spare_folder()
        self.db = _connect(folder, max(memory, _MEMORY_PER_ROW * len(table)))
        self.close = weakref.finalize(self, _close, self.db, folder)
        self.db.execute(
            "CREATE TABLE said (row BIGINT, uri VARCHAR, human VARCHAR, "
            "rejected STRUCT(x INTEGER, y INTEGER, width INTEGER, height INTEGER)[], "
            "marked STRUCT(x INTEGER, y INTEGER, width INTEGER, height INTEGER, p_crack FLOAT, "
            "length_at_least FLOAT, length_at_most FLOAT, stage VARCHAR)[], "
            "off_peak BOOLEAN, note VARCHAR)"
        )
        if decisions.num_rows and table.streamed:
            decided = pa.concat_tables(self._decided(newest(decisions)))
            self.db.register("decided", decided)
            self.db.register("judged", self._judged(decided))
            self.db.execute(_SAY)
            self.db.unregister("decided")
            self.db.unregister("judged")

    def _decided(self, labels: pa.Table) -> Iterator[pa.Table]:
        """Yield the rows about whose photos somebody said something, and what applies to them."""
        for batch in self.table.batches(KEYS, self.progress):
            rows = batch.filter(pc.is_in(batch["uri"], value_set=labels["uri"]))
            said = labels.take(applying(rows, labels)).select(["label", "regions", "note"])
            said = said.rename_columns(["label", "places", "note"])
            yield said.append_column(ROW, rows[ROW]).append_column("uri", rows["uri"])

    def _judged(self, decided: pa.Table) -> pa.Table:
        """Return what the model says of the photos of which people said something of places."""
        numbers = decided.filter(decided["places"].is_valid())[ROW].to_pylist()
        rows, schema = self.table.rows(numbers, _JUDGED), batch_schema(_JUDGED)
        # pyarrow loads pandas for a list, if it is there: 40 MB.
        if not rows:
            return pa.Table.from_batches([], schema)
        return pa.Table.from_pylist(rows, schema=schema)

    def ask(self, columns: Sequence[str], sql: str, *values: object) -> list[Any]:
        """Run one statement over `photos`, from its SELECT on, and return its rows.

        `photos` has `columns` of the table, `verdict`, the row's number `row`, `human` as in
        `said`, and two of `crack`, `review`, `clear`, `failed`: `model`, what the model said, and
        `after`, what stands after people had their say. Raises OutputError where a part cannot be
        read or DuckDB cannot answer, StaleTableError where a scan has rewritten a part.
        """
        with self._asked(columns, _photos(columns) + sql, values) as answer:
            return answer.fetchall()

    def each(self, columns: Sequence[str], sql: str) -> Iterator[Any]:
        """Yield the rows of `ask`, of which only some are in memory at once."""
        with self._asked(columns, _photos(columns) + sql) as answer:
            while rows := answer.fetchmany(_ROWS_FETCHED):
                yield from rows

    def create(self, name: str, columns: Sequence[str], sql: str, *values: object) -> None:
        """Keep the rows of `ask` as a table of `db`."""
        with self._asked(
            columns, f"CREATE OR REPLACE TABLE {name} AS {_photos(columns)} {sql}", values
        ):
            pass

    def rows(self, numbers: Sequence[int], columns: Sequence[str]) -> list[JsonObject]:
        """Read rows as `Table.rows` does, with `human_verdict` and `note`."""
        some = """SELECT row, human, note, rejected, marked, off_peak FROM said
                  WHERE list_contains(?, row)"""
        said = {row: about for row, *about in self.db.execute(some, [list(numbers)]).fetchall()}
        found = []
        for row in self.table.rows(numbers, columns):
            human, note, *places, off_peak = said.get(row[ROW], (None,) * 5)
            rejected, marked = (boxes or [] for boxes in places)
            if "regions" in row and (marked or (rejected and row["regions"])):
                regions = row["regions"] or []
                standing = [r for r in regions if {k: r[k] for k in SIDES} not in rejected]
                row["regions"] = [*marked, *standing]
            if off_peak:
                row |= dict.fromkeys({"peak_x", "peak_y"} & row.keys())
            found.append({**row, "human_verdict": human, "note": note})
        return found

    @contextlib.contextmanager
    def _asked(
        self, columns: Sequence[str], sql: str, values: Sequence[object] = ()
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Run a statement over the stream `rows`."""
        names = list(dict.fromkeys(("verdict", *columns)))
        failures: list[BaseException] = []

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from self.table.batches(names, self.progress)
            except BaseException as error:
                failures.append(error)  # DuckDB would make another error of it
                raise

        stream = pa.RecordBatchReader.from_batches(batch_schema(names), batches())
        self.db.register("rows", stream)
        try:
            yield self.db.execute(sql, list(values))
        except duckdb.Error as error:
            if failures:
                raise failures[0] from None
            raise OutputError(f"cannot read the table in {self.table.out}: {error}") from error
        finally:
            self.db.unregister("rows")


def _photos(columns: Sequence[str]) -> str:
    """Return the beginning of every statement over `photos`."""
    standing = [f"{sql} AS {name}" for name, sql in _STANDING.items() if name in columns]
    replace = f"REPLACE ({', '.join(standing)})" if standing else ""
    return f"""
WITH photos AS (
  SELECT rows.* {replace}, human, note,
    coalesce(verdict, '{FAILED}') AS model,
    coalesce(CASE human WHEN 'unsure' THEN 'review' WHEN 'not_concrete' THEN 'clear' ELSE human END,
      verdict, '{FAILED}') AS after
  FROM rows LEFT JOIN said USING (row)
)
"""


def _connect(folder: str | None, memory: int = 0) -> duckdb.DuckDBPyConnection:
    """Open a database in memory that reads no files and loads no extensions; what does not fit into
    `memory` goes to `folder`, if there is one."""
    db = duckdb.connect(
        config={
            "memory_limit": f"{max(memory, _LEAST_MEMORY)}B",
            "threads": _THREADS,
            "temp_directory": folder or "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    # How many rows a stream has, DuckDB cannot know: joins keep in memory what stands on the right.
    db.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    db.execute("SET enable_external_access = false; SET lock_configuration = true")
    return db


def _close(db: duckdb.DuckDBPyConnection, folder: str | None) -> None:
    db.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
