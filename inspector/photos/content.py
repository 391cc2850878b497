"""The content of a file as one number, to tell whether it is still the same."""

from __future__ import annotations

import hashlib
import os
import stat


def sha256_within(path: str, max_bytes: int) -> bytes | None:
    """The sha256 of a regular file of at most `max_bytes`, read a piece at a time; None for
    anything else and for what cannot be read. Never waits on a pipe."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe disturbs its writer
            return None
        with open(path, "rb", opener=open_without_waiting) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size > max_bytes:
                return None
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def open_without_waiting(path: str, flags: int) -> int:
    """For `open(opener=...)`: a file that became a pipe meanwhile does not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # not on Windows
