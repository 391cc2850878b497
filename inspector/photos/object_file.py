"""Objects in stores and on web servers: their addresses, their facts, their bytes."""

from __future__ import annotations

import errno
import io
import re
import zlib
from contextlib import suppress
from typing import IO, Any, NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

from inspector.core.spare import spare_file
from inspector.core.untrusted import BUCKETS
from inspector.photos.address import WEB, page_of, page_uri, without_page
from inspector.photos.formats import named_like_a_tiff
from inspector.photos.opened import OpenBytes, Pieces, Refused
from inspector.photos.stores import open_store, store_errors
from inspector.photos.tiff_directory import photo_pages
from inspector.types import FileFacts

SAFE = "/%:@!$&'()*+,;=~-._?"
"""Letters that stand in the address of a web page as they are."""
HELD_BYTES = 32 << 20
"""Size up to which an object is held in memory; a larger one is read into a temporary file."""
_TRIES = 3
"""Times that an object is asked for whose bytes break off; each request is tried again as well."""
_BLOCK = 1 << 16
_SERVER = re.compile(r"(?:\[[^]]*\]|[^:]*)(?::\d*)?")
"""A server's name or number, and a port."""


def is_far(address: str) -> bool:
    """Whether an address is that of something in a store or on a web server."""
    return address[:8].lower().startswith((*BUCKETS, *WEB))


class Place(NamedTuple):
    """An address taken apart: what to open, and the key in it."""

    scheme: str
    store: str
    key: str

    @classmethod
    def of(cls, address: str) -> Self:
        """Raises ValueError for what is no address in a store."""
        address = without_page(address)
        scheme, _, rest = address.partition("://")
        if scheme not in ("http", "https"):
            store, _, key = rest.partition("/")
            return cls(scheme, store, unquote(key, errors="strict"))
        parts = urlsplit(address)
        key = unquote(parts.path, errors="strict")
        if parts.query or "//" in key or quote(key) != parts.path:
            return cls(scheme, address, "")  # what obstore would spell in another way
        return cls(scheme, f"{scheme}://{parts.netloc}", key.lstrip("/"))

    def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of the store. Raises OSError."""
        with store_errors(self.scheme):
            return getattr(open_store(self.scheme, self.store), method)(*arguments, **named)


def canonical(address: str) -> str:
    """Return the one spelling of an address: a space and `%20` are the same, and so on. Raises
    ValueError for what is none."""
    page = page_of(address)
    scheme, _, rest = without_page(address).partition("://")
    scheme = scheme.lower()
    if f"{scheme}://" in BUCKETS:
        place = Place.of(f"{scheme}://{rest}")
        if not place.store or quote(place.store, safe="") != place.store:
            raise ValueError("it names no bucket")
        return page_uri(f"{scheme}://{place.store}/{quote(place.key)}", page)
    parts = urlsplit(f"{scheme}://{rest}")
    if not parts.netloc or not parts.netloc.isascii():
        raise ValueError("it names no server in ASCII letters")
    if "@" in parts.netloc:
        raise ValueError("it has a password in it, which would stand in the table")
    if not _SERVER.fullmatch(parts.netloc):
        raise ValueError("its port is no number")  # but the beginning of a password
    query = f"?{quote(parts.query, safe=SAFE)}" if parts.query else ""
    path = quote(parts.path or "/", safe=SAFE)
    return page_uri(f"{scheme}://{parts.netloc.lower()}{path}{query}", page)


class ObjectFile:
    """An object as it was when it was asked for; its bytes come when they are first read."""

    def __init__(self, place: Place, got: Any, facts: FileFacts) -> None:
        self._place = place
        self._got = got
        self._facts = facts
        self._held: IO[bytes] | None = None

    @classmethod
    def of(cls, address: str, listed: FileFacts) -> Self:
        """Ask for an object. Of the version that was `listed` the time stays as listed: some stores
        say another second in the listing than with the object. Raises OSError."""
        place = Place.of(address)
        got = place.ask("get", place.key)
        facts = facts_of(got.meta)
        return cls(place, got, listed if _are_of_one(facts, listed) else facts)

    def facts(self) -> FileFacts:
        return self._facts

    def read(self, count: int, /) -> bytes:
        return self._body().read(count)

    def seek(self, offset: int, /) -> int:
        return self._body().seek(offset)

    def _body(self) -> IO[bytes]:
        """Fetch the bytes. Where the connection breaks off, the same version is asked for anew."""
        for left in reversed(range(_TRIES)):
            if self._held is not None:
                break
            try:
                with store_errors(self._place.scheme):
                    self._held = self._taken()
            except OSError as error:
                if error.errno != errno.EIO or not left:
                    raise
                self._got = self._place.ask("get", self._place.key)
                if not _are_of_one(facts_of(self._got.meta), self._facts):
                    raise OSError(errno.EIO, "it was replaced while it was read") from error
        assert self._held is not None
        return self._held

    def _taken(self) -> IO[bytes]:
        if (self._facts.size or 0) <= HELD_BYTES:
            return io.BytesIO(self._got.bytes())
        file = spare_file()
        try:
            for chunk in self._got.stream():
                file.write(chunk)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._held is not None:
            self._held.close()


class _Ranges(Pieces):
    """The bytes of an object of which little is read, each piece a request."""

    def __init__(self, place: Place, size: int) -> None:
        self._place, self._size = place, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        begin, end, _ = part.indices(self._size)
        if begin >= end:
            return b""
        return bytes(self._place.ask("get_range", self._place.key, start=begin, end=end))


def facts_of(meta: Any) -> FileFacts:
    """Return the facts of an object by what its store says of it."""
    seconds = int(meta["last_modified"].timestamp())
    # Azure quotes it with the object and not in the listing.
    version = (meta.get("e_tag") or meta.get("version") or "").strip('"')
    if not (seconds or version):
        return FileFacts(meta["size"])
    return FileFacts(meta["size"], seconds * 1_000_000 + zlib.crc32(version.encode()) % 1_000_000)


def _are_of_one(these: FileFacts, those: FileFacts) -> bool:
    """Whether facts are of one version of an object, whatever second it is said to be of."""
    versions = [None if f.mtime_us is None else f.mtime_us % 1_000_000 for f in (these, those)]
    return these.size == those.size and versions[0] == versions[1]


def page_count(uri: str, facts: FileFacts) -> int:
    """Count the photos in an object; 1 for what is no TIFF, or cannot be read."""
    if not named_like_a_tiff(without_page(uri)) or page_of(uri) > 1 or not facts.size:
        return 1
    with suppress(OSError, Refused):
        pieces: Any = io.BufferedReader(_Ranges(Place.of(uri), facts.size), _BLOCK)
        return max(len(photo_pages(OpenBytes(pieces, facts))), 1)
    return 1
