"""Temporary files and folders, also where nothing takes any: a container's root is read-only, and
often nothing else is there but the folder of the results."""

from __future__ import annotations

import os
import tempfile
from typing import IO


def spare_file() -> IO[bytes]:
    """Open a temporary file without a name; in memory, where no folder takes one. Raises
    OSError."""
    try:
        return tempfile.TemporaryFile()
    except FileNotFoundError:  # of all folders that the system has for it
        if not hasattr(os, "memfd_create"):
            raise
        return open(os.memfd_create("inspector"), "w+b")


def spare_folder() -> str | None:
    """Make a temporary folder; None where nothing takes one."""
    try:
        return tempfile.mkdtemp()
    except FileNotFoundError:
        return None
