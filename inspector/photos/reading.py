"""Reading a photo's bytes from any source, within limits, with the facts of that very file."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inspector.photos.address import page_of
from inspector.photos.formats import MAGIC_BYTES, sniff
from inspector.photos.opened import Bytes, OpenBytes, Refused, storage_failure
from inspector.photos.source import source_of
from inspector.photos.tiff_directory import at_page, photo_pages
from inspector.types import Failure, FailureCode, ImageRef

if TYPE_CHECKING:
    from typing import Self

    from inspector.photos.opened import DecodeLimits
    from inspector.photos.source import PhotoFile


_ATTEMPTS = 2
"""A file that was written to while it was read is read again, once."""

_CHUNK = 1 << 20
"""Bytes read at a time of what is not held, or beyond the size that a file claims to have."""

_MOST_HELD_BYTES = 32 << 20
"""Size of a TIFF beyond which its bytes stay in the file: decoded it is large enough."""
_LEFT_IN_THE_FILE = frozenset({"TIFF", "BigTIFF"})
"""Formats whose decoders ask for one piece after the other."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All bytes of a file, to be left when they are not needed any more; `ref` has the size and
    time of the file that they were read from, which may not be those of the listing any more."""

    ref: ImageRef
    data: Bytes
    """Of a TIFF so that the page that `ref` names is the first."""
    content_hash: str
    """Sha256 of the file, hexadecimal."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if isinstance(self.data, OpenBytes):
            self.data.close()


def read(ref: ImageRef, limits: DecodeLimits) -> Contents | Failure:
    """Read the photo that `ref` names; never blocks on a pipe or device, never reads more than one
    byte beyond `limits.max_bytes`, never raises for what a file can be."""
    try:
        source = source_of(ref.path)
        for _ in range(_ATTEMPTS):
            with ExitStack() as opened:
                file = opened.enter_context(source.open(ref.path))
                outcome = _read_once(file, ref, limits)
                if isinstance(outcome, Contents) and isinstance(outcome.data, OpenBytes):
                    opened.pop_all()
            if outcome is not None:
                return outcome
    except Refused as refusal:
        return Failure(ref, refusal.code, refusal.detail)
    except OSError as error:
        return Failure(ref, *storage_failure(error))
    except MemoryError:
        return Failure(ref, FailureCode.TOO_LARGE, "reading it needs more memory than there is")
    except ValueError as error:  # a name with a NUL byte, which no file can have
        return Failure(ref, FailureCode.VANISHED, str(error))
    return Failure(ref, FailureCode.CHANGED, "written to while it was read, twice in a row")


def sha256_of(file: PhotoFile) -> bytes:
    """Compute the sha256 of the rest of an open photo, read a piece at a time."""
    digest = hashlib.sha256()
    while piece := file.read(_CHUNK):
        digest.update(piece)
    return digest.digest()


def sha256_within(address: str, max_bytes: int) -> bytes | None:
    """Compute the sha256 of a photo, read a piece at a time; None where it has more than
    `max_bytes` or cannot be read. Never waits on a pipe."""
    try:
        with source_of(address).open(address) as file:
            if (file.facts().size or 0) > max_bytes:
                return None
            return sha256_of(file)
    except (OSError, ValueError, Refused):
        return None


def _read_once(file: PhotoFile, ref: ImageRef, limits: DecodeLimits) -> Contents | Failure | None:
    """Return None when the file changed meanwhile."""
    before = file.facts()
    if (ref.size, ref.mtime_us) != (before.size, before.mtime_us):
        ref = replace(ref, size=before.size, mtime_us=before.mtime_us)
    size = before.size or 0
    if _MOST_HELD_BYTES < size <= limits.max_bytes:
        if sniff(file.read(MAGIC_BYTES)) in _LEFT_IN_THE_FILE:
            file.seek(0)
            content_hash = sha256_of(file).hex()
            is_same = before == file.facts()
            left = OpenBytes(file, before)
            return Contents(ref, _at_page(left, ref), content_hash) if is_same else None
        file.seek(0)
    data = b"" if size > limits.max_bytes else _up_to(file, size, limits.max_bytes + 1)
    if max(size, len(data)) > limits.max_bytes:
        detail = f"more than {limits.max_bytes:,} bytes (--max-bytes)"
        return Failure(ref, FailureCode.TOO_LARGE, detail)
    if before != file.facts():
        return None
    if len(data) < size:
        detail = f"the storage gave {len(data):,} of {size:,} bytes"
        return Failure(ref, FailureCode.IO_ERROR, detail)
    if not data:
        return Failure(ref, FailureCode.EMPTY, "0 bytes")
    return Contents(ref, _at_page(data, ref), hashlib.sha256(data).hexdigest())


def _at_page(data: Bytes, ref: ImageRef) -> Bytes:
    """Return the file as if the page that `ref` names were its first. Raises Refused."""
    page = page_of(ref.path)
    if page == 1:
        return data
    places = photo_pages(data)
    if page > len(places):
        detail = f"the file has {len(places)} pages that show photos, not {page}"
        raise Refused(FailureCode.VANISHED, detail)
    return at_page(data, places[page - 1])


def _up_to(file: PhotoFile, size: int, most: int) -> bytes:
    """Read at most `most` bytes of a file that claims to have `size`. Some have more: those that
    grow, and those of virtual file systems that claim 0."""
    data = file.read(min(size + 1, most))
    if len(data) <= size:
        return data
    chunks = [data]
    left = most - len(data)
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
