"""Rows of a result table by the path of their file, whatever bytes that is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds

from inspector.core.layout import Layout
from inspector.photos.address import path_of

if TYPE_CHECKING:
    from pathlib import Path

    Row = dict[str, Any]

_COLUMNS = ["uri", "status", "verdict", "p_crack", "failure_code", "format"]


def rows_by_path(out: Path) -> dict[str, list[Row]]:
    """All rows, by path as the operating system has it; more than one only where a promise was
    broken. Empty when there is no table."""
    rows: dict[str, list[Row]] = {}
    if Layout(out).part_names():
        for row in ds.dataset(out, format="parquet").to_table(_COLUMNS).to_pylist():
            rows.setdefault(path_of(row["uri"]), []).append(row)
    return rows
