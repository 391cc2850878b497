"""One table takes the place of another: the last steps, which a crash may leave anywhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inspector.core.durable import sync_directory
from inspector.results.manifest import Manifest

if TYPE_CHECKING:
    from inspector.core.layout import Layout


def complete_switch(at: Layout) -> None:
    """If a table is to take the place of another: let it, from wherever a crash has left that.
    Raises OSError, OutputError."""
    manifest = Manifest.read(at.out)
    if manifest is None or manifest.next is None:
        at.clear(at.next_table)
        return
    if at.next_table.is_dir():
        for part in manifest.next.parts:
            if at.next_part(part.file).exists():
                os.replace(at.next_part(part.file), at.next_table / part.file)
        sync_directory(at.next_table)
        if at.table.is_dir():
            os.replace(at.table, at.table_before)
        os.replace(at.next_table, at.table)
    sync_directory(at.out)
    sync_directory(at.work)
    at.clear(at.table_before)
    manifest.next.write(at.out)
