"""What was found out about this machine, kept for the next scan in a file that may be lost."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.durable import publish
from inspector.machine import cpu_model, usable_cores

if TYPE_CHECKING:
    from inspector.bundle import ModelBundle
    from inspector.types import JsonObject

CACHE_VARIABLE = "INSPECTOR_CACHE_DIR"
"""Environment variable with the folder for what is remembered."""
_DISTRIBUTIONS = ("onnxruntime-gpu", "onnxruntime", "openvino")


def machine_key(bundle: ModelBundle, about: str) -> str:
    """Of everything that decides how fast this bundle runs here; `about` tells entries apart."""
    facts = [about, cpu_model(), usable_cores(), sorted(bundle.files.items())]
    facts += [_version(distribution) for distribution in _DISTRIBUTIONS]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def recall(key: str) -> Any:
    """What is remembered under a key, as JSON; None where nothing is or it cannot be read."""
    return _read(cache_file()).get(key)


def remember(key: str, value: JsonObject) -> None:
    """In one step; a home that cannot be written only means measuring again."""
    file = cache_file()
    known = _read(file) | {key: value}
    draft = file.with_name(f".{file.name}.{os.getpid()}")  # others may be writing as well
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        publish(json.dumps(known, indent=1).encode(), file, draft)


def cache_file() -> Path:
    """Where measurements are kept: where the environment says, or else by each system's convention
    for files that may be lost."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen) / "tuning.json"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    return base / "crack-inspector" / "tuning.json"


def _home() -> Path:
    """The user's; in a container, a user made up at its start may have none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir())


def _read(file: Path) -> JsonObject:
    """What is remembered; nothing where that cannot be read, for it can be measured again."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
