"""Crash-safe writes: afterwards a file is either the old one or the new one."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from typing import TYPE_CHECKING, BinaryIO

from inspector.core.untrusted import plain
from inspector.errors import BusyError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

PARTIAL = ".partial"
"""Suffix of a file that is not complete yet."""
_NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Error numbers by which file systems say that they lack an operation."""
_WINDOWS = os.name == "nt"
_PAUSES_S = (0.01, 0.05, 0.2, 0.5, 1, 2, 4)


def publish(content: bytes, target: Path, draft: Path | None = None) -> None:
    """Write `content` to the file `target` in one step. Raises OSError."""
    with replacing(target, draft) as file:
        write_new(content, file)


@contextlib.contextmanager
def replacing(target: Path, draft: Path | None = None) -> Iterator[Path]:
    """Yield a draft (by default a hidden file beside `target`), which replaces `target` once it is
    on disk; after an error it is removed. It is to be opened by mode `x`, which follows no link
    that somebody puts there. Raises OSError."""
    draft = draft or target.with_name(f".{target.name}{PARTIAL}")
    draft.unlink(missing_ok=True)  # left by a crash, or a link in its place
    try:
        yield draft
        _sync_file(draft)
        patiently(os.replace, draft, target)
    except BaseException:
        discard(draft)
        raise
    sync_directory(target.parent)


def patiently(act: Callable[..., object], *arguments: object) -> None:
    """Rename or remove by `act`. Windows refuses that as long as anybody has the file open, as a
    virus scanner or an indexer has for a moment: it is tried again for some seconds. Raises
    OSError."""
    for pause_s in _PAUSES_S if _WINDOWS else ():
        try:
            act(*arguments)
            return
        except PermissionError:
            time.sleep(pause_s)
    act(*arguments)


def discard(draft: Path) -> None:
    """Remove a draft if that can be."""
    with contextlib.suppress(OSError):
        draft.unlink(missing_ok=True)


def write_synced(content: bytes, file: Path) -> None:
    """Write a draft and wait until it is on disk. Raises OSError."""
    file.unlink(missing_ok=True)  # as in `replacing`
    write_new(content, file)
    _sync_file(file)


def write_new(content: bytes, file: Path) -> None:
    """Write a file that is not there yet. Raises OSError."""
    with file.open("xb") as stream:
        stream.write(content)


def append_synced(content: bytes, file: Path) -> None:
    """Append `content` and wait until it is on disk; an error leaves the file as it was. Raises
    OSError."""
    new = not os.path.exists(file)
    with open(file, "ab", buffering=0, opener=plain) as stream:
        add_synced(content, stream)
    if new:
        sync_directory(file.parent)


def add_synced(content: bytes, stream: FileIO) -> None:
    """Do the same for a file that is open for it."""
    end = os.fstat(stream.fileno()).st_size
    try:
        add_to(stream, content)
        _sync(stream.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            stream.truncate(end)
        raise


def add_to(stream: FileIO, content: bytes) -> None:
    """Write all of `content`. Raises OSError."""
    left = memoryview(content)
    while left:
        left = left[stream.write(left) :]


def _sync_file(path: Path) -> None:
    with path.open("rb+") as stream:  # writable: Windows syncs nothing else
        _sync(stream.fileno())


def _sync(descriptor: int) -> None:
    """Wait until a file is on disk; a Mac's disk has to be told to empty its own memory, too."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):  # not every file system can
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory survive a power failure, if the file system can
    sync directories. Raises OSError."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create a directory and its parents so that they survive a power failure. Raises OSError."""
    missing = [place for place in (path, *path.parents) if not os.path.exists(place)]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        with contextlib.suppress(PermissionError):  # one may be written to and yet not be read
            sync_directory(made.parent)


def is_empty(folder: Path) -> bool:
    """Whether a directory holds nothing; what may not be looked into may hold something."""
    with contextlib.suppress(OSError):
        return not os.listdir(folder)
    return False


def check_writable(target: Path) -> None:
    """Raise OutputError, before the work is done, if a directory cannot be created or written."""
    # `Path.exists` raises where a directory may not be entered.
    there = next(each for each in (target, *target.absolute().parents) if os.path.exists(each))
    if not os.path.isdir(there):
        raise OutputError(f"{there} is a file, not a directory; choose another --out than {target}")
    if not os.access(there, os.W_OK):
        raise OutputError(f"{there} may not be written to; choose another --out than {target}")


@contextlib.contextmanager
def locked(file: Path) -> Iterator[bool]:
    """Lock a file as long as this process lives; yields False if the file system has no locks.
    Raises BusyError if another process holds the lock, OSError."""
    with open(file, "ab", opener=plain) as stream:
        try:
            _lock(stream)
            held = True
        except (BlockingIOError, PermissionError) as error:
            raise BusyError(
                f"another process is writing to {file.parent.parent}; wait for it, or choose "
                "another --out"
            ) from error
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
            held = False
        yield held


def _lock(stream: BinaryIO) -> None:
    if sys.platform == "win32":
        import msvcrt

        stream.seek(0)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def reporting(out: Path | str, kept: Callable[[], str]) -> Iterator[None]:
    """Turn an OSError into an OutputError, one line that ends with what is `kept`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write results to {out}: {error.strerror or error}; {kept()}. Put that right "
            "and run the same command again, or choose another --out"
        ) from error


def as_before() -> str:
    """What is kept where nothing was changed yet."""
    return "what it holds is as it was"
