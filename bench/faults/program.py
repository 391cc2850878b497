"""`python -m bench.faults.program JSON`: a scan by the library's own function with small parts, so
that commits are many; on demand it kills itself at one of its own steps."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.faults.hostile import hostile_decoders
from inspector.errors import InspectorError
from inspector.photos.opened import DecodeLimits
from inspector.scanning import ScanConfig, pipeline, scan
from inspector.scanning.pipeline import ParquetSink

if TYPE_CHECKING:
    from inspector.types import JsonObject

STEP = "step "
"""Begins each line on stderr that names a step; the last one is where the program died."""
_FOREVER_S = 1e9
"""No commit because time has passed: the steps are then the same in every run."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = frozenset("os.rename os.remove os.mkdir os.rmdir os.truncate os.link".split())
"""Audit events (PEP 578) of what changes names in a directory."""


def name_of_step(event: str, args: tuple[Any, ...], out: str) -> str | None:
    """An audit event as a step in `out`, by the names in it; None when it does not change `out`."""
    if event == "open":
        path, _, flags = args
        if isinstance(path, int) or not isinstance(flags, int):
            return None
        if flags & _WRITING:
            event = "open for writing"
        elif flags & getattr(os, "O_DIRECTORY", 0):
            event = "open to sync"
        else:
            return None
        paths = [path]
    elif event in _CHANGES:
        paths = [arg for arg in args if isinstance(arg, str | bytes | os.PathLike)]
    else:
        return None
    names = [os.path.relpath(os.fsdecode(path), out) for path in paths]
    if not names or any(name == os.pardir or name.startswith("../") for name in names):
        return None
    return f"{event} {' -> '.join(names)}"


def die_at_step(number: int, out: str) -> None:
    """From now on every step in `out` is named on stderr; at the beginning of the `number`-th this
    process is killed, as if by somebody else. 0: never."""
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        name = name_of_step(event, args, out)
        if name is None:
            return
        count += 1
        os.write(2, f"{STEP}{count}: {name}\n".encode("utf-8", "backslashreplace"))
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def config_of(wanted: JsonObject) -> ScanConfig:
    """A scan's options from JSON."""
    options = dict(wanted["options"])
    return ScanConfig(
        sources=tuple(options.pop("sources")),
        out=Path(options.pop("out")),
        model=Path(options.pop("model")),
        limits=DecodeLimits(**options.pop("limits", {})),
        **options,
    )


def main() -> None:
    wanted = json.loads(sys.argv[1])
    small_parts = functools.partial(
        ParquetSink, rows_per_part=wanted["rows_per_part"], seconds_per_part=_FOREVER_S
    )
    vars(pipeline)["ParquetSink"] = small_parts
    config = config_of(wanted)
    if wanted["die_at"] is not None:
        die_at_step(wanted["die_at"], str(config.out))
    decoders = hostile_decoders() if wanted["hostile"] else contextlib.nullcontext()
    try:
        with decoders:
            summary = scan(config)
    except InspectorError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(json.dumps(summary.to_json()))
    sys.exit(summary.exit_code)


if __name__ == "__main__":
    main()
