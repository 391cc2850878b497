"""Photos in archives of this machine, read in place: the second of the sources.

An archive is read by the places of its members, in whatever process. While it is listed, 16 to 32
bytes are kept of each name; to find a photo by its uri alone, 16 bytes of each.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

from inspector.errors import SourceError
from inspector.photos.address import (
    LOCAL,
    MEMBER,
    Inside,
    decoded,
    directory_uri,
    is_uri,
    own_name,
    page_of,
    page_uri,
    pages,
    path_of,
    quoted,
)
from inspector.photos.formats import (
    MAGIC_BYTES,
    named_like_an_archive,
    named_like_an_image,
    sniff,
)
from inspector.photos.local import APPLE_DOUBLE_MAGIC
from inspector.photos.open_archive import OpenArchive, opened_archive
from inspector.photos.opened import Refused
from inspector.photos.selection import APPLE_DOUBLE
from inspector.types import FileFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.photos.members import Member, MemberFile
    from inspector.photos.source import Discovery, Found

_BORDER = f"{MEMBER}/"
_FOLDERS_KEPT = 10_000


class Archives:
    """The `Source` of archives and of what is in them."""

    def owns(self, address: str) -> bool:
        inside = Inside.of(address)
        archive = inside.archive if inside else address
        if not named_like_an_archive(archive):
            return False
        if not address.startswith(LOCAL):
            return not is_uri(address) and os.path.isfile(archive)
        try:
            path = path_of(archive)
        except ValueError:
            return False
        return inside is not None or os.path.isfile(path)

    def root(self, address: str) -> ArchiveRoot:
        root = ArchiveRoot(address, _uri_of(address))
        try:
            opened = OpenArchive(root.file)
            if not root.is_dir:
                opened.find(root.uri)
        except OSError as error:
            raise SourceError(
                f"cannot scan {address!r}: {error.strerror or error}; name an archive, or a photo "
                "in one, that can be read"
            ) from error
        return root

    def named(self, address: str, listing: Discovery) -> Iterator[Found]:
        return ArchiveRoot(address, _uri_of(address)).photos(listing)

    def plain(self, uri: str) -> str:
        return uri if MEMBER in uri else path_of(uri)

    def facts(self, address: str) -> FileFacts:
        opened, member = _found(address)
        return opened.facts_of(member)

    def open(self, address: str) -> MemberFile:
        opened, member = _found(address)
        return opened.file_of(member)

    def pages(self, address: str) -> int:
        opened, member = _found(address)
        return opened.pages_of(member)


@dataclass(frozen=True, slots=True)
class ArchiveRoot:
    """An archive, or a photo in one (see `source.Root`)."""

    path: str
    uri: str

    @property
    def is_dir(self) -> bool:
        return self.uri.endswith(_BORDER)

    @property
    def may_repeat(self) -> bool:
        """Whether its archive may be named as well."""
        return not self.is_dir

    @property
    def key(self) -> str:
        return self.uri

    @property
    def file(self) -> str:
        """The archive's path."""
        return _path_of(self.uri)

    def check(self, listing: Discovery) -> None:
        """Nothing is left to check."""

    def covers(self, uri: str) -> bool:
        return self.is_dir and uri.startswith(self.uri)

    def count(self, listing: Discovery) -> int:
        if not self.is_dir:
            return 1
        try:
            opened = OpenArchive(self.file)
            if opened.archive.is_stream:
                raise SourceError(f"{self.path} would have to be unpacked to be counted")
            return sum(named_like_an_image(decoded(each.name)) for each in opened.archive.members())
        except OSError:  # the listing says so
            return 0

    def photos(self, listing: Discovery) -> Iterator[Found]:
        if not self.is_dir:
            yield from self._photo()
            return
        listing.reads(self.file)
        folders: dict[tuple[str, ...], bool] = {}
        try:
            opened = OpenArchive(self.file)  # its own: others read at other places meanwhile
            for member, uri in opened.each(self.uri):
                names = tuple(
                    name for name in decoded(member.name).split("/") if name not in ("", ".")
                )
                if member.is_dir or _is_left_out(names, listing, folders):
                    continue
                path = f"{self.path}{_BORDER}{'/'.join(names)}"
                if _is_photo(opened, member, path, listing):
                    yield from _pages(opened, member, uri)
        except OSError as error:
            listing.misses(self.path, error.strerror or type(error).__name__)

    def _photo(self) -> Iterator[Found]:
        """Yield the photo, there or not, and all its pages unless one behind the first is named."""
        try:
            opened = opened_archive(self.file)
            member = opened.find(self.uri)
        except OSError:
            yield self.uri, self.uri, FileFacts()
            return
        if page_of(self.uri) == 1:
            yield from _pages(opened, member, self.uri)
        else:
            yield _placed(self.uri, member), self.uri, opened.facts_of(member)


def _pages(opened: OpenArchive, member: Member, uri: str) -> Iterator[Found]:
    """Yield a photo and the pages behind its first."""

    def count() -> int:
        try:
            return opened.pages_of(member)
        except (OSError, Refused):
            return 1

    return pages(_placed(uri, member), uri, opened.facts_of(member), count)


def _placed(uri: str, member: Member) -> str:
    """Return the address that says the place of a photo."""
    return uri.replace(_BORDER, f"{MEMBER}{member.place:x}/", 1)


def _is_left_out(
    names: tuple[str, ...], listing: Discovery, folders: dict[tuple[str, ...], bool]
) -> bool:
    """Whether a member is left out, by its name or a folder's; each of `folders` counts once."""
    if len(folders) > _FOLDERS_KEPT:
        folders.clear()
    leave_out = listing.excludes.leave_out
    for depth in range(1, len(names)):
        folder = names[:depth]
        if folder not in folders:
            folders[folder] = leave_out(folder[-1], folder[:-1], is_dir=True)
        if folders[folder]:
            return True
    return bool(names) and leave_out(names[-1], names[:-1], is_dir=False)


def _is_photo(opened: OpenArchive, member: Member, path: str, listing: Discovery) -> bool:
    name = os.path.basename(path)
    if name.startswith(APPLE_DOUBLE) and opened.head_of(member, 4) == APPLE_DOUBLE_MAGIC:
        listing.excluded[f"{APPLE_DOUBLE}*"] += 1
        return False
    if member.name and (
        named_like_an_image(name) or sniff(opened.head_of(member, MAGIC_BYTES)) is not None
    ):
        return True
    listing.ignores(path)
    return False


def _uri_of(address: str) -> str:
    """Return the uri of a photo in an archive; of an archive, what begins those of its photos."""
    inside = Inside.of(address) or Inside(address, "", "", 1)
    path, name = inside.archive, os.fsencode(inside.name)
    if address.startswith(LOCAL):
        path, name = path_of(path), unquote_to_bytes(name)
    uri = directory_uri(os.path.dirname(path)) + quoted(own_name(path))
    uri += _BORDER + quote_from_bytes(name, safe="/")
    number = f";{inside.number}" if inside.number > 1 else ""
    return page_uri(f"{uri}{number}", page_of(address))


def _path_of(address: str) -> str:
    inside = Inside.of(address)
    return path_of(inside.archive if inside else address)


def _found(address: str) -> tuple[OpenArchive, Member]:
    """Return the archive of a photo, open, and the photo in it. Raises OSError, ValueError."""
    opened = opened_archive(_path_of(address))
    return opened, opened.find(address)
