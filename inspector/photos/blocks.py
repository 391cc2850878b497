"""Bytes inside of files, read at any place: a file, a piece of one, and what is packed in it."""

from __future__ import annotations

import os
import threading
import zlib
from bisect import bisect_right
from typing import Protocol

LARGEST = (1 << 63) - 1
"""The largest number of bytes that the system and the table can say."""
RAW, GZIP = -15, 31
"""Of DEFLATE: as it is in ZIPs, and with the header and checksum of gzip (zlib's `wbits`)."""

_INPUT = 1 << 18
_OUTPUT = 1 << 20
"""Bytes that are read, and unpacked, at a time."""
_FIRST = 1 << 12
"""Bytes that are read first where packed bytes begin again: there may be only few."""
_MOST_EMPTY = 10_000
"""Times in a row that packed bytes may give nothing."""
_APART = 8 << 20
"""Bytes between two marks at first."""
_MARKS = 64
"""Marks at most; each holds some 45 kB."""
GZIP_MAGIC = b"\x1f\x8b"


class Block(Protocol):
    """Bytes that can be read at any place, by several threads."""

    def read_at(self, begin: int, count: int) -> bytes:
        """Return `count` bytes from `begin` on; fewer only where they end. Raises OSError, and
        zlib.error where packed bytes are damaged."""


_seeking = threading.Lock()


def read_at(descriptor: int, count: int, begin: int) -> bytes:
    """Read up to `count` bytes of a file at a place, whoever else reads it. Raises OSError."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, begin)
    with _seeking:  # on Windows
        os.lseek(descriptor, begin, os.SEEK_SET)
        return os.read(descriptor, count)


class FileBlock:
    """A file that stays open as long as somebody holds this."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read_at(self, begin: int, count: int) -> bytes:
        if not 0 <= begin < LARGEST:  # what archives state may be anything
            return b""
        pieces = []
        while count and (found := read_at(self.descriptor, count, begin)):
            pieces.append(found)
            begin, count = begin + len(found), count - len(found)  # a call gives 2 GiB at most
        return b"".join(pieces)

    def __del__(self) -> None:
        os.close(self.descriptor)


class Piece:
    """A piece of a block."""

    def __init__(self, block: Block, begin: int, size: int) -> None:
        self._block, self._begin, self._size = block, begin, size

    def read_at(self, begin: int, count: int) -> bytes:
        count = min(count, self._size - begin)
        return self._block.read_at(self._begin + begin, count) if count > 0 else b""


class HeldPiece:
    """A piece of a block that is read as a whole, once, when it is first needed."""

    def __init__(self, block: Block, begin: int, size: int) -> None:
        self._piece, self._size = Piece(block, begin, size), size
        self._data: bytes | None = None

    def read_at(self, begin: int, count: int) -> bytes:
        if self._data is None:
            self._data = self._piece.read_at(0, self._size)
        return self._data[begin : begin + count]


class Inflated:
    """What a block holds packed, unpacked as far as it is asked for. To go on is cheap; what was
    passed is unpacked again from the mark before it, of which 64 are set at most."""

    def __init__(self, packed: Block, form: int) -> None:
        self._packed, self._form = packed, form
        self._lock = threading.Lock()
        self._state = zlib.decompressobj(form)
        self._place = self._unpacked = 0
        """Bytes of `packed` that were taken, and bytes that they gave."""
        self._input = _INPUT
        self._apart = _APART
        self._marks = [(0, 0, self._state.copy())]
        self.taken = 0
        """Bytes of the packed ones that the whole needs, as far as that is known."""

    def read_at(self, begin: int, count: int) -> bytes:
        with self._lock:
            self._go_to(begin)
            pieces = []
            while count > 0 and (piece := self._next(min(count, _OUTPUT))):
                pieces.append(piece)
                count -= len(piece)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _go_to(self, begin: int) -> None:
        nearest = bisect_right(self._marks, begin, key=lambda mark: mark[0]) - 1
        if begin < self._unpacked or self._marks[nearest][0] > self._unpacked:
            self._unpacked, self._place, state = self._marks[nearest]
            self._state = state.copy()
        while self._unpacked < begin and self._next(min(begin - self._unpacked, _OUTPUT)):
            pass

    def _next(self, most: int) -> bytes:
        """Unpack the next bytes, at most `most`; none at the end."""
        for _ in range(_MOST_EMPTY):
            if self._state.eof and not self._begins_again():
                return b""
            given = self._packed.read_at(self._place, self._input)
            self._input = min(2 * self._input, _INPUT)
            found = self._state.decompress(given, most)
            state = self._state
            spare = len(state.unused_data if state.eof else state.unconsumed_tail)
            self._place += len(given) - spare
            self._unpacked += len(found)
            self.taken = max(self.taken, self._place)
            if found:
                self._mark()
                return found
            if not self._state.eof and len(given) == spare:
                return b""  # cut off
        raise zlib.error("too much that gives nothing")

    def _begins_again(self) -> bool:
        """Whether other packed bytes follow, as those of gzip may."""
        if self._form != GZIP or self._packed.read_at(self._place, 2) != GZIP_MAGIC:
            return False
        self._state = zlib.decompressobj(self._form)
        self._input = _FIRST
        return True

    def _mark(self) -> None:
        if self._unpacked - self._marks[-1][0] < self._apart:
            return
        self._marks.append((self._unpacked, self._place, self._state.copy()))
        if len(self._marks) > _MARKS:
            del self._marks[1::2]
            self._apart *= 2

    @property
    def has_ended(self) -> bool:
        """Whether the last bytes that were read are the last ones, and followed by the mark of the
        end."""
        return self._state.eof
