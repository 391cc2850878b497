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
from inspector.results.labels import newest
from inspector.results.reader import ROW, Table, batch_schema
from inspector.results.view import KEYS, applying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inspector.types import JsonObject

FAILED = "failed"
_LEAST_MEMORY, _MEMORY_PER_ROW = 32_000_000, 8
"""Bytes that DuckDB may hold for a report; it writes the rest to a temporary directory."""
_THREADS = 1
"""A stream feeds no more; each costs 15 MB."""
_ROWS_FETCHED = 2_000
_BOX = ("x", "y", "width", "height")
_STANDING = """REPLACE (if(len(rejected) > 0, [r FOR r IN regions
  IF NOT list_contains(rejected, {x: r.x, y: r.y, width: r.width, height: r.height})],
  regions) AS regions)"""
"""Regions that a person called clear are none."""


class Query:
    """SQL over one opened table; `close` ends it.

    `db` is a private database. Its table `said` has the rows that somebody labelled: `row`, `uri`
    and `human` (a `Label`; null where there is none, or of other bytes), and `rejected`, the boxes
    of regions that were called clear: `regions` are without them wherever this class gives them.
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
            "rejected STRUCT(x INTEGER, y INTEGER, width INTEGER, height INTEGER)[], note VARCHAR)"
        )
        if decisions.num_rows and len(table):
            self.db.register("decided", pa.concat_tables(self._decided(newest(decisions))))
            self.db.execute(
                """INSERT INTO said SELECT row, uri, label, [
                     {x: r.x, y: r.y, width: r.width, height: r.height}
                     FOR r IN regions IF r.label = 'clear'], note FROM decided"""
            )
            self.db.unregister("decided")

    def _decided(self, labels: pa.Table) -> Iterator[pa.Table]:
        """Yield the rows about whose photos somebody said something, and what applies to them."""
        for batch in self.table.batches(KEYS, self.progress):
            rows = batch.filter(pc.is_in(batch["uri"], value_set=labels["uri"]))
            said = labels.take(applying(rows, labels)).select(["label", "regions", "note"])
            yield said.append_column(ROW, rows[ROW]).append_column("uri", rows["uri"])

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
        """Read rows as `Table.rows` does, with `human_verdict`."""
        some = "SELECT row, human, rejected FROM said WHERE list_contains(?, row)"
        said = {row: about for row, *about in self.db.execute(some, [list(numbers)]).fetchall()}
        found = []
        for row in self.table.rows(numbers, columns):
            human, rejected = said.get(row[ROW], (None, None))
            if rejected and row.get("regions"):
                regions = row["regions"]
                row["regions"] = [r for r in regions if {k: r[k] for k in _BOX} not in rejected]
            found.append({**row, "human_verdict": human})
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
    return f"""
WITH photos AS (
  SELECT rows.* {_STANDING if "regions" in columns else ""}, human, note,
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
