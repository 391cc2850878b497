"""A table that takes the place of another: written beside it, then switched to at once.

Every step, and what is true between any two, stands in docs/explanation/durability.md.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from inspector.core.durable import (
    make_directory,
    patiently,
    reporting,
    sync_directory,
    write_synced,
)
from inspector.core.layout import Layout, number_of, part_name
from inspector.results.lost import list_of
from inspector.results.manifest import AGAIN, Manifest, Part
from inspector.results.parts import counted, encode, outcomes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from inspector.results.store import Results


LISTED = 20_000
"""Photos of a list at most: with the longest paths that there are, it can still be read."""


@contextmanager
def next_table(results: Results) -> Iterator[NextTable]:
    """Begin the table that is to follow that of `results`; where it cannot be completed, its parts
    are removed. Raises OutputError."""
    at = Layout(results.out)
    with reporting(results.name, lambda: "its table is as it was"):
        try:
            yield NextTable(results)
        except BaseException:
            with suppress(OSError):
                at.clear(at.next_table)
            raise


class NextTable:
    """The table that is to follow that of `results`; `Results.switch` puts it there."""

    def __init__(self, results: Results) -> None:
        """Raises OSError where it cannot be begun."""
        self._at = Layout(results.out)
        # Other names than any part has or had: who reads the old ones never meets a new one.
        names = [part.file for part in (*results.parts, *results.lost.parts.values())]
        self._number = max(map(number_of, names), default=-1)
        self.parts: list[Part] = []
        self.again: list[Part] = []
        """Rows that are to be made again."""
        self.outcomes: Counter[str] = Counter()
        make_directory(self._at.next_table)

    def next_path(self) -> tuple[str, Path]:
        """The name of the next part, and the file that is to hold it until the switch."""
        self._number += 1
        name = part_name(self._number)
        return name, self._at.next_part(name)

    def write(self, rows: pa.Table) -> None:
        """Add a part. Raises OSError."""
        content, (name, path) = encode(rows), self.next_path()
        write_synced(content, path)
        self.take(name, hashlib.sha256(content).hexdigest(), rows)

    def take(self, name: str, sha256: str, rows: pa.Table) -> None:
        """Add the part that `next_path` has by now, with these rows. Raises OSError."""
        self._list(name, rows["uri"].to_pylist())
        self.parts.append(Part(name, rows.num_rows, sha256))
        self.outcomes += counted(outcomes_of(rows))

    def leave_out(self, uris: Sequence[str]) -> None:
        """Note photos that are to be judged again. Raises OSError."""
        for start in range(0, len(uris), LISTED):
            some, (name, _) = uris[start : start + LISTED], self.next_path()
            self._list(name, some)
            self.again.append(Part(name, len(some), AGAIN))

    def _list(self, name: str, uris: Sequence[str]) -> None:
        write_synced(list_of(uris), self._at.photos(name))


def complete_switch(at: Layout) -> None:
    """Let the next table take the place of this one, from wherever a crash has left that. Raises
    OSError, OutputError."""
    manifest = Manifest.read(at.out)
    if manifest is None or manifest.next is None:
        at.clear(at.next_table)
        return
    if at.next_table.is_dir():
        for part in manifest.next.parts:
            if at.next_part(part.file).exists():
                patiently(os.replace, at.next_part(part.file), at.next_table / part.file)
        sync_directory(at.next_table)
        if at.table.is_dir():
            at.clear(at.table_before)
            patiently(os.replace, at.table, at.table_before)
        patiently(os.replace, at.next_table, at.table)
    sync_directory(at.out)
    sync_directory(at.work)
    at.clear(at.table_before)
    manifest.next.write(at.out)
