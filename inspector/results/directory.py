"""A result directory as those find it who only read: whether it is one, and who is writing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inspector.core.layout import RESULTS_DIR, TABLE, Layout
from inspector.core.plain import opened
from inspector.errors import OutputError

if TYPE_CHECKING:
    from io import BufferedReader
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
        with opened(Layout(out).lock) as stream:
            wanted = f"{_device_of(stream)}:{os.fstat(stream.fileno()).st_ino}"
        with open(_LOCKS, encoding="ascii") as locks:
            return any(wanted in line.split() for line in locks)
    except (OSError, ValueError, StopIteration):
        return False


def _device_of(stream: BufferedReader) -> str:
    """The device of an open file as the kernel's list of locks names it: that of its mount. On
    Btrfs, `stat` gives another one."""
    with open(f"/proc/self/fdinfo/{stream.fileno()}", encoding="ascii") as facts:
        mount = next(line.split()[1] for line in facts if line.startswith("mnt_id:"))
    with open("/proc/self/mountinfo", "rb") as mounts:
        fields = next(f for f in map(bytes.split, mounts) if f[0] == mount.encode())
    major, minor = map(int, fields[2].split(b":"))
    return f"{major:02x}:{minor:02x}"
