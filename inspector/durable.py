"""Writing to disk so that a crash leaves either the old state or the new one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from inspector.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PARTIAL = ".partial"
"""Ends the name of a file that is not complete yet."""


def publish(content: bytes, target: Path, draft: Path | None = None) -> None:
    """Make `content` the file `target`. Raises OSError."""
    with replacing(target, draft) as file:
        file.write_bytes(content)


@contextlib.contextmanager
def replacing(target: Path, draft: Path | None = None) -> Iterator[Path]:
    """A file to write, `draft` on the same file system or one beside `target`. It gets the name
    `target` only when it is on disk; after an error it is removed. Raises OSError."""
    draft = draft or target.with_name(f".{target.name}{PARTIAL}")
    try:
        yield draft
        _sync_file(draft)
        os.replace(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as stream:  # writable: Windows syncs nothing else
        os.fsync(stream.fileno())


def _sync_directory(path: Path) -> None:
    """Make a rename survive a power failure, where directories can be synced."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold `file` for this process; the operating system lets go of it however the process ends.
    Raises OutputError when another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with file.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another process is writing to {file.parent.parent}; wait for it, or choose "
                "another --out"
            ) from error
        except OSError:
            pass  # some network file systems have no locks
        yield


@contextlib.contextmanager
def reporting(out: Path, kept: Callable[[], str]) -> Iterator[None]:
    """Turn what the file system says into one line for the user, with what is `kept`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write results to {out}: {error.strerror or error}; {kept()}. Make room or "
            "choose another --out, and run the same command again"
        ) from error
