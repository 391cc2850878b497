"""The results of a scan for programs: the one view, with what people said, as a data frame."""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inspector.core.durable import make_directory, replacing
from inspector.core.layout import refuse_other
from inspector.core.text import plain_table, printable, quantity, wrapped
from inspector.core.untrusted import in_bucket
from inspector.errors import OutputError, UsageError
from inspector.results.labels import read_decisions
from inspector.results.opening import at_hand
from inspector.results.reader import Read, Table, parse_since, read_steadily
from inspector.results.schema import json_line
from inspector.results.view import VIEW, view_batches, view_schema
from inspector.types import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_SHOWN = ("path", "verdict", "human_verdict", "p_crack", "reason", "failure_code", "note")
_HEADS = {"path": "photo", "human_verdict": "said", "failure_code": "failure"}
_KEYS = ("verdict", "human_verdict", "p_crack")
_ORDER = ("crack", "review", "unsure", Status.FAILED, "clear", "not_concrete")
_ROWS = 20


class Results:
    """A result directory of a scan, or its address in a bucket: its table, and beside each row what
    people said of the photo in `inspector review` (`human_verdict`, `note`, `human_regions`,
    `reviewer`, `labelled_at`).

    Read anew at each call, so what a scan or a review adds meanwhile is there the next time.

    Example:
        >>> import inspector
        >>> results = inspector.Results("o")
        >>> len(results)
        3
        >>> frame = results.to_pandas()
        >>> frame.loc[frame["verdict"] == "crack", "path"].str.endswith("crack.jpg").tolist()
        [True]
        >>> results.to_arrow(["verdict", "human_verdict", "note"]).num_columns
        3
        >>> results.to_polars(["verdict", "p_crack"]).columns
        ['verdict', 'p_crack']
    """

    columns = tuple(column.name for column in VIEW)
    """Names of all columns, in their order."""

    def __init__(self, out: str | os.PathLike[str]) -> None:
        """Raises OutputError where `out` is no result directory of a scan."""
        self.out = out if isinstance(out, str) and in_bucket(out) else Path(out)
        with at_hand(self.out) as here:
            refuse_other(here)

    def to_arrow(self, columns: Sequence[str] = ()) -> pa.Table:
        """All rows in the order of the table, with all columns or some. Raises UsageError for a
        column that there is not, OutputError where the table cannot be read."""
        names = self._known(columns)

        def read(table: Table) -> pa.Table:
            batches = view_batches(table, read_decisions(table.out), names)
            return pa.Table.from_batches(batches, view_schema(names))

        return self._read(read)

    def head(
        self, rows: int = 20, columns: Sequence[str] = (), *, since: str | None = None
    ) -> pa.Table:
        """The rows that come first for who acts on them: cracks, what is to be decided, what
        failed, the rest, as it stands after a review; within each the likeliest cracks. `since`:
        of those alone that were judged then or later, a date or a time as of ISO 8601, local
        unless it names a time zone. Raises as `to_arrow`, UsageError for what is no date."""
        names = self._known(columns)

        def read(table: Table) -> pa.Table:
            decisions = read_decisions(table.out)
            keys = pa.Table.from_batches(view_batches(table, decisions, _KEYS), view_schema(_KEYS))
            said = pc.coalesce(keys["human_verdict"], keys["verdict"], pa.scalar(Status.FAILED))
            ranked = pa.table(
                {"rank": pc.index_in(said, value_set=pa.array(_ORDER)), "p": keys["p_crack"]}
            )
            order = [("rank", "ascending"), ("p", "descending")]
            chosen = np.asarray(pc.sort_indices(ranked, order)[:rows], np.int64)
            return _rows(view_batches(table, decisions, names), chosen, names)

        return self._read(read, since)

    def to_pandas(self, columns: Sequence[str] = ()) -> Any:
        """The same as a pandas `DataFrame`."""
        return self.to_arrow(columns).to_pandas()

    def to_polars(self, columns: Sequence[str] = ()) -> Any:
        """The same as a Polars `DataFrame`."""
        import polars

        return polars.from_arrow(self.to_arrow(columns))

    def export(
        self,
        file: str | os.PathLike[str],
        columns: Sequence[str] = (),
        *,
        since: str | None = None,
    ) -> int:
        """Write all rows, or those `since` then as of `head`, to a `.parquet` or `.jsonl` file, and
        return their number. Raises UsageError for another ending or a place where readers would
        take it for a piece of the table, OutputError where it cannot be written."""
        file, names = Path(file), self._known(columns)
        if file.suffix not in (".parquet", ".jsonl"):
            raise UsageError(f"{file} ends neither in .parquet nor in .jsonl")
        if isinstance(self.out, Path) and self.out.resolve() in file.resolve().parents:
            raise UsageError(f"{file} lies in the result directory; name another place")

        def read(table: Table) -> int:
            batches = view_batches(table, read_decisions(table.out), names)
            with replacing(file) as draft, draft.open("xb") as stream:
                if file.suffix == ".parquet":
                    with pq.ParquetWriter(stream, view_schema(names), compression="zstd") as writer:
                        for batch in batches:
                            writer.write_batch(batch)
                else:
                    for batch in batches:
                        rows = (json_line(row, names) for row in batch.to_pylist())
                        stream.writelines(map(str.encode, rows))
            return table.streamed

        try:
            make_directory(file.parent)
            return self._read(read, since)
        except OSError as error:
            raise OutputError(f"cannot write {file}: {error.strerror or error}") from error

    def batches(self, columns: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """The same a few thousand rows at a time, for tables that do not fit into memory. Raises
        StaleTableError, too, where a scan changes the table meanwhile."""
        with at_hand(self.out) as here:
            yield from view_batches(Table.open(here), read_decisions(here), self._known(columns))

    def count(self, since: str | None = None) -> int:
        """Number of rows, or of those `since` then as of `head`."""
        return self._read(lambda table: table.streamed, since)

    def _read(self, read: Callable[[Table], Read], since: str | None = None) -> Read:
        moment = None if since is None else parse_since(since)
        with at_hand(self.out) as here:
            return read_steadily(here, read, moment)

    def _known(self, names: Sequence[str]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in self.columns]:
            raise UsageError(
                f"there is no column {', '.join(unknown)}; choose from: {', '.join(self.columns)}"
            )
        return tuple(dict.fromkeys(names)) or self.columns

    def _shown(self, since: str | None = None) -> tuple[str, ...]:
        """Columns that a person wants to see, without those in which nothing stands."""
        first = self.head(_ROWS, _SHOWN, since=since)
        return tuple(name for name in _SHOWN if first[name].null_count < len(first))

    def __len__(self) -> int:
        return self.count()

    def __repr__(self) -> str:
        return f"Results({str(self.out)!r})"

    def _repr_html_(self) -> str:
        """The rows that come first, as a notebook shows them."""
        names, count = self._shown(), len(self)
        rows = self.head(_ROWS, names).to_pylist()
        head = "".join(f"<th>{name}</th>" for name in names)
        cells = (
            "".join(f"<td>{escape(printable(_text(row[name])))}</td>" for name in names)
            for row in rows
        )
        body = "".join(f"<tr>{cell}</tr>" for cell in cells)
        said = f"{escape(printable(str(self.out)))}: {quantity(count, 'photo')}"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{said}</p>"


def _rows(
    batches: Iterator[pa.RecordBatch], chosen: NDArray[np.int64], names: Sequence[str]
) -> pa.Table:
    """Take rows by their numbers, in that order."""
    order = np.argsort(chosen, kind="stable")
    wanted, found, begin = chosen[order], [], 0
    for batch in batches:
        inside = (wanted >= begin) & (wanted < begin + batch.num_rows)
        found.append(batch.take(pa.array(wanted[inside] - begin)))
        begin += batch.num_rows
    table = pa.Table.from_batches(found, view_schema(names))
    return table.take(pa.array(np.argsort(order, kind="stable")))


def table_lines(
    results: Results, rows: int, names: Sequence[str] = (), since: str | None = None
) -> list[str]:
    """The first rows as text, for a terminal; photos below the folder that they share."""
    lines, count = [], results.count(since)
    if not count:
        none = "the table has none" if since is None else f"none was judged since {since}"
        return wrapped("photos", none)
    shown = tuple(names) or results._shown(since)
    found = results.head(rows, shown, since=since).to_pylist()
    paths = [row["path"] for row in found] if "path" in shown else []
    same = os.path.commonprefix(paths)  # noqa: RUF071 - of any system; it is cut at a slash
    root = re.match(r"(?:[A-Za-z]:\\|\\\\|/)", same)
    if root and (shared := same[: same.rfind(root[0][-1]) + 1]):
        found = [{**row, "path": row["path"].removeprefix(shared)} for row in found]
        lines.append(f"photos below {shared}")
    heads = [_HEADS.get(name, name) for name in shown]
    cells = [[_text(row[name]) for name in shown] for row in found]
    lines += plain_table(heads, cells)
    if len(found) < count:
        lines.append(f"... and {count - len(found):,} more (--rows)")
    return lines


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(len(value)) if isinstance(value, list) else str(value)
