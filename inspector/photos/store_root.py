"""A bucket, a part of one, or a single object, as a source of photos."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from inspector.core.untrusted import BUCKETS
from inspector.errors import SourceError
from inspector.photos.address import page_of, pages, text_of
from inspector.photos.formats import named_like_a_tiff, named_like_an_archive, named_like_an_image
from inspector.photos.object_file import Place, canonical, facts_of, page_count
from inspector.photos.selection import APPLE_DOUBLE, Pattern, split_pattern
from inspector.photos.stores import store_errors
from inspector.types import FileFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.photos.source import Discovery, Found

NOT_LOOKED_INTO = (
    "archives are looked into on a disk only; copy it there and scan the copy, or unpack it into "
    "the bucket"
)
_LISTED = 1000
"""Objects that are taken from a listing together."""
_LOOKED_AT = 16
"""TIFFs that are looked into together, for the number of their pages."""


def resolved(address: str) -> StoreRoot:
    """Find out what an address names. Raises OSError, ValueError."""
    uri = canonical(address)
    place = Place.of(uri)
    in_bucket = uri.startswith(BUCKETS)
    if not in_bucket and uri.endswith("/"):
        raise ValueError(
            "a web server has no listing; name photos, or a list of their addresses (@list.txt)"
        )
    if in_bucket and (not place.key or place.key.endswith("/")):
        return StoreRoot(address, uri)
    if named_like_an_archive(place.key):
        raise ValueError(NOT_LOOKED_INTO)
    try:
        return StoreRoot(address, uri, facts=facts_of(place.ask("head", place.key)))
    except FileNotFoundError:
        if not in_bucket:
            raise
        if found := split_pattern(address, windows=False):
            folder = canonical(f"{found[0].rstrip('/')}/")
            pattern = Pattern.of(unquote(found[1].text), hidden=False, windows=False)
            return StoreRoot(found[0], folder, pattern=pattern)
        return StoreRoot(address, f"{uri}/")
    except PermissionError as error:
        if in_bucket:  # what may be listed need not be allowed to be asked for as one object
            return StoreRoot(address, f"{uri}/", doubt=error.strerror or "")
        return StoreRoot(address, uri, facts=FileFacts())  # the photo's row says what it was


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """A bucket or a part of it, what a pattern matches there, or one object (see `source.Root`)."""

    path: str
    uri: str
    pattern: Pattern | None = None
    facts: FileFacts | None = None
    """Those of the object; None where it is no single one."""
    doubt: str = ""
    """Why it could not be found out whether it is an object."""

    @property
    def is_dir(self) -> bool:
        return self.facts is None

    @property
    def key(self) -> str:
        return f"{self.uri}{self.pattern or ''}"

    @property
    def may_repeat(self) -> bool:
        """Also a whole bucket: obstore lists `/a.jpg` as `a.jpg`; and a page of a file."""
        is_bucket = self.is_dir and not Place.of(self.uri).key
        return self.pattern is not None or is_bucket or page_of(self.uri) > 1

    def check(self, listing: Discovery) -> None:
        if not self.is_dir:
            return
        try:
            found: Any = next(self._chunks(), None)
        except OSError as error:
            found = error.errno == errno.EINVAL  # a key that cannot be read, among others
            if not found:
                reason = error.strerror or error
                raise SourceError(f"cannot scan {self.path!r}: {reason}") from error
        doubt = f" ({self.doubt})" if self.doubt else ""
        if self.pattern and not next(self._entries(listing), None):
            raise SourceError(f"no object matches {self.pattern} below {self.path!r}{doubt}")
        if not found and self._prefix:
            what = "there is no such object, and none below it"
            raise SourceError(f"cannot scan {self.path!r}: {what}{doubt}")

    def covers(self, uri: str) -> bool:
        if not self.is_dir or not uri.startswith(self.uri):
            return False
        below = Place.of(uri).key.removeprefix(self._prefix)
        return self.pattern is None or self.pattern.reaches(below.split("/"))

    def photos(self, listing: Discovery) -> Iterator[Found]:
        if self.facts is not None:
            count = partial(page_count, self.uri, self.facts)
            yield from pages(self.uri, self.uri, self.facts, count)
            return
        entries = self._entries(listing)
        while some := list(islice(entries, _LOOKED_AT)):
            photos = [(uri, facts) for uri, name, facts in some if _is_photo(uri, name, listing)]
            count_of = _page_counts(photos)
            for uri, facts in photos:
                yield from pages(uri, uri, facts, partial(count_of.__getitem__, uri))

    def count(self, listing: Discovery) -> int:
        if not self.is_dir:
            return 1
        return sum(named_like_an_image(name) for _, name, _ in self._entries(listing))

    @property
    def _prefix(self) -> str:
        return Place.of(self.uri).key

    def _chunks(self) -> Iterator[Any]:
        """Yield what the store lists, some objects at a time. Raises OSError."""
        place = Place.of(self.uri)
        listed = place.ask("list", place.key.rstrip("/") or None, chunk_size=_LISTED)
        while True:
            with store_errors(place.scheme):
                chunk = next(listed, None)
            if not chunk:
                return
            yield chunk

    def _entries(self, listing: Discovery) -> Iterator[tuple[str, str, FileFacts]]:
        """Yield uri, name and facts of every object that is meant and not left out."""
        prefix = self._prefix
        folder: list[str] = []
        out: list[str] = []
        """The part of the bucket that is left out with all that is in it."""
        for about in self._listed(listing):
            below = about["path"].removeprefix(prefix)
            if prefix and below == about["path"]:
                continue  # what a console puts there for the folder itself
            *folders, name = below.split("/")
            if folders != folder:
                if not out or folders[: len(out)] != out:
                    out = self._left_out(folders, listing)
                folder = folders
            if out or (self.pattern and not self.pattern.reaches((*folders, name))):
                continue
            uri = self.uri + quote(below)
            if name.startswith(APPLE_DOUBLE):
                listing.excluded[f"{APPLE_DOUBLE}*"] += 1
            elif listing.has_claimed(uri, text_of(uri)):
                continue
            elif not listing.excludes.leave_out(name, tuple(folders), is_dir=False):
                yield uri, name, facts_of(about)

    def _left_out(self, folders: list[str], listing: Discovery) -> list[str]:
        """Return the first of nested folders that is left out; empty where none is."""
        for depth, name in enumerate(folders):
            here = folders[: depth + 1]
            uri = f"{self.uri}{quote('/'.join(here))}/"
            if listing.has_claimed(uri, text_of(uri)):
                return here
            if listing.excludes.leave_out(name, tuple(folders[:depth]), is_dir=True):
                return here
        return []

    def _listed(self, listing: Discovery) -> Iterator[Any]:
        """Yield what the store says of each object. Where it lists a key that obstore refuses with
        all around it, go on folder by folder from there, and record only the folder of that key."""
        last, in_order = "", True
        try:
            for about in chain.from_iterable(self._chunks()):
                in_order = in_order and about["path"] > last
                last = about["path"]
                yield about
        except OSError as error:
            if error.errno == errno.EINVAL and in_order:
                yield from self._walk(self._prefix, last, listing)
            else:
                listing.misses(self.path, f"{error.strerror or error}; the rest was not listed")

    def _walk(self, folder: str, after: str, listing: Discovery) -> Iterator[Any]:
        """Yield the objects of one folder, and of those in it, behind the key `after`, as sorted
        as in the listing of all."""
        place = Place.of(self.uri)
        try:
            found = place.ask("list_with_delimiter", folder or None)
        except OSError as error:
            uri = f"{place.scheme}://{place.store}/{quote(folder)}"
            listing.misses(text_of(uri), error.strerror or str(error))
            return
        below: dict[str, Any] = {f"{path}/": None for path in found["common_prefixes"]}
        below |= {about["path"]: about for about in found["objects"]}
        for key in sorted(below):
            if below[key] is None:
                if not key < after or after.startswith(key):
                    yield from self._walk(key, after, listing)
            elif key > after:
                yield below[key]


def _is_photo(uri: str, name: str, listing: Discovery) -> bool:
    """By its name: a look inside would be a request for every other object."""
    if named_like_an_image(name):
        return True
    listing.ignores(uri)
    return False


def _page_counts(photos: list[tuple[str, FileFacts]]) -> dict[str, int]:
    """Count the photos in each of `photos`, which for TIFFs takes a look inside."""
    counts = {uri: 1 for uri, _ in photos}
    tiffs = [photo for photo in photos if named_like_a_tiff(photo[0])]
    if tiffs:
        with ThreadPoolExecutor(_LOOKED_AT) as threads:
            found = threads.map(lambda photo: page_count(*photo), tiffs)
            counts |= {uri: count for (uri, _), count in zip(tiffs, found, strict=True)}
    return counts
