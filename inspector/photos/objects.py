"""Photos in object stores and on web servers: `s3://`, `gs://`, `az://`, `http://`, `https://`.

An object's uri is its address. Its time of change is that of the store in whole seconds, and a
fraction made of its ETag, so that versions of one size and one second differ. What will be needed
is asked for ahead of its turn, many at a time.
"""

from __future__ import annotations

import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote

from inspector.core.untrusted import BUCKETS
from inspector.errors import SourceError
from inspector.photos.address import page_of, pages
from inspector.photos.formats import named_like_an_archive
from inspector.photos.object_file import (
    HELD_BYTES,
    SAFE,
    ObjectFile,
    Place,
    canonical,
    facts_of,
    is_far,
    page_count,
)
from inspector.photos.store_root import NOT_LOOKED_INTO, StoreRoot, resolved
from inspector.types import FileFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from inspector.photos.source import Discovery, Found
    from inspector.types import ImageRef

_AT_ONCE = 32
"""Requests that a process has under way."""
_AHEAD_BYTES = 64 << 20
"""Bytes that a process may have fetched ahead."""
_UNKNOWN_BYTES = 8 << 20
"""Taken for the size of an object of which nothing is known."""
_USER = re.compile(r"(?<=://)/*(?:[^/?#]*@|[^/?#:]*:(?!\d*[/?#]).*@)")
"""A name and a password in an address, which stand neither in the table nor in a message."""

Answer = TypeVar("Answer")


class _Ahead(Generic[Answer]):
    """Answers that are fetched before somebody takes them, in the order of the tasks."""

    def __init__(self) -> None:
        self._left: deque[tuple[str, int, Callable[[], Answer]]] = deque()
        self._asked: dict[str, tuple[int, Future[Answer]]] = {}
        self._bytes = 0
        self._threads: ThreadPoolExecutor | None = None

    @contextmanager
    def of(self, tasks: Iterable[tuple[str, int, Callable[[], Answer]]]) -> Iterator[None]:
        """Work ahead at `tasks` while entered: an address, its bytes, and how to get them."""
        left = list(tasks)
        if not left:
            yield
            return
        self._left.extend(left)
        self._threads = ThreadPoolExecutor(_AT_ONCE, "inspector-ahead")
        try:
            self._fill()
            yield
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
            self._left.clear()
            self._asked.clear()
            self._bytes = 0

    def take(self, address: str) -> Answer | None:
        """Return the answer, None where nobody has asked. Raises what the task raises."""
        found = self._asked.pop(address, None)
        if found is None:
            return None
        answer = found[1].result()
        self._bytes -= found[0]
        self._fill()
        return answer

    def _fill(self) -> None:
        while self._left and self._threads:
            address, size, get = self._left[0]
            if self._asked and self._bytes + size > _AHEAD_BYTES:
                return
            self._left.popleft()
            self._bytes += size
            self._asked[address] = size, self._threads.submit(get)


class Objects:
    """The `Source` of object stores and web servers."""

    def __init__(self) -> None:
        self._files: _Ahead[ObjectFile] = _Ahead()
        self._facts: _Ahead[FileFacts] = _Ahead()

    def owns(self, address: str) -> bool:
        return is_far(address)

    def root(self, address: str) -> StoreRoot:
        try:
            return resolved(address)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            shown = _without_user(address)
            raise SourceError(f"cannot scan {shown!r}: {reason}") from error

    def named(self, address: str, listing: Discovery) -> Iterator[Found]:
        facts = FileFacts()
        try:
            uri = canonical(address)
            if uri.endswith("/") and uri.startswith(BUCKETS):
                yield from StoreRoot(address, uri).photos(listing)
                return
            if named_like_an_archive(Place.of(uri).key):
                listing.misses(uri, NOT_LOOKED_INTO)
                return
            facts = self._facts.take(address) or self.facts(uri)
        except OSError:
            pass
        except ValueError:
            uri = quote(_without_user(address), safe=SAFE, errors="replace")
        yield from pages(uri, uri, facts, partial(page_count, uri, facts))

    def plain(self, uri: str) -> str:
        return uri

    def facts(self, address: str) -> FileFacts:
        place = Place.of(address)
        return facts_of(place.ask("head", place.key))

    def open(self, address: str) -> ObjectFile:
        return self._files.take(address) or _asked(address, FileFacts())

    def pages(self, address: str) -> int:
        return page_of(address)  # to count them would take several requests

    def looked_up(self, names: Iterable[str]) -> AbstractContextManager[None]:
        """Ask for the facts of what `names` name in stores, while entered."""
        far = (name for name in names if is_far(name) and not name.endswith("/"))
        return self._facts.of((name, 0, partial(self._look, name)) for name in far)

    def _look(self, name: str) -> FileFacts:
        return self.facts(canonical(name))

    def fetched(self, refs: Iterable[ImageRef]) -> AbstractContextManager[None]:
        """Fetch the photos in stores that are about to be opened, in this order, while entered."""
        far = (ref for ref in refs if is_far(ref.path) and (ref.size or 0) <= HELD_BYTES)
        return self._files.of(
            (ref.path, ref.size or _UNKNOWN_BYTES, partial(_fetch, ref)) for ref in far
        )


def _without_user(address: str) -> str:
    return _USER.sub("***@", address, count=1)


def _asked(address: str, listed: FileFacts) -> ObjectFile:
    """Ask for an object. Raises OSError, ValueError for what is no address of one."""
    canonical(address)
    return ObjectFile.of(address, listed)


def _fetch(ref: ImageRef) -> ObjectFile:
    file = _asked(ref.path, FileFacts(ref.size, ref.mtime_us))
    if (file.facts().size or 0) <= HELD_BYTES:
        file.seek(0)
    return file


OBJECTS = Objects()
