"""Cache of measurements on this machine: a JSON file that may be lost at any time."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.core.durable import publish
from inspector.core.machine import cpu_model, installed_version, usable_cores
from inspector.core.untrusted import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.types import JsonObject

CACHE_VARIABLE = "INSPECTOR_CACHE_DIR"
"""Environment variable that names the cache folder."""
_DISTRIBUTIONS = ("onnxruntime-gpu", "onnxruntime", "openvino")


def machine_key(files: Mapping[str, str], about: str) -> str:
    """Build a cache key from everything that decides how fast a bundle runs on this machine.

    Args:
        files: sha256 of each file of the bundle, by name.
        about: Purpose of the entry; keeps entries for one bundle apart.
    """
    facts = [about, cpu_model(), usable_cores(), sorted(files.items())]
    facts += [installed_version(distribution) for distribution in _DISTRIBUTIONS]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def get_cached(key: str) -> Any:
    """Get the JSON value of a key; None if there is none or the cache cannot be read."""
    file = cache_file()
    return _read(file).get(key) if file else None


def set_cached(key: str, value: JsonObject) -> None:
    """Set the value of a key. A cache that cannot be written is ignored: values are measured
    again."""
    file = cache_file()
    if file is None:
        return
    values = _read(file) | {key: value}
    draft = file.with_name(f".{file.name}.{os.getpid()}")  # others may be writing as well
    with suppress(OSError):
        publish(json.dumps(values, indent=1).encode(), file, draft)


def cache_file() -> Path | None:
    """The cache's file; None if `private_folder` is."""
    folder = private_folder()
    return folder / "tuning.json" if folder else None


def private_folder() -> Path | None:
    """The cache folder, created if need be: $INSPECTOR_CACHE_DIR, or else by the system's
    convention.

    Returns:
        None if it cannot be created, or if other users may write to it: its content decides which
        engines run, and compiled engines are programs.
    """
    from platformdirs import user_cache_path

    try:
        chosen = os.environ.get(CACHE_VARIABLE)
        folder = Path(chosen or user_cache_path("crack-inspector", appauthor=False))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except (OSError, RuntimeError):  # a user made up at a container's start may have no home
        return None
    if sys.platform == "win32":
        return folder
    return folder if about.st_uid == os.geteuid() and not about.st_mode & 0o022 else None


def _read(file: Path) -> JsonObject:
    try:
        values = read_json(file)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
