"""Decoders that really die: the real ones, but a file's name may crash, hang or starve them.

A decoder's bugs are fixed when they become known, so no file crashes it for sure and for ever. Here
the name of a file chooses the way in which its process goes; all others are decoded as ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import TYPE_CHECKING

from inspector.model.preprocess import ALL_WHOLE
from inspector.photos.decode import decode
from inspector.workers import child, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.model.preprocess import PreprocessSpec, Views
    from inspector.photos.opened import DecodeLimits
    from inspector.types import Decoded, Failure, ImageRef

_FOREVER_S = 3600
_TOO_MUCH = 1 << 50
"""Bytes; no machine has them, so the system refuses as it does when memory has run out."""


def _crash() -> None:
    ctypes.string_at(0)


def _abort() -> None:
    os.abort()


def _kill() -> None:
    """As the kernel does when memory has run out."""
    os.kill(os.getpid(), signal.SIGKILL)


def _leave() -> None:
    os._exit(7)


def _spin() -> None:
    while True:
        pass


def _sleep() -> None:
    """In C code that keeps the interpreter's lock, where no Python code can end it."""
    ctypes.PyDLL(None).sleep(_FOREVER_S)


def _starve() -> None:
    bytearray(_TOO_MUCH)


def _chatter() -> None:
    """As libraries in C do, past Python, and as somebody's forgotten debugging does."""
    os.write(1, b"noise" * 100_000)
    os.write(2, b"noise" * 100_000)
    print("noise" * 100_000)


DEEDS: dict[str, Callable[[], None]] = {
    "segfault": _crash,
    "abort": _abort,
    "oomkill": _kill,
    "exit": _leave,
    "hang": _spin,
    "sleep": _sleep,
    "memory": _starve,
    "noise": _chatter,
}
"""By what the name of a file begins with, up to the first hyphen. After `noise` it decodes."""

CRASHES = ("segfault", "abort", "oomkill", "exit", "memory")
HANGS = ("hang", "sleep")


def main() -> None:
    """Body of the process; see `child.main`."""
    child.decode = _decode  # type: ignore[attr-defined]
    child.main()


def _decode(
    ref: ImageRef,
    spec: PreprocessSpec,
    limits: DecodeLimits | None = None,
    views: Views = ALL_WHOLE,
) -> Decoded | Failure:
    deed = DEEDS.get(os.path.basename(ref.path).partition("-")[0])
    if deed is not None:
        deed()
    return decode(ref, spec, limits, views)


@contextlib.contextmanager
def hostile_decoders(
    program: str = "from bench.faults.hostile import main; main()",
) -> Iterator[None]:
    """Every decoder process that this process starts meanwhile runs `program`."""
    before = process.PROGRAM
    process.PROGRAM = program
    try:
        yield
    finally:
        process.PROGRAM = before
