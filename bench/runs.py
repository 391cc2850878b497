"""What programs that turn a folder of photos into a table say and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.dataset as ds

from bench.checks import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from bench.checks import Answers
    from inspector.types import JsonObject


def loop_seconds(said: JsonObject) -> float:
    """The part of a run between its start-up and its end, by its own clock."""
    if "loop_seconds" in said:
        return float(said["loop_seconds"])
    return float(said["seconds"] - said["stage_seconds"].get("start", 0.0))


def read_answers(table: Path) -> tuple[Answers, int]:
    """The answers in a table, and its number of rows."""
    dataset = ds.dataset(table.absolute())  # a relative name with a colon is an address to Arrow
    columns = [name for name in ("path", "p_crack", "verdict") if name in dataset.schema.names]
    rows = dataset.to_table(columns=columns).to_pylist()
    return {row["path"]: Answer(row["p_crack"], row.get("verdict")) for row in rows}, len(rows)
