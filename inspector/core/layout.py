"""A result directory: the places in it, and whether it is one.

    OUT/table/part-000000.parquet ...   the table: part files and nothing else
    OUT/_report.html                    the page of `inspector report`
    OUT/_heatmaps/<name>.jpg            overlays of photos (`inspector scan --heatmaps`)
    OUT/_inspector/manifest.json        which scan the table belongs to, and its parts
    OUT/_inspector/manifest.journal     what has become of them since, while a scan writes
    OUT/_inspector/part-000000.photos ...   whose rows a part has, should it get lost
    OUT/_inspector/next, before         the table to be and the one that was, while one replaces
                                        the other (`inspector rejudge`)
    OUT/_inspector/lock                 held by the one scan that writes
    OUT/_inspector/watch.lock           held by the one watch that scans whenever photos arrive
    OUT/_inspector/*.partial            files in the making; worthless after a crash
    OUT/_inspector/labels.jsonl         what people said about the photos
    OUT/_inspector/labels.lock          held by the one review that adds to them

Programs that read directories of Parquet files skip names that begin with `_`, so they take OUT as
well as OUT/table; nothing else below OUT ends in `.parquet`.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from inspector.core.durable import PARTIAL, patiently, sync_directory
from inspector.core.untrusted import opened
from inspector.errors import OutputError

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path


TABLE = "table"
RESULTS_DIR = "_inspector"
HEATMAPS = "_heatmaps"
MANIFEST = "manifest.json"
_ENDING, _PHOTOS = ".parquet", ".photos"
_PART = re.compile(r"part-(\d{6,})\.parquet")
_LITTER = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini", re.I | re.S)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 80


class Layout:
    """The places in the result directory `out`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.table = out / TABLE
        self.work = out / RESULTS_DIR
        self.next_table = self.work / "next"
        self.table_before = self.work / "before"
        self.manifest = self.work / MANIFEST
        self.journal = self.work / "manifest.journal"
        self.lock = self.work / "lock"
        self.watch_lock = self.work / "watch.lock"
        self.labels = self.work / "labels.jsonl"
        self.labels_lock = self.work / "labels.lock"
        self.page = out / "_report.html"
        self.heatmaps = out / HEATMAPS

    def heatmap(self, uri: str) -> Path:
        """Return the place of a photo's overlay: by its name, for people, and its uri, which no
        other photo has."""
        name = _UNSAFE.sub("_", unquote(uri.rpartition("/")[2], errors="replace"))[:_LONGEST_NAME]
        return self.heatmaps / f"{name}-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.jpg"

    def draft(self, name: str) -> Path:
        """Return the place where a part or the manifest is made before it gets its name."""
        return self.work / f"{name}{PARTIAL}"

    def photos(self, part: str) -> Path:
        """Return the file that lists the photos with a row in a part."""
        return self.work / f"{part.removesuffix(_ENDING)}{_PHOTOS}"

    def photo_lists(self) -> dict[str, Path]:
        """Return the lists of photos that are there, by the name of the part. Raises OSError."""
        names = [name.removesuffix(_PHOTOS) + _ENDING for name in os.listdir(self.work)
                 if name.endswith(_PHOTOS)]  # fmt: skip
        return {name: self.photos(name) for name in filter(is_part_name, names)}

    def drafts(self) -> list[Path]:
        """Return the drafts that are there: of a scan that was killed, or of one that is
        writing."""
        if not self.work.is_dir():
            return []
        names = (name.removesuffix(PARTIAL) for name in os.listdir(self.work)
                 if name.endswith(PARTIAL))  # fmt: skip
        return [self.draft(name) for name in sorted(names)
                if name == MANIFEST or is_part_name(name.replace(_PHOTOS, _ENDING))]  # fmt: skip

    def part_names(self) -> list[str]:
        """Return the names of the part files, in the order in which they were made. Raises
        OSError."""
        if not self.table.is_dir():
            return []
        return sorted(filter(is_part_name, os.listdir(self.table)), key=number_of)

    def parts(self) -> list[Path]:
        """Return the paths of `part_names`. Raises OSError."""
        return [self.table / name for name in self.part_names()]

    def next_part(self, name: str) -> Path:
        """Return the place of a part of the next table; patterns for Parquet files do not match
        it."""
        return self.next_table / f"{name}{PARTIAL}"

    def clear(self, folder: Path) -> None:
        """Remove `next_table` or `table_before`, as far as a scan or a file manager has made them.
        Raises OSError."""
        if not folder.is_dir():
            return
        for name in os.listdir(folder):
            if is_part_name(name.removesuffix(PARTIAL)) or _LITTER.fullmatch(name):
                patiently((folder / name).unlink, True)
        if not os.listdir(folder):
            patiently(folder.rmdir)

    def remove_own(self) -> None:
        """Remove a scan's files, never people's labels; the manifest last, which says whose they
        are. Raises OSError."""
        for folder in (self.next_table, self.table_before):
            self.clear(folder)
        for file in (*self.parts(), *self.photo_lists().values()):
            patiently(file.unlink)
        if self.table.is_dir():
            sync_directory(self.table)
        patiently(self.journal.unlink, True)
        patiently(self.manifest.unlink, True)

    def check(self) -> None:
        """Raise OutputError where a link stands for one of these directories; OSError."""
        own = (self.table, self.work, self.next_table, self.table_before, self.heatmaps)
        for folder in own:
            if folder.is_symlink():
                raise OutputError(
                    f"{folder} is a link, and only a directory of its own may hold results; "
                    "remove the link, or choose another --out"
                )


def part_name(number: int) -> str:
    return f"part-{number:06d}.parquet"


def is_part_name(name: str) -> bool:
    return _PART.fullmatch(name) is not None


def number_of(name: str) -> int:
    match = _PART.fullmatch(name)
    assert match is not None
    return int(match[1])


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


def refuse_unknown(out: Path) -> None:
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
