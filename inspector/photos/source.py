"""Sources of photos: the protocol behind which they lie, and several of them as one listing.

A photo is named by its address: a path of this machine, or the uri of anything, which is all that
another process needs to find it. A new kind of source (an archive, an object store) is one module
with a class like `local.Local` and a line in `SOURCES`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from inspector.photos.address import LOCAL, Inside, directory_uri, is_uri, page_of, path_of
from inspector.photos.archive import Archives
from inspector.photos.formats import (
    ARCHIVES,
    named_like_an_archive,
    named_like_an_unread_archive,
)
from inspector.photos.local import Local
from inspector.photos.name_lists import is_list, names_in
from inspector.photos.object_file import is_far
from inspector.photos.objects import OBJECTS
from inspector.photos.opened import Refused
from inspector.photos.selection import Excludes, Once
from inspector.types import ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.photos.selection import Shard
    from inspector.types import FileFacts

    Found = tuple[str, str, FileFacts]
    """Address and uri of a photo in a listing, and its facts, empty where they cannot be read."""


_BEHIND_NAME = re.compile(r"(;\d+)?(#page=\d+)?\Z")
"""In a uri: which of several members of one name, which page."""


class PhotoFile(AbstractContextManager["PhotoFile"], Protocol):
    """An open photo. Its bytes can be read from any place on (`seek`)."""

    def facts(self) -> FileFacts:
        """Return the facts of this very file, as they are now."""

    def read(self, count: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...


class Root(Protocol):
    """One argument of a scan: a directory, a file, a pattern, a bucket's prefix."""

    @property
    def path(self) -> str:
        """The argument as given, or the directory of a pattern."""

    @property
    def uri(self) -> str:
        """The uri, which of a directory ends in a slash and begins the uris of its photos."""

    @property
    def is_dir(self) -> bool: ...

    @property
    def key(self) -> str:
        """The uri of a whole directory; else what tells roots apart that name other photos."""

    @property
    def may_repeat(self) -> bool:
        """Whether other arguments may name some of its photos as well: those of lists, patterns."""

    def check(self, listing: Discovery) -> None:
        """Raise SourceError where nothing can be listed."""

    def covers(self, uri: str) -> bool:
        """Whether a photo of this uri would be listed below the directory, were it there."""

    def photos(self, listing: Discovery) -> Iterator[Found]:
        """Yield every photo once, in an order that never changes, nothing listed ahead. `listing`
        says what to leave out, and counts what else is met."""

    def count(self, listing: Discovery) -> int:
        """Count the photos by their names alone."""


class Source(Protocol):
    """A kind of place where photos lie. `OSError` is what any of its methods may raise, with the
    operating system's error numbers (`FileNotFoundError` where a photo is not there)."""

    def owns(self, address: str) -> bool:
        """Whether this source answers for `address`."""

    def root(self, address: str) -> Root:
        """Resolve an argument. Raises SourceError where it is not there or cannot be read."""

    def named(self, address: str, listing: Discovery) -> Iterator[Found]:
        """Yield the photo of that name, there or not, or all photos of the directory."""

    def plain(self, uri: str) -> str:
        """Return the address in the form that `ImageRef.path` has."""

    def facts(self, address: str) -> FileFacts:
        """Return size and time of change; a photo is taken for unchanged as long as both are."""

    def open(self, address: str) -> PhotoFile:
        """Open a photo; a pipe or a device is refused (ENXIO), never waited for. Raises Refused
        where the source itself can tell why there is nothing to read, as of an encrypted member."""

    def pages(self, address: str) -> int:
        """Count the photos in a file; of one far away, the page of `address` is taken to be there.
        Raises Refused."""


SOURCES: list[Source] = [OBJECTS, Archives(), Local()]
"""The first that owns an address answers for it."""


def source_of(address: str) -> Source:
    """Find the source of an address. Raises ValueError where there is none."""
    for source in SOURCES:
        if source.owns(address):
            return source
    raise ValueError(f"{address!r} is no address of a photo that can be reached from here")


def _named_by(text: str) -> Source:
    """Find the source of what a person names; what no source owns is a path that is not there."""
    try:
        return source_of(text)
    except ValueError:
        return SOURCES[-1]


def is_gone(address: str) -> bool:
    """Whether it is certain that a photo is not there any more: there is neither its file nor a
    link of that name, its archive can be read to the end and has no such photo, or its file has no
    such page."""
    try:
        source, page = source_of(address), page_of(address)
        source.facts(address)
        return page > 1 and page > source.pages(address)
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename is None:  # its source says so, which was read to the end
            return True
        inside = Inside.of(address)
        file = inside.archive if inside else address
        return not os.path.islink(path_of(file) if address.startswith(LOCAL) else file)
    except (OSError, ValueError, Refused):
        return False


def gone_among(uris: Sequence[str]) -> list[str]:
    """Those of `uris` that are certainly not there any more; many are asked for at a time."""
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
        return [uri for uri, gone in zip(uris, threads.map(is_gone, uris), strict=True) if gone]


_ASKED_AT_ONCE = 16
_NAMES_AHEAD = 64
"""Names of a list that are looked up together."""


@dataclass(frozen=True, slots=True)
class _ListRoot:
    """A list of photos and directories: a file, or the standard input."""

    path: str
    uri = ""
    is_dir = False
    may_repeat = True

    @property
    def key(self) -> str:
        return self.path

    def check(self, listing: Discovery) -> None:
        next(names_in(self.path), None)

    def covers(self, uri: str) -> bool:
        return False

    def photos(self, listing: Discovery) -> Iterator[Found]:
        name = ""
        names = self._names(listing)
        while some := list(islice(names, _NAMES_AHEAD)):
            with OBJECTS.looked_up(some):
                for name in some:
                    yield from listing.named(name)
        if not name:
            listing.notes.append(f"the list {self.path} names nothing")

    def count(self, listing: Discovery) -> int:
        return sum(1 for _ in self._names(listing))

    def _names(self, listing: Discovery) -> Iterator[str]:
        return (name for name in names_in(self.path) if not listing.excludes.leave_out_named(name))


class Discovery:
    """The photos of `sources`, to be iterated once; the counters fill while iterating.

    A source is a directory, a file, an archive, a pattern (`photos/**/*.jpg`), or a list of these
    (`@list.txt`, or `-` for the standard input). In a directory, a name that ends like
    an image's is a photo, whatever it holds; another regular file is one if its first bytes are an
    image's; what is named, on the command line or in a list, always is, and if it is not there that
    is what its row says. Links to files are read; links to directories are only followed if
    `follow_symlinks`; no loop is endless. What `exclude` matches is left out. Whatever is not a
    photo, or is left out, is counted, never dropped in silence.

    Every photo is covered once, under the one uri that it has however a source is spelled
    (`photos.address`). Raises SourceError, before anything is listed, for a source that does not
    exist or is a directory or a list that cannot be read, and for a pattern that no file matches.
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        follow_symlinks: bool = False,
        exclude: Sequence[str] = (),
        shard: Shard | None = None,
    ) -> None:
        """`shard`: only its photos are listed; the others are counted."""
        self.discovered = 0
        self.elsewhere = 0
        """Photos that belong to other shards."""
        self.shard = shard
        self.ignored_by_suffix: Counter[str] = Counter()
        """Files that are no images, by lower-case name ending."""
        self.unreadable_dirs: list[str] = []
        """Directories whose photos are missing, wholly or from some point on, each with why."""
        self.linked_dirs: list[str] = []
        """Links to directories, not followed."""
        self.notes: list[str] = []
        self._met: dict[str, list[str]] = {}
        """Paths of archives that were met and not read so far, by their real paths."""
        self._read: set[str] = set()
        """Real paths of archives that were looked into."""
        self.sources: list[Root] = []
        self.follow_symlinks = follow_symlinks
        self.excludes = Excludes(exclude)
        self.claimed: set[str] = set()
        """Keys of the sources."""
        self.entered: set[str] = set()
        """Directories below the sources; kept only where links may lead to one again."""
        self.folder_uri = lru_cache(directory_uri)
        """The uri of a directory; lists name many files of one."""
        for source in sources:
            self._claim(_ListRoot(source) if is_list(source) else _named_by(source).root(source))
        self._once = Once() if any(root.may_repeat for root in self.sources) else None
        probe = Discovery((), follow_symlinks=follow_symlinks, exclude=exclude) if sources else self
        for root in self.sources:
            root.check(probe)
        self.without_photos = [root.uri for root in self.sources if root.is_dir]
        """Directories below which nothing has been met yet, in whichever shard."""

    @property
    def below(self) -> tuple[str, ...]:
        """Uris of the directories among the sources: those of photos below begin so."""
        return tuple(root.uri for root in self.sources if root.is_dir)

    @property
    def excluded(self) -> Counter[str]:
        """Files and directories that were left out, by what matched them."""
        return self.excludes.counts

    @property
    def repeated(self) -> int:
        """Photos met more than once, where lists or patterns name them."""
        return self._once.repeated if self._once else 0

    @property
    def is_keyed(self) -> bool:
        """Whether photos that come twice are told by their uris."""
        return self._once is not None

    def __iter__(self) -> Iterator[ImageRef]:
        for root in self.sources:
            for address, uri, facts in root.photos(self):
                for directory in tuple(self.without_photos):
                    if uri.startswith(directory):
                        self.without_photos.remove(directory)
                if self.shard is not None and not self.shard.has(uri):
                    self.elsewhere += 1
                elif self._once is None or self._once.meets(uri):
                    index = self.discovered
                    self.discovered += 1
                    yield ImageRef(index, address, uri, facts.size, facts.mtime_us)
        self._note_archives()

    def named(self, name: str) -> Iterator[Found]:
        """Yield the photo or all photos of what a list or a pattern names."""
        return _named_by(name).named(name, self)

    def count_of(self, path: str) -> int:
        """Count the photos in what a pattern names. Raises SourceError."""
        return _named_by(path).root(path).count(self)

    def has_claimed(self, uri: str, path: str) -> bool:
        """Whether what was met at `path` is a source of its own, which covers it; notes that."""
        is_claimed = uri in self.claimed
        if is_claimed:
            self.notes.append(f"{path} is a source of its own; it is covered once")
        return is_claimed

    def misses(self, directory: str, reason: str) -> None:
        """Record a directory that cannot be read to its end."""
        self.unreadable_dirs.append(f"{directory}: {reason}")

    def ignores(self, path: str) -> None:
        """Count a file that is no photo, nor an archive that is read."""
        is_archive = named_like_an_archive(path) or named_like_an_unread_archive(path)
        if is_archive and not is_far(path):
            real = os.path.realpath(path)
            if real in self._read:
                return
            self._met.setdefault(real, []).append(path)
        self.ignored_by_suffix[suffix_of(path)] += 1

    def reads(self, path: str) -> None:
        """Know an archive that is looked into, which was perhaps met and counted before."""
        real = os.path.realpath(path)
        self._read.add(real)
        self.ignored_by_suffix -= Counter(map(suffix_of, self._met.pop(real, ())))

    def _note_archives(self) -> None:
        """Say which archives were only met, and what to do to have them read."""
        within: list[str] = []
        beside: list[str] = []
        unread: list[str] = []
        for path in (paths[0] for paths in self._met.values()):
            others = beside if named_like_an_archive(path) else unread
            (within if Inside.of(path) else others).append(path)
        if beside:
            ending = next(each for each in ARCHIVES if beside[0].lower().endswith(each))
            self.notes.append(
                f"archives not looked into: {len(beside):,}, first {beside[0]}; name them to have "
                f"their photos scanned, one by one or as 'DIR/**/*{ending}'"
            )
        if unread:
            self.notes.append(
                f"archives of kinds that are not read: {len(unread):,}, first {unread[0]}; unpack "
                "them"
            )
        if within:
            self.notes.append(
                f"archives within archives, never looked into: {len(within):,}, first {within[0]}; "
                "unpack the outer one"
            )

    def _claim(self, root: Root) -> None:
        """Add a source unless it repeats another. A source inside another is left out where
        the outer one reaches it, so that each is covered exactly once."""
        if root.key in self.claimed:
            self.notes.append(f"{root.path} is named twice; it is covered once")
        elif not self.excludes.leave_out_source(root.path, is_dir=root.is_dir):
            self.claimed.add(root.key)
            self.sources.append(root)


def suffix_of(address: str) -> str:
    """Return the lower-case name ending by which files are counted, or `(none)`."""
    if is_uri(address):
        address = _BEHIND_NAME.sub("", address)
    return os.path.splitext(address)[1].lower() or "(none)"


def count_images(walk: Discovery) -> int:
    """Count the photos to list by their names alone: quick, for an estimate of the time left; of a
    shard, about so many. Raises SourceError."""
    total = sum(root.count(walk) for root in walk.sources)
    return total if walk.shard is None else round(total / walk.shard.count)
