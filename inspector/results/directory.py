"""Checks of a result directory: is it one, is it ours, is a scan writing to it?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inspector.core.layout import MANIFEST, RESULTS_DIR, TABLE, Layout
from inspector.core.untrusted import opened
from inspector.errors import OutputError

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

_LOCKS = "/proc/locks"


def refuse_other(out: Path) -> None:
    """Raise OutputError where `out` is no result directory of a scan."""
    try:
        names = os.listdir(out)
        Layout(out).check()
    except OSError as error:
        raise OutputError(f"cannot read {out}: {error.strerror or error}") from error
    if not {RESULTS_DIR, TABLE} & set(names):
        raise OutputError(f"{out} holds no results of a scan; name the --out of one")


def refuse_foreign(out: Path) -> None:
    """Raise OutputError where no scan may write to `out`: it is no directory, or holds a table that
    is not ours."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; --out must name a directory")
    at = Layout(out)
    at.check()
    if at.table.is_dir() and not os.path.lexists(at.manifest):
        for name in os.listdir(at.table):
            raise OutputError(
                f"{out} holds {TABLE}/{name} but no {RESULTS_DIR}/{MANIFEST}, so it is not known "
                "whose it is; choose another --out"
            )


def is_being_written(out: Path) -> bool:
    """Tell whether a process holds the lock of the table, as far as the kernel says. (To ask by
    trying to lock could make a scan that starts just then believe it is the second one.)"""
    try:
        with opened(Layout(out).lock) as stream:
            wanted = f"{_device_of(stream)}:{os.fstat(stream.fileno()).st_ino}"
        with open(_LOCKS, encoding="ascii") as locks:
            return any(wanted in line.split() for line in locks)
    except (OSError, ValueError, StopIteration):
        return False


def _device_of(stream: BufferedReader) -> str:
    """Return the device of an open file as the kernel's list of locks names it: that of its mount.
    On Btrfs, `stat` gives another one."""
    with open(f"/proc/self/fdinfo/{stream.fileno()}", encoding="ascii") as facts:
        mount = next(line.split()[1] for line in facts if line.startswith("mnt_id:"))
    with open("/proc/self/mountinfo", "rb") as mounts:
        fields = next(f for f in map(bytes.split, mounts) if f[0] == mount.encode())
    major, minor = map(int, fields[2].split(b":"))
    return f"{major:02x}:{minor:02x}"
