"""A part of a bucket in which a table lies: objects that are put once and never changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from inspector.errors import UsageError
from inspector.photos.object_file import Place, canonical
from inspector.photos.stores import store_errors

if TYPE_CHECKING:
    from pathlib import Path

_TRIES = 3
_PAUSE_S = 0.2
"""Before the second try; each further one waits twice as long."""


class Bucket:
    """The objects below `address`, by names like `table/part-000000.parquet`. Everything raises
    OSError where the store does."""

    def __init__(self, address: str) -> None:
        """Raises UsageError for what is no address of a bucket."""
        try:
            self.uri = canonical(address).rstrip("/")
            self._place = Place.of(self.uri)
        except ValueError as error:
            raise UsageError(f"{address} is no address of a bucket: {error}") from error
        self.address = address.rstrip("/")
        """As people have spelled it."""
        if {"", ".", ".."} & set(self._place.key.split("/")) and self._place.key:
            raise UsageError(f"{address} has an empty name in it, or . or ..: choose another")

    def sizes(self, folder: str) -> dict[str, int]:
        """Return name and size of every object in a folder."""
        found: dict[str, int] = {}
        below = f"{self._key(folder)}/"
        listed = self._place.ask("list", below.rstrip("/"))
        with store_errors(self._place.scheme):
            for chunk in listed:
                found |= {about["path"].removeprefix(below): about["size"] for about in chunk}
        return found

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None where there is none."""
        try:
            got = self._place.ask("get", self._key(name))
        except FileNotFoundError:
            return None
        with store_errors(self._place.scheme):
            return bytes(got.bytes())

    def fetch(self, name: str, file: Path) -> None:
        """Write an object to a new file."""
        got = self._place.ask("get", self._key(name))
        with file.open("xb") as stream, store_errors(self._place.scheme):
            for chunk in got.stream():
                stream.write(chunk)

    def create(self, name: str, content: bytes) -> bytes:
        """Put an object where none is, and return what is there then: `content`, or what somebody
        else has put there before. An answer that got lost is asked for again."""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S * 2 ** (attempt - 1))
            failure: OSError | None = None
            try:
                if self.put(name, content):
                    return content
            except PermissionError:
                raise
            except OSError as error:
                failure = error
            # Not there although it is said to be: another writer's attempt has failed.
            if (there := self.read(name)) is not None:
                return there
        raise failure or FileExistsError(f"{name} can neither be written nor read")

    def put(self, name: str, content: bytes) -> bool:
        """Put an object where none is; False where one is."""
        try:
            self._place.ask("put", self._key(name), content, mode="create", use_multipart=False)
        except FileExistsError:
            return False
        return True

    def _key(self, name: str) -> str:
        return f"{self._place.key}/{name}".lstrip("/")
