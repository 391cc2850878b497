"""What programs that read directories of Parquet files take for files of a table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inspector.core.layout import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def files_below(out: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What readers take for files of the table, with the path relative to `out`.

    Readers of `OUT/table` want nothing but Parquet files in it; `OUT/**/*.parquet` takes every file
    below `out` that is called like one. Raises OSError for `out`; a directory below it that cannot
    be listed is itself yielded.
    """
    waiting: list[tuple[str, str, os.DirEntry[str] | None]] = [("", os.fspath(out), None)]
    while waiting:
        prefix, folder, itself = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            if itself is None:
                raise
            yield prefix, itself
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{prefix}{entry.name}/", entry.path, entry))
            elif prefix.startswith(f"{TABLE}/") or entry.name.endswith(".parquet"):
                yield prefix + entry.name, entry
