"""What was found out about this machine, kept for the next scan in a file that may be lost."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.core.durable import publish
from inspector.core.machine import cpu_model, usable_cores
from inspector.core.untrusted import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.types import JsonObject

CACHE_VARIABLE = "INSPECTOR_CACHE_DIR"
"""Environment variable with the folder for what is remembered."""
_DISTRIBUTIONS = ("onnxruntime-gpu", "onnxruntime", "openvino")


def machine_key(files: Mapping[str, str], about: str) -> str:
    """Of everything that decides how fast a bundle with these `files` (name -> sha256) runs here;
    `about` tells entries apart."""
    facts = [about, cpu_model(), usable_cores(), sorted(files.items())]
    facts += [_version(distribution) for distribution in _DISTRIBUTIONS]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def recall(key: str) -> Any:
    """What is remembered under a key, as JSON; None where nothing is or it cannot be read."""
    file = cache_file()
    return _read(file).get(key) if file else None


def remember(key: str, value: JsonObject) -> None:
    """In one step; a home that cannot be written only means measuring again."""
    file = cache_file()
    if file is None:
        return
    known = _read(file) | {key: value}
    draft = file.with_name(f".{file.name}.{os.getpid()}")  # others may be writing as well
    with suppress(OSError):
        publish(json.dumps(known, indent=1).encode(), file, draft)


def cache_file() -> Path | None:
    """Where measurements are kept; None where no folder is this user's alone."""
    folder = private_folder()
    return folder / "tuning.json" if folder else None


def private_folder() -> Path | None:
    """The folder for what is remembered, made if need be: where the environment says, or else by
    each system's convention. None where it cannot be made, or where others could have put something
    into it: what is kept there decides engines, and compiled ones are programs."""
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except (OSError, RuntimeError):  # a user made up at a container's start may have no home
        return None
    if sys.platform == "win32":
        return folder
    return folder if about.st_uid == os.geteuid() and not about.st_mode & 0o022 else None


def _folder() -> Path:
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "crack-inspector"


def _read(file: Path) -> JsonObject:
    """What is remembered; nothing where that cannot be read, for it can be measured again."""
    try:
        values = read_json(file)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
