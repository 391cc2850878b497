"""A result directory as those find it who only read: whether it is one, and who is writing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inspector.data.labels import LABEL_FILES
from inspector.data.source import RESULTS_DIR
from inspector.durable import PARTIAL
from inspector.errors import OutputError
from inspector.scan.parts import is_part_name

if TYPE_CHECKING:
    from pathlib import Path

_LOCKS = "/proc/locks"


def refuse_other(out: Path) -> None:
    """Raises OutputError where `out` is no result directory of a scan."""
    try:
        names = os.listdir(out)
    except OSError as error:
        raise OutputError(f"cannot read {out}: {error.strerror or error}") from error
    if RESULTS_DIR not in names and not any(map(is_part_name, names)):
        raise OutputError(f"{out} holds no results of a scan; name the --out of one")


def is_being_written(out: Path) -> bool:
    """Whether a process holds a lock in the working directory, as far as the kernel tells: to ask
    by trying to lock could make a scan that starts just then believe it is the second one. Who
    holds the labels does not write to the table."""
    try:
        with os.scandir(out / RESULTS_DIR) as listing, open(_LOCKS, encoding="ascii") as stream:
            inodes = {entry.inode() for entry in listing if entry.name not in LABEL_FILES}
            fields = [line.split() for line in stream]
    except (OSError, ValueError):
        return False
    return any(int(f[5].rpartition(":")[2]) in inodes for f in fields if len(f) > 5)


def leftovers(out: Path) -> list[Path]:
    """Files of a scan that was killed before they were complete. Where a scan is writing, its own
    are among them."""
    return [file for folder in (out, out / RESULTS_DIR) for file in sorted(
        folder.glob(f"*{PARTIAL}"))]  # fmt: skip
