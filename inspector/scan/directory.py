"""A result directory as those find it who only read: whether it is one, and who is writing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inspector.errors import OutputError
from inspector.layout import RESULTS_DIR, TABLE, Layout

if TYPE_CHECKING:
    from pathlib import Path

_LOCKS = "/proc/locks"


def refuse_other(out: Path) -> None:
    """Raises OutputError where `out` is no result directory of a scan."""
    try:
        names = os.listdir(out)
        Layout(out).check()
    except OSError as error:
        raise OutputError(f"cannot read {out}: {error.strerror or error}") from error
    if not {RESULTS_DIR, TABLE} & set(names):
        raise OutputError(f"{out} holds no results of a scan; name the --out of one")


def is_being_written(out: Path) -> bool:
    """Whether a process holds the lock of the table, as far as the kernel tells: to ask by trying
    to lock could make a scan that starts just then believe it is the second one."""
    try:
        inode = os.stat(Layout(out).lock).st_ino
        with open(_LOCKS, encoding="ascii") as stream:
            fields = [line.split() for line in stream]
    except (OSError, ValueError):
        return False
    return any(int(f[5].rpartition(":")[2]) == inode for f in fields if len(f) > 5)
