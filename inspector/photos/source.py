"""Finding the photos: directories, single files, patterns and lists as one stream of `ImageRef`.

Nothing is listed ahead: memory holds the names of one chain of directories, from a source down to
the one being read. Inside a directory the order is that of the names' bytes, so it is the same on
every run. Whatever is not a photo, or is left out, is counted, never dropped in silence.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING

from inspector.core.layout import MANIFEST, RESULTS_DIR
from inspector.errors import SourceError
from inspector.photos.address import directory_uri, path_of, quoted
from inspector.photos.content import open_without_waiting
from inspector.photos.formats import MAGIC_BYTES, named_like_an_image, sniff
from inspector.photos.lists import Once, is_list, names_in
from inspector.photos.patterns import Excludes, Pattern, split_pattern
from inspector.types import ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OURS = (b'"schema_version"', b'"fingerprint"')
"""What the manifest of a scan's results begins with, among other things."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A directory whose photos are missing from the listing, wholly or from some point on."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class _Kind(Enum):
    DIRECTORY = auto()
    FILE = auto()
    LIST = auto()


@dataclass(frozen=True, slots=True)
class Source:
    """What one argument names. `path` is as given; of a pattern, its directory."""

    path: str
    uri: str
    """Of a directory it ends in a slash; empty for a list."""
    kind: _Kind
    pattern: Pattern | None = None
    """Which paths below the directory are meant; None: all."""

    @property
    def is_dir(self) -> bool:
        return self.kind is _Kind.DIRECTORY

    def covers(self, uri: str) -> bool:
        """Whether a photo of this address would be listed, were it there, below the directory."""
        if not self.is_dir or not uri.startswith(self.uri):
            return False
        if self.pattern is None:
            return True
        names = path_of(uri).removeprefix(path_of(self.uri)).split("/")
        return self.pattern.matches(names, is_dir=False) or any(
            self.pattern.matches(names[:depth], is_dir=True) for depth in range(1, len(names))
        )


@dataclass(slots=True)
class _Level:
    """An open directory: what is left of it, last first. `below` is its path from the source on."""

    uri: str
    below: tuple[str, ...]
    chosen: bool
    """Everything in it is meant."""
    entries: list[os.DirEntry[str]]


class Discovery:
    """The photos of `sources`, to be iterated once; the counters fill while iterating.

    A source is a directory, a file, a pattern (`photos/**/*.jpg`), or a list of files and
    directories (`@list.txt`, or `-` for the standard input). In a directory, a name that ends like
    an image's is a photo, whatever it holds; another regular file is one if its first bytes are an
    image's; what is named, on the command line or in a list, always is, and if it is not there that
    is what its row says. Links to files are read; links to directories are only followed if
    `follow_symlinks`; no loop is endless. What `exclude` matches is left out.

    Every photo is covered once, under the one uri that it has however a source is spelled
    (`data.address`). Raises SourceError, before anything is listed, for a source that does not
    exist or is a directory or a list that cannot be read, and for a pattern that no file matches.
    """

    def __init__(
        self, sources: Sequence[str], *, follow_symlinks: bool = False, exclude: Sequence[str] = ()
    ) -> None:
        self.discovered = 0
        self.ignored_by_suffix: Counter[str] = Counter()
        """Files that are no images, by lower-case name ending."""
        self.unreadable_dirs: list[Unread] = []
        self.linked_dirs: list[str] = []
        """Links to directories, not followed."""
        self.notes: list[str] = []
        self.sources: list[Source] = []
        self._follow_symlinks = follow_symlinks
        self._excludes = Excludes(exclude)
        self._entered: set[str] = set()
        """Directories below the sources; kept only where links may lead to one again."""
        self._claimed: set[str] = set()
        """Directories and files that are sources."""
        for source in sources:
            self._claim(_examine(source))
        listed = any(source.kind is _Kind.LIST for source in self.sources)
        patterns = [source for source in self.sources if source.pattern]
        self._once = Once() if listed or patterns else None
        for pattern in patterns:
            probe = Discovery((), follow_symlinks=follow_symlinks, exclude=exclude)
            if next(probe.entries(pattern), None) is None:
                raise SourceError(f"no file matches {pattern.pattern} below {pattern.path!r}")

    @property
    def excluded(self) -> Counter[str]:
        """Files and directories that were left out, by what matched them."""
        return self._excludes.counts

    @property
    def repeated(self) -> int:
        """Photos met more than once, where lists or patterns name them."""
        return self._once.repeated if self._once else 0

    def __iter__(self) -> Iterator[ImageRef]:
        for source in self.sources:
            for path, uri, about in self._photos(source):
                if self._once is None or self._once.meets(uri):
                    yield self._ref(path, uri, about)

    def _photos(self, source: Source) -> Iterator[tuple[str, str, os.stat_result | None]]:
        if source.is_dir:
            for entry, uri in self.entries(source):
                about = _facts(entry.path)
                if self._is_photo(entry, about):
                    yield entry.path, uri + quoted(entry.name), about
        elif source.kind is _Kind.FILE:
            yield source.path, source.uri, _facts(source.path)
        else:
            folder_uri = lru_cache(directory_uri)
            name = ""
            for name in self.listed(source):
                about = _facts(name)
                if about is not None and stat.S_ISDIR(about.st_mode):
                    yield from self._photos(Source(name, directory_uri(name), _Kind.DIRECTORY))
                else:
                    folder, name_in_it = os.path.split(name.rstrip("/"))
                    yield name, folder_uri(folder) + quoted(name_in_it), about
            if not name:
                self.notes.append(f"the list {source.path} names nothing")

    def _claim(self, source: Source) -> None:
        """Take a source over unless it repeats another. A source inside another is left out where
        the outer one reaches it, so that each is covered exactly once."""
        key = source.uri + (str(source.pattern) if source.pattern else "") or source.path
        if key in self._claimed:
            self.notes.append(f"{source.path} is named twice; it is covered once")
        elif not self._excludes.leave_out_source(source.path, is_dir=source.is_dir):
            self._claimed.add(key)
            self.sources.append(source)

    def listed(self, source: Source) -> Iterator[str]:
        """The names in a list that are not left out."""
        return (name for name in names_in(source.path) if not self._excludes.leave_out_named(name))

    def entries(self, source: Source) -> Iterator[tuple[os.DirEntry[str], str]]:
        """Everything below a directory that is no directory and not left out, with the address of
        the directory it is in."""
        if self._once is not None:
            self._entered.clear()  # what was met before is told by each photo's address
        levels = [_Level(source.uri, (), source.pattern is None, self._list(source.path))]
        while levels:
            level = levels[-1]
            if not level.entries:
                levels.pop()
                continue
            entry = level.entries.pop()
            is_dir = _is_dir(entry, self._follow_symlinks)
            chosen = level.chosen
            if not chosen:
                is_dir, chosen, on_the_way = _held_against(source, level, entry, is_dir=is_dir)
                if not (chosen or on_the_way):
                    continue
            if self._excludes.leave_out(entry, level.below, is_dir=is_dir):
                continue
            if not is_dir:
                if len(self._claimed) < 2 or not self._is_claimed_file(level, entry):
                    yield entry, level.uri
            elif uri := self._enters(level, entry):
                below = (*level.below, entry.name)
                levels.append(_Level(uri, below, chosen, self._list(entry.path)))

    def _list(self, path: str) -> list[os.DirEntry[str]]:
        """All of one directory, last first; what cannot be listed is recorded and the rest is
        used."""
        entries: list[os.DirEntry[str]] = []
        try:
            with os.scandir(path) as listing:
                entries.extend(listing)
        except OSError as error:
            self.unreadable_dirs.append(Unread(path, error.strerror or type(error).__name__))
        entries.sort(key=lambda entry: os.fsencode(entry.name), reverse=True)
        return entries

    def _enters(self, level: _Level, entry: os.DirEntry[str]) -> str | None:
        """The address of a directory that is to be covered, and from here."""
        if entry.name == RESULTS_DIR and _holds_results(entry.path):
            self.excluded[f"{RESULTS_DIR}/ of a scan's results"] += 1
            return None
        if entry.is_symlink():
            uri = directory_uri(entry.path)
        else:
            uri = f"{level.uri}{quoted(entry.name)}/"
        if uri in self._claimed:
            self.notes.append(f"{entry.path} is a source of its own; it is covered once")
            return None
        if self._follow_symlinks:
            if uri in self._entered:
                self.notes.append(f"{entry.path} is a directory met before; it is covered once")
                return None
            self._entered.add(uri)
        return uri

    def _is_claimed_file(self, level: _Level, entry: os.DirEntry[str]) -> bool:
        if level.uri + quoted(entry.name) not in self._claimed:
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


def _held_against(
    source: Source, level: _Level, entry: os.DirEntry[str], *, is_dir: bool
) -> tuple[bool, bool, bool]:
    """An entry against a source's pattern: whether it is a directory that may be entered, whether
    it is meant with all that is in it, and whether something in it may be."""
    assert source.pattern is not None
    names = (*level.below, entry.name)
    is_dir = is_dir or (source.pattern.spells(names) and _is_dir(entry, follow_symlinks=True))
    meant = source.pattern.matches(names, is_dir=is_dir)
    return is_dir, meant, is_dir and source.pattern.may_match_below(names)


def suffix_of(name: str) -> str:
    """The lower-case name ending by which files are counted, or `(none)`."""
    return os.path.splitext(name)[1].lower() or "(none)"


def count_images(walk: Discovery) -> int:
    """How many photos there are to list, judged by names alone: quick, for an estimate of the time
    left. Raises SourceError."""
    count = 0
    for source in walk.sources:
        if source.is_dir:
            count += sum(named_like_an_image(entry.name) for entry, _ in walk.entries(source))
        else:
            count += 1 if source.kind is _Kind.FILE else sum(1 for _ in walk.listed(source))
    return count


def is_gone(uri: str) -> bool:
    """Whether the operating system says that a photo is not there; a link to nothing is."""
    try:
        path = path_of(uri)
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return not os.path.islink(path)
    except (OSError, ValueError):
        pass
    return False


def _examine(path: str) -> Source:
    if is_list(path):
        next(names_in(path), None)  # whether it can be read
        return Source(path, "", _Kind.LIST)
    try:
        about = os.stat(path)
        if not stat.S_ISDIR(about.st_mode):
            folder, name = os.path.split(path)
            return Source(path, directory_uri(folder) + quoted(name), _Kind.FILE)
        with os.scandir(path):
            return Source(path, directory_uri(path), _Kind.DIRECTORY)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and (found := split_pattern(path)):
            root = _examine(found[0])
            return replace(root, pattern=found[1])
        reason = getattr(error, "strerror", None) or error
        raise SourceError(
            f"cannot scan {path!r}: {reason}; name a directory or a file that can be read"
        ) from error


def _holds_results(path: str) -> bool:
    """Whether a directory is that of a scan's results and not one of photos called like it."""
    try:
        with open(os.path.join(path, MANIFEST), "rb", opener=open_without_waiting) as file:
            head = file.read(4096)
    except OSError:
        return False
    return all(word in head for word in _OURS)


def _facts(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
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
