"""Finding the photos: directories and single files as one stream of `ImageRef`.

Nothing is listed ahead: memory holds the names of one chain of directories, from a source down to
the one being read. Inside a directory the order is that of the names' bytes, so it is the same on
every run. Whatever is not a photo is counted, never dropped in silence.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

from inspector.data.content import open_without_waiting
from inspector.data.formats import MAGIC_BYTES, named_like_an_image, sniff
from inspector.errors import SourceError
from inspector.layout import RESULTS_DIR
from inspector.types import ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_Inode = tuple[int, int]
"""Device and inode: the same for every way to spell a directory's name."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A directory whose photos are missing from the listing, wholly or from some point on."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Source:
    """What one argument names. `path` is as given, `uri` its absolute address."""

    path: str
    uri: str
    is_dir: bool
    inode: _Inode
    """Of the directory, or of the directory that holds the file."""
    name: str


@dataclass(slots=True)
class _Level:
    """An open directory: what is left of it, last first."""

    uri: str
    inode: _Inode | None
    entries: list[os.DirEntry[str]]


class Discovery:
    """The photos of `sources` (directories, or files by name), to be iterated once; the counters
    fill while iterating.

    A name that ends like an image's is a photo, whatever it holds; another regular file is one if
    its first bytes are an image's; an explicitly named file always is. Links to files are read;
    links to directories are only followed if `follow_symlinks`, and then a directory that can be
    reached in several ways is covered once, where the listing meets it first: no loop is endless.
    Sources that are equal or lie in one another are covered once.

    Raises SourceError, before anything is listed, for a source that does not exist or is a
    directory that cannot be listed.
    """

    def __init__(self, sources: Sequence[str], *, follow_symlinks: bool = False) -> None:
        self.discovered = 0
        self.ignored_by_suffix: Counter[str] = Counter()
        """Files that are no images, by lower-case name ending."""
        self.unreadable_dirs: list[Unread] = []
        self.linked_dirs: list[str] = []
        """Links to directories, not followed."""
        self.notes: list[str] = []
        self.sources: list[_Source] = []
        self._follow_symlinks = follow_symlinks
        self._entered: set[_Inode] = set()
        """Directories below the sources; kept only where links may lead to one again."""
        self._claimed_dirs: set[_Inode] = set()
        self._claimed_files: set[tuple[_Inode, str]] = set()
        for source in sources:
            self._claim(_examine_source(source))

    def __iter__(self) -> Iterator[ImageRef]:
        for source in self.sources:
            if not source.is_dir:
                yield self._ref(source.path, source.uri, _facts(source.path))
                continue
            for entry, uri in self.entries(source):
                about = _facts(entry.path)
                if self._is_photo(entry, about):
                    yield self._ref(entry.path, uri + _quoted(entry.name), about)

    def _claim(self, source: _Source) -> None:
        """Take a source over unless it repeats another. A source inside another is left out where
        the outer one reaches it, so that each is covered exactly once, under its own name."""
        key = (source.inode, source.name)
        if source.inode in self._claimed_dirs if source.is_dir else key in self._claimed_files:
            self.notes.append(f"{source.path} is named twice; it is covered once")
            return
        if source.is_dir:
            self._claimed_dirs.add(source.inode)
        else:
            self._claimed_files.add(key)
        self.sources.append(source)

    def entries(self, source: _Source) -> Iterator[tuple[os.DirEntry[str], str]]:
        """Everything below a source that is no directory, with its directory's address."""
        levels = [self._list(source.path, source.uri)]
        while levels:
            level = levels[-1]
            if not level.entries:
                levels.pop()
                continue
            entry = level.entries.pop()
            if _is_dir(entry, self._follow_symlinks):
                if entry.name != RESULTS_DIR and self._enters(entry):
                    levels.append(self._list(entry.path, level.uri + _quoted(entry.name) + "/"))
            elif not self._is_claimed_file(level, entry):
                yield entry, level.uri

    def _list(self, path: str, uri: str) -> _Level:
        """All of one directory; what cannot be listed is recorded and the rest is used."""
        entries: list[os.DirEntry[str]] = []
        inode = None
        try:
            if self._claimed_files:
                inode = _inode(os.stat(path))
            with os.scandir(path) as listing:
                entries.extend(listing)
        except OSError as error:
            self.unreadable_dirs.append(Unread(path, error.strerror or type(error).__name__))
        entries.sort(key=lambda entry: os.fsencode(entry.name), reverse=True)
        return _Level(uri, inode, entries)

    def _enters(self, entry: os.DirEntry[str]) -> bool:
        """Whether a directory is to be covered, and from here."""
        if len(self._claimed_dirs) < 2 and not self._follow_symlinks:
            return True
        about = _facts(entry.path)
        if about is None:
            return True  # what is wrong with it is recorded when it is listed
        inode = _inode(about)
        if inode in self._claimed_dirs:
            self.notes.append(f"{entry.path} is a source of its own; it is covered once")
            return False
        if not self._follow_symlinks:
            return True
        if inode in self._entered:
            self.notes.append(f"{entry.path} is a directory met before; it is covered once")
            return False
        self._entered.add(inode)
        return True

    def _is_claimed_file(self, level: _Level, entry: os.DirEntry[str]) -> bool:
        if level.inode is None or (level.inode, entry.name) not in self._claimed_files:
            return False
        self.notes.append(f"{entry.path} is a source of its own; it is covered once")
        return True

    def _is_photo(self, entry: os.DirEntry[str], about: os.stat_result | None) -> bool:
        if about is not None and stat.S_ISDIR(about.st_mode):
            self.linked_dirs.append(entry.path)
            return False
        if named_like_an_image(entry.name):
            return True
        regular = about is not None and stat.S_ISREG(about.st_mode)
        if regular and _holds_image(entry.path):
            return True
        self.ignored_by_suffix[suffix_of(entry.name)] += 1
        return False

    def _ref(self, path: str, uri: str, about: os.stat_result | None) -> ImageRef:
        index = self.discovered
        self.discovered += 1
        if about is None:
            return ImageRef(index, path, uri, None, None)
        return ImageRef(index, path, uri, about.st_size, about.st_mtime_ns // 1000)


def suffix_of(name: str) -> str:
    """The lower-case name ending by which files are counted, or `(none)`."""
    return os.path.splitext(name)[1].lower() or "(none)"


def count_images(sources: Sequence[str], *, follow_symlinks: bool = False) -> int:
    """How many photos `sources` hold, judged by names alone: quick, for an estimate of the time
    left. Raises SourceError."""
    walk = Discovery(sources, follow_symlinks=follow_symlinks)
    return sum(
        sum(named_like_an_image(entry.name) for entry, _ in walk.entries(source))
        if source.is_dir
        else 1
        for source in walk.sources
    )


def path_of(uri: str) -> str:
    """The path that a listed file's address stands for."""
    if os.name == "nt":
        from urllib.request import url2pathname

        return url2pathname(uri.removeprefix("file:"))
    return os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))


def _examine_source(path: str) -> _Source:
    try:
        about = os.stat(path)
        absolute = _absolute(path)
        uri = Path(absolute).as_uri()
        if stat.S_ISDIR(about.st_mode):
            with os.scandir(path):
                return _Source(path, uri.rstrip("/") + "/", True, _inode(about), "")
        holder = os.stat(os.path.dirname(absolute))
        return _Source(path, uri, False, _inode(holder), os.path.basename(absolute))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(
            f"cannot scan {path!r}: {reason}; name a directory or a file that can be read"
        ) from error


def _absolute(path: str) -> str:
    """The absolute path without `..`; links are kept unless leaving one by `..` went through it."""
    plain = os.path.abspath(path)
    try:
        if os.path.samefile(plain, path):
            return plain
    except OSError:
        pass
    return os.path.realpath(path)


def _quoted(name: str) -> str:
    return quote_from_bytes(os.fsencode(name), safe="")


def _inode(about: os.stat_result) -> _Inode:
    return about.st_dev, about.st_ino


def _facts(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _is_dir(entry: os.DirEntry[str], follow_symlinks: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow_symlinks)
    except OSError:
        return False


def _holds_image(path: str) -> bool:
    """Whether a file's first bytes are an image's; never waits on what became a pipe meanwhile."""
    try:
        with open(path, "rb", buffering=0, opener=open_without_waiting) as file:
            return sniff(file.read(MAGIC_BYTES) or b"") is not None
    except OSError:
        return False
