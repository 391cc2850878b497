"""Selecting photos: patterns that name many at once, and patterns that leave some out."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.errors import SourceError, UsageError
from inspector.photos.address import LOCAL, Inside, is_uri, unquoted, without_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NO_PHOTOS = frozenset(
    {
        "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", ".@__thumb",
        "__macosx", ".thumbnails", ".snapshot", ".zfs", ".trash", ".trashes", ".spotlight-v100",
        ".fseventsd", ".temporaryitems", "$recycle.bin", "recycler", "system volume information",
        "lost+found",
    }
)  # fmt: skip
"""Directories, in lower case, in which NAS devices, file managers and operating systems keep
thumbnails, copies and what was deleted: entered only where they are named as a source."""
_TRASH = ".trash-"
"""Beginning of the name of a file manager's waste bin on a mounted drive."""
APPLE_DOUBLE = "._"
"""Beginning of the names under which macOS keeps a file's attributes on foreign file systems."""
_WINDOWS = os.name == "nt"
_DRIVE = re.compile("[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of paths: `*`, `?`, `[...]` within a name, `**` for any number of directories."""

    text: str
    names: tuple[re.Pattern[str] | None, ...]
    """Patterns of the names of a path, in turn; None stands for `**`."""
    dirs_only: bool
    hidden: bool
    """Whether a `*` also stands for the dot at a name's beginning, which it does not in shells."""

    def __str__(self) -> str:
        return repr(self.text)

    @classmethod
    def of(cls, text: str, *, hidden: bool, windows: bool = _WINDOWS) -> Pattern:
        """Parse a pattern; on Windows, whether a letter is a capital says nothing."""
        text = _slashed(text, windows)
        names = [name for name in text.split("/") if name not in ("", ".")]
        flags = re.IGNORECASE if windows else 0
        compiled = (None if name == "**" else _compiled(name, flags, hidden) for name in names)
        return cls(text, tuple(compiled), text.endswith("/"), hidden)

    def matches(self, names: Sequence[str], *, is_dir: bool) -> bool:
        """Whether the path with these names matches."""
        return (is_dir or not self.dirs_only) and self._fits(names, self.names)

    def reaches(self, names: Sequence[str]) -> bool:
        """Whether it matches the file with these names, or a directory on the way to it."""
        return self.matches(names, is_dir=False) or any(
            self.matches(names[:depth], is_dir=True) for depth in range(1, len(names))
        )

    def may_match_below(self, names: Sequence[str]) -> bool:
        """Whether a path that begins with these names may match."""
        for name, wanted in zip(names, self.names, strict=False):
            if wanted is None:
                break
            if not wanted.fullmatch(name):
                return False
        else:
            return len(names) < len(self.names)
        return self.hidden or not any(name.startswith(".") for name in names)

    def spells(self, names: Sequence[str]) -> bool:
        """Whether the pattern spells out this path or leads through it, name by name and not by
        `**`. Links are followed then, as if the path had been written out."""
        wanted = self.names[: len(names)]
        return len(wanted) == len(names) and all(
            one is not None and one.fullmatch(name) for one, name in zip(wanted, names, strict=True)
        )

    def _fits(self, names: Sequence[str], wanted: Sequence[re.Pattern[str] | None]) -> bool:
        if not wanted:
            return not names
        if wanted[0] is not None:
            first = names and wanted[0].fullmatch(names[0])
            return bool(first) and self._fits(names[1:], wanted[1:])
        for skipped in range(len(names) + 1):
            if self._fits(names[skipped:], wanted[1:]):
                return True
            if skipped < len(names) and names[skipped].startswith(".") and not self.hidden:
                return False
        return False


class Excludes:
    """Files and directories that a listing leaves out: those that one of `patterns` matches, and by
    default what holds nobody's photos (`NO_PHOTOS`). A pattern without a slash is that of a name
    in any directory, with one it is that of a path from the source on. `counts` says how much was
    left out, by what matched; a directory counts once."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.counts: Counter[str] = Counter()
        every = [Pattern.of(text, hidden=True) for text in patterns]
        self._names = [pattern for pattern in every if "/" not in pattern.text.rstrip("/")]
        self._paths = [pattern for pattern in every if pattern not in self._names]

    def leave_out(self, name: str, below: tuple[str, ...], *, is_dir: bool) -> bool:
        """Whether to leave out, and count, the entry `name` of the directory `below` a source."""
        if is_dir:
            lower = name.lower()
            if lower in NO_PHOTOS or lower.startswith(_TRASH):
                self.counts[f"{name}/"] += 1
                return True
        return self._matched((*below, name), is_dir=is_dir)

    def leave_out_source(self, path: str, *, is_dir: bool) -> bool:
        """Whether to leave out a source: by its own name, whatever directory it is in."""
        return self._matched((os.path.basename(os.path.abspath(path)),), is_dir=is_dir)

    def leave_out_named(self, path: str) -> bool:
        """Whether to leave out a file that a list names: by its name, or by a directory in it."""
        inside = Inside.of(path)
        path = f"{inside.archive}/{inside.name}" if inside else path
        if is_uri(path):
            path = unquoted(without_page(path.removeprefix(LOCAL)))
        names = tuple(name for name in _slashed(path).split("/") if name not in ("", "."))
        ends = range(1, len(names) + 1)
        return any(self._matched(names[:end], is_dir=end < len(names)) for end in ends)

    def _matched(self, names: tuple[str, ...], *, is_dir: bool) -> bool:
        for patterns, part in ((self._names, names[-1:]), (self._paths, names)):
            for pattern in patterns:
                if pattern.matches(part, is_dir=is_dir):
                    self.counts[pattern.text] += 1
                    return True
        return False


def split_pattern(text: str, *, windows: bool = _WINDOWS) -> tuple[str, Pattern] | None:
    """Split a text into a directory and the pattern below that; None for a text that is no pattern.
    The name of something that exists is none, such as `[1]`."""
    text = _slashed(os.path.expanduser(text), windows)
    names = text.split("/")
    for place, name in enumerate(names):
        here = "/".join(names[: place + 1])
        if set("*?[") & set(name) and not os.path.lexists(here):
            root = "/".join(names[:place])
            top = "/" if text.startswith("/") and not root else root or "."
            if windows and _DRIVE.fullmatch(top):
                top += "/"  # without it, the directory that is current on that drive
            return top, Pattern.of("/".join(names[place:]), hidden=False, windows=windows)
    return None


def _slashed(path: str, windows: bool = _WINDOWS) -> str:
    """Return a path or a pattern with slashes, where backslashes may stand for them."""
    return path.replace("\\", "/") if windows else path


def _compiled(name: str, flags: int, hidden: bool) -> re.Pattern[str]:
    shown = hidden or name.startswith(".")
    return re.compile(("" if shown else r"(?!\.)") + fnmatch.translate(name), flags)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` shares of all photos, numbered from 0: a photo belongs to the share that a
    hash of its uri names, whatever else is listed with it, on every machine and in every version.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`0/3`. Raises UsageError."""
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if match is None or not int(match[2]):
            raise UsageError(f"--shard {text!r} is no number of a shard and their count, as in 0/3")
        number, count = int(match[1]), int(match[2])
        if number >= count:
            raise UsageError(f"--shard {text!r}: {count:,} shards are numbered 0 to {count - 1:,}")
        return cls(number, count)

    def has(self, uri: str) -> bool:
        """Whether the photo of this uri belongs to it."""
        digest = hashlib.blake2b(uri.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


class Once:
    """A set of the uris that have been met: in little memory, and on disk beyond."""

    def __init__(self) -> None:
        import sqlite3

        self.repeated = 0
        self._error = sqlite3.Error
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-16000"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.execute("CREATE TABLE met (uri TEXT PRIMARY KEY) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def meets(self, uri: str) -> bool:
        """Add a uri; whether it is new. Raises SourceError where there is no room for temporary
        files."""
        try:
            new = self._db.execute("INSERT OR IGNORE INTO met VALUES (?)", (uri,)).rowcount == 1
        except self._error as error:
            raise SourceError(
                f"cannot note in a temporary file what was met ({error}); point TMPDIR to a "
                "directory with room"
            ) from error
        self.repeated += not new
        return new
