"""A measurement in a process of its own, and the most memory that it took."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.types import JsonObject


def measured_apart(module: str, *arguments: object) -> JsonObject:
    """What `python -m MODULE ARGUMENTS` prints as JSON. Raises CalledProcessError."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: JsonObject = json.loads(done.stdout)
    return found


def peak_bytes() -> int:
    """The largest resident set of this process until now; `getrusage` would count its parent's
    before it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
