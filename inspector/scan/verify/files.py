"""What programs that read directories of Parquet files take for files of a table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inspector.layout import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def files_below(out: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What readers take for files of the table, with the path relative to `out`.

    `pyarrow.dataset` enters directories and takes whatever is in them, whatever the suffix,
    except for names that begin with `_` or `.`; DuckDB's `OUT/**/*.parquet` takes those as well;
    others want nothing but Parquet files in `OUT/table`. Raises OSError for `out`; a directory
    below it that cannot be listed is itself yielded.
    """
    waiting: list[tuple[str, str, bool, os.DirEntry[str] | None]]
    waiting = [("", os.fspath(out), False, None)]
    while waiting:
        prefix, folder, hidden, itself = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            if itself is None:
                raise
            if not hidden:
                yield prefix, itself
            continue
        for entry in entries:
            below = hidden or entry.name.startswith(("_", "."))
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{prefix}{entry.name}/", entry.path, below, entry))
            elif not below or prefix == f"{TABLE}/" or entry.name.endswith(".parquet"):
                yield prefix + entry.name, entry
