"""Photos in directories of this machine, the first of the sources.

Memory holds the names of one chain of directories, from a root down to the one being read. Inside
a directory the order is that of the names' bytes, so it is the same on every run.
"""

from __future__ import annotations

import errno
import io
import ntpath
import os
import stat
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from inspector.core.layout import HEATMAPS, MANIFEST, RESULTS_DIR
from inspector.errors import SourceError
from inspector.photos.address import (
    LOCAL,
    MEMBER,
    SLASHES,
    directory_uri,
    is_uri,
    own_name,
    page_of,
    page_uri,
    pages,
    path_of,
    quoted,
    unquoted,
    without_page,
)
from inspector.photos.formats import (
    MAGIC_BYTES,
    named_like_a_tiff,
    named_like_an_archive,
    named_like_an_image,
    sniff,
    unread_archive,
)
from inspector.photos.opened import OpenBytes, Refused
from inspector.photos.selection import APPLE_DOUBLE, Pattern, split_pattern
from inspector.photos.tiff_directory import photo_pages
from inspector.types import FileFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.photos.source import Discovery, Found

_AS_IT_IS = "/:%#="
"""Letters that stay in the uri of what is no path of this machine."""
APPLE_DOUBLE_MAGIC = b"\x00\x05\x16\x07"
_RESULTS = (b'"schema_version"', b'"fingerprint"')
"""Words at the beginning of the manifest of a scan's results."""
_WINDOWS = os.name == "nt"
_NO_SUCH = (errno.ENOENT, errno.EINVAL)
"""Error numbers of a name that is not there; Windows has the second for one with a `*`."""
_JUNCTION = 0xA000_0003
"""`IO_REPARSE_TAG_MOUNT_POINT`: Windows' links to directories that anybody may make, and disks that
are mounted in a directory."""
_LONGEST = 247
"""Letters of a path up to which Windows opens it as it is."""


class Local:
    """The `Source` of everything that has a path."""

    def owns(self, address: str) -> bool:
        if not is_uri(address):
            return True
        return address.startswith(LOCAL)

    def root(self, address: str) -> LocalRoot:
        try:
            address = self.plain(address)
            if not stat.S_ISDIR(os.stat(reached(address)).st_mode):
                folder, name = os.path.dirname(address), own_name(address)
                _refuse_unread_archive(address)
                return LocalRoot(address, directory_uri(folder) + quoted(name), is_dir=False)
            with os.scandir(reached(address)):
                return LocalRoot(address, directory_uri(address))
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            if number in _NO_SUCH and (found := split_pattern(address)):
                return replace(self.root(found[0]), pattern=found[1])
            reason = getattr(error, "strerror", None) or error
            raise SourceError(
                f"cannot scan {address!r}: {reason}; name a directory or a file that can be read"
            ) from error

    def named(self, address: str, listing: Discovery) -> Iterator[Found]:
        page = page_of(address)
        try:
            address = _file_of(address)
        except ValueError:  # its row says so
            yield address, quote(address, safe=_AS_IT_IS, errors="surrogateescape"), FileFacts()
            return
        about = _stat(address)
        if about is not None and stat.S_ISDIR(about.st_mode):
            yield from LocalRoot(address, directory_uri(address)).photos(listing)
        else:
            plain = address.rstrip(SLASHES)
            uri = listing.folder_uri(os.path.dirname(plain)) + quoted(own_name(plain))
            wanted = page_uri(uri, page)
            named = (wanted, wanted, _facts(about))
            yield from _pages(address, uri, about) if page == 1 else [named]

    def plain(self, uri: str) -> str:
        return path_of(uri) if uri.startswith(LOCAL) and page_of(uri) == 1 else uri

    def facts(self, address: str) -> FileFacts:
        return _facts(os.stat(reached(_file_of(address))))

    def open(self, address: str) -> LocalFile:
        path = reached(_file_of(address))
        if stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe disturbs its writer
            file = LocalFile(io.FileIO(path, opener=open_without_waiting))
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file
            file.close()
        raise OSError(errno.ENXIO, "not a regular file")

    def pages(self, address: str) -> int:
        path = reached(_file_of(address))
        return _page_count(path, os.stat(path))


class LocalFile(io.BufferedReader):
    """An open file that knows its facts."""

    def facts(self) -> FileFacts:
        return _facts(os.fstat(self.fileno()))


@dataclass(slots=True)
class _Level:
    """An open directory: what is left of it, last first. `below` is its path from the root on."""

    uri: str
    below: tuple[str, ...]
    chosen: bool
    """Everything in it is meant."""
    entries: list[os.DirEntry[str]]


@dataclass(frozen=True, slots=True)
class LocalRoot:
    """A directory, a file, or what a pattern matches below a directory (see `source.Root`)."""

    path: str
    uri: str
    is_dir: bool = True
    pattern: Pattern | None = None

    @property
    def key(self) -> str:
        return f"{self.uri}{self.pattern or ''}"

    @property
    def may_repeat(self) -> bool:
        return self.pattern is not None

    def check(self, listing: Discovery) -> None:
        if self.pattern and next(self._entries(listing), None) is None:
            raise SourceError(f"no file matches {self.pattern} below {self.path!r}")

    def covers(self, uri: str) -> bool:
        if not self.is_dir or not uri.startswith(self.uri):
            return False
        below = uri.partition(MEMBER)[0].removeprefix(self.uri)
        names = unquoted(without_page(below)).split("/")
        return self.pattern is None or self.pattern.reaches(names)

    def photos(self, listing: Discovery) -> Iterator[Found]:
        if not self.is_dir:
            yield from _pages(self.path, self.uri, _stat(self.path))
            return
        for entry, uri, named in self._entries(listing):
            about = _stat(entry.path)
            if named and named_like_an_archive(entry.name):
                yield from listing.named(entry.path)
            elif _is_photo(entry, about, listing):
                yield from _pages(entry.path, uri + quoted(entry.name), about)

    def count(self, listing: Discovery) -> int:
        if not self.is_dir:
            return 1
        return sum(
            listing.count_of(entry.path)
            if named and named_like_an_archive(entry.name)
            else named_like_an_image(entry.name)
            for entry, _, named in self._entries(listing)
        )

    def _entries(self, listing: Discovery) -> Iterator[tuple[os.DirEntry[str], str, bool]]:
        """Yield everything below the directory that is no directory and not left out, with the uri
        of the directory that it is in, and whether the pattern names it and not only that."""
        if listing.is_keyed:
            listing.entered.clear()  # what was met before is told by each photo's uri
        levels = [_Level(self.uri, (), self.pattern is None, _list(self.path, listing))]
        while levels:
            level = levels[-1]
            if not level.entries:
                levels.pop()
                continue
            entry = level.entries.pop()
            is_dir = _is_dir(entry, listing.follow_symlinks)
            chosen = level.chosen
            if self.pattern and not chosen:
                names = (*level.below, entry.name)
                if self.pattern.spells(names):
                    is_dir = _is_dir(entry, follow_symlinks=True)
                chosen = self.pattern.matches(names, is_dir=is_dir)
                if not (chosen or (is_dir and self.pattern.may_match_below(names))):
                    continue
            if _is_left_out(entry, level.below, listing, is_dir=is_dir):
                continue
            if not is_dir:
                if len(listing.claimed) < 2 or not listing.has_claimed(
                    level.uri + quoted(entry.name), entry.path
                ):
                    yield entry, level.uri, chosen and not level.chosen
            elif uri := _entered(level, entry, listing, is_keyed=self.may_repeat):
                below = (*level.below, entry.name)
                levels.append(_Level(uri, below, chosen, _list(entry.path, listing)))


def _refuse_unread_archive(path: str) -> None:
    """Raise SourceError for an archive of a kind that is not read. One with an image's name is a
    photo that fails."""
    if not named_like_an_image(path) and (kind := unread_archive(_head(path, MAGIC_BYTES))):
        raise SourceError(f"cannot scan {path!r}: {kind}, which is not read; unpack it")


def _file_of(address: str) -> str:
    """Return the path of the file that an address names, or a page of which it names."""
    return path_of(address) if address.startswith(LOCAL) else address


def _pages(path: str, uri: str, about: os.stat_result | None) -> Iterator[Found]:
    return pages(path, uri, _facts(about), partial(_page_count, path, about))


def _page_count(path: str, about: os.stat_result | None) -> int:
    """Count the photos in a file, more than one in some TIFFs; 1 where it cannot be read."""
    if about is None or not stat.S_ISREG(about.st_mode) or not named_like_a_tiff(path):
        return 1
    try:
        with LocalFile(io.FileIO(reached(path), opener=open_without_waiting)) as file:
            return len(photo_pages(OpenBytes(file, _facts(about))))
    except (OSError, Refused):
        return 1


def _list(path: str, listing: Discovery) -> list[os.DirEntry[str]]:
    """List one directory, last entry first; what cannot be listed is recorded, the rest is used."""
    entries: list[os.DirEntry[str]] = []
    try:
        with os.scandir(reached(path)) as found:
            entries.extend(found)
    except OSError as error:
        listing.misses(path, error.strerror or type(error).__name__)
    entries.sort(key=lambda entry: os.fsencode(entry.name), reverse=True)
    return entries


def _is_left_out(
    entry: os.DirEntry[str], below: tuple[str, ...], listing: Discovery, *, is_dir: bool
) -> bool:
    if not is_dir and is_apple_double(entry.path, entry.name):
        listing.excluded[f"{APPLE_DOUBLE}*"] += 1
        return True
    return listing.excludes.leave_out(entry.name, below, is_dir=is_dir)


def _entered(
    level: _Level, entry: os.DirEntry[str], listing: Discovery, *, is_keyed: bool
) -> str | None:
    """Return the uri of a directory that is to be covered from here; None for any other. What is
    told by each photo's uri (`is_keyed`) is covered from another source as well: that may read no
    archives."""
    if entry.name in (RESULTS_DIR, HEATMAPS) and _holds_results(os.path.dirname(entry.path)):
        listing.excluded[f"{entry.name}/ of a scan's results"] += 1
        return None
    is_link = entry.is_symlink() or _is_junction(entry)
    uri = directory_uri(entry.path) if is_link else f"{level.uri}{quoted(entry.name)}/"
    if not is_keyed and listing.has_claimed(uri, entry.path):
        return None
    if listing.follow_symlinks:
        if uri in listing.entered:
            listing.notes.append(f"{entry.path} is a directory met before; it is covered once")
            return None
        listing.entered.add(uri)
    return uri


def _is_photo(entry: os.DirEntry[str], about: os.stat_result | None, listing: Discovery) -> bool:
    if about is not None and stat.S_ISDIR(about.st_mode):
        listing.linked_dirs.append(entry.path)
        return False
    if named_like_an_image(entry.name):
        return True
    regular = about is not None and stat.S_ISREG(about.st_mode)
    if regular and sniff(_head(entry.path, MAGIC_BYTES)) is not None:
        return True
    listing.ignores(entry.path)
    return False


def _holds_results(path: str) -> bool:
    """Whether a directory is that of a scan's results, not of photos in folders called alike."""
    head = _head(os.path.join(path, RESULTS_DIR, MANIFEST), 4096)
    return all(word in head for word in _RESULTS)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(reached(path))
    except (OSError, ValueError):
        return None


def _facts(about: os.stat_result | None) -> FileFacts:
    return FileFacts() if about is None else FileFacts(about.st_size, about.st_mtime_ns // 1000)


def _is_dir(entry: os.DirEntry[str], follow_symlinks: bool) -> bool:
    try:
        is_dir = entry.is_dir(follow_symlinks=follow_symlinks)
        return is_dir and (follow_symlinks or not _is_junction(entry))
    except OSError:
        return False


def _is_junction(entry: os.DirEntry[str], *, windows: bool = _WINDOWS) -> bool:
    """Whether a directory is another one, which Windows does not call a link."""
    if not windows:
        return False
    tag = getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0)
    return tag == _JUNCTION and not os.path.ismount(entry.path)


def is_apple_double(path: str, name: str) -> bool:
    """Whether a file of this name is what macOS keeps about another one, and no photo."""
    return name.startswith(APPLE_DOUBLE) and _head(path, 4) == APPLE_DOUBLE_MAGIC


def _head(path: str, count: int) -> bytes:
    """Read a file's first bytes, none where that fails; never wait for what became a pipe."""
    try:
        with open(reached(path), "rb", buffering=0, opener=open_without_waiting) as file:
            return file.read(count) or b""
    except OSError:
        return b""


def reached(path: str, *, windows: bool = _WINDOWS) -> str:
    r"""Return a path as this system opens it: a long one, on Windows, by the prefix `\\?\`."""
    if not windows or path.startswith("\\\\?\\"):
        return path
    full = ntpath.abspath(path)
    if len(full) <= _LONGEST:
        return path
    return f"\\\\?\\UNC{full[1:]}" if full.startswith("\\\\") else f"\\\\?\\{full}"


def open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # not on Windows
