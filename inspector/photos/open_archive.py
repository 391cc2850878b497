"""An archive that is open, and its members found by place or by name."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from array import array
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

from inspector.photos.address import Inside, decoded
from inspector.photos.blocks import FileBlock
from inspector.photos.formats import named_like_a_tiff
from inspector.photos.local import open_without_waiting
from inspector.photos.members import DamagedError, MemberFile
from inspector.photos.opened import OpenBytes, Refused
from inspector.photos.tiff_directory import photo_pages
from inspector.types import FileFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from inspector.photos.members import Archive, Member

    Index = tuple[NDArray[np.uint64], NDArray[np.int64], bool]
    """Hashes of the names in order, the places of their members (in the archive's order where a
    name repeats), and whether these are all."""

_OPEN_AT_ONCE = 4
"""Archives that a process keeps open."""
_MOST_LOOKED_THROUGH = 1 << 30
"""Bytes of a TIFF up to which its pages are looked for."""


class OpenArchive:
    """An archive that is open, of whatever kind. Raises OSError, DamagedError for a file that is
    none."""

    def __init__(self, path: str) -> None:
        if not os.path.isfile(path):
            os.stat(path)  # says why
            raise OSError(errno.ENXIO, "not a regular file")
        file = FileBlock(open_without_waiting(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        about = os.fstat(file.descriptor)
        self._file = file
        self.state = _state_of(about)
        self.archive = _archive_in(file, path, about.st_size)
        self._lock = threading.Lock()
        self._built: Index | None = None

    def each(self, root: str) -> Iterator[tuple[Member, str]]:
        """Yield all members with their uris, which begin with `root`. Raises OSError."""
        names = _Names()
        for member in self.archive.members():
            uri = root + quote_from_bytes(member.name, safe="/")
            number = 1 if member.is_dir else names.add(_hash(member.name))
            yield member, uri if number == 1 else f"{uri};{number}"

    def find(self, address: str) -> Member:
        """Find a member by its place, if its name is there, or else by name. Raises OSError."""
        if not (inside := Inside.of(address)):
            raise ValueError(f"{address!r} is no address of a photo in an archive")
        _, place, name, number = inside
        stated = unquote_to_bytes(name)
        if place:
            with contextlib.suppress(DamagedError):
                member = self.archive.member_at(int(place, 16))
                if member.name == stated:
                    return member
        hashes, places, is_whole = self._index()
        wanted = hashes.searchsorted(hashes.dtype.type(_hash(stated))) + number - 1
        if wanted < len(hashes) and hashes[wanted] == _hash(stated):
            member = self.archive.member_at(int(places[wanted]))
            if member.name == stated:
                return member
        if not is_whole:
            raise DamagedError("the archive is damaged, and what is left has no such photo")
        raise FileNotFoundError(errno.ENOENT, "the archive has no such photo")

    def file_of(self, member: Member) -> MemberFile:
        """Open a member. Raises Refused, OSError."""
        if member.refusal:
            raise Refused(*member.refusal)
        return MemberFile(self.archive.content(member), member, self._changed_us)

    def facts_of(self, member: Member) -> FileFacts:
        return member.facts(self._changed_us())

    def head_of(self, member: Member, count: int) -> bytes:
        """Read a member's first bytes; none where that fails."""
        try:
            with self.file_of(member) as file:
                return file.read(count)
        except (OSError, Refused):
            return b""

    def pages_of(self, member: Member) -> int:
        """Count the photos in a member, more than one in some TIFFs. Raises Refused, OSError."""
        if not named_like_a_tiff(decoded(member.name)) or member.size > _MOST_LOOKED_THROUGH:
            return 1
        with self.file_of(member) as file:
            return len(photo_pages(OpenBytes(file, file.facts())))

    def _changed_us(self) -> int:
        return os.fstat(self._file.descriptor).st_mtime_ns // 1000

    def _index(self) -> Index:
        with self._lock:  # many may ask at a time, and to build it reads all of the archive
            if self._built is None:
                self._built = self._build_index()
            return self._built

    def _build_index(self) -> Index:
        import numpy as np

        hashes, places, is_whole = array("Q"), array("q"), True
        try:
            for member in self.archive.members():
                if not member.is_dir:
                    hashes.append(_hash(member.name))
                    places.append(member.place)
        except DamagedError:
            is_whole = False
        hashes_M = np.frombuffer(hashes, np.uint64) if hashes else np.empty(0, np.uint64)
        places_M = np.frombuffer(places, np.int64) if places else np.empty(0, np.int64)
        order_M = hashes_M.argsort(kind="stable")
        return hashes_M[order_M], places_M[order_M], is_whole


class _Names:
    """Counts names by their hashes, in 16 to 32 bytes each (open addressing)."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 << 10))
        self._used = 0
        self._repeated: dict[int, int] = {}

    def add(self, name: int) -> int:
        """Return how often a name has come, this time included."""
        slot = self._slot(name)
        if self._slots[slot]:
            self._repeated[name] = self._repeated.get(name, 1) + 1
            return self._repeated[name]
        self._slots[slot] = name
        self._used += 1
        if 2 * self._used > len(self._slots):
            before = self._slots
            self._slots = array("Q", bytes(16 * len(before)))
            for each in filter(None, before):
                self._slots[self._slot(each)] = each
        return 1

    def _slot(self, name: int) -> int:
        slots, last = self._slots, len(self._slots) - 1
        slot = name & last
        while slots[slot] not in (0, name):
            slot = slot + 1 & last
        return slot


_lock = threading.Lock()
_kept: OrderedDict[tuple[int, str], OpenArchive] = OrderedDict()
"""Archives that are open, by process (a fork may have got some) and path."""


def opened_archive(path: str) -> OpenArchive:
    """Open an archive, or return it as long as its file is the one that is open. Raises OSError."""
    key = os.getpid(), path
    state = _state_of(os.stat(path))
    with _lock:
        found = _kept.pop(key, None)
        if found is None or found.state != state:
            found = OpenArchive(path)
        _kept[key] = found
        if len(_kept) > _OPEN_AT_ONCE:
            _kept.popitem(last=False)
    return found


def _archive_in(file: FileBlock, name: str, size: int) -> Archive:
    from inspector.photos import tar, zip  # tarfile takes its time

    head = file.read_at(0, 512)
    if not head.startswith(zip.MAGIC) and (tar.begins(head) or not name.lower().endswith(".zip")):
        return tar.TarArchive(file, size)
    return zip.ZipArchive(file, size)


def _state_of(about: os.stat_result) -> tuple[int, ...]:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def _hash(name: bytes) -> int:
    """64 bits, never 0; of a million names two share them with probability 3e-8."""
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little") or 1
