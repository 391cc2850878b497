"""`python -m bench.watched SOURCE OUT MODEL`: the scan by the library's own function, saying when
the first verdict came and what the processes used."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.scan import ScanConfig, scan

if TYPE_CHECKING:
    from inspector.types import JsonObject


class FirstVerdict:
    """Notes when the first batch was judged (time.time)."""

    at: float | None = None

    def start(self, *about: Any) -> None:
        """The engine is up: no verdict yet."""

    def update(self, *about: Any) -> None:
        if self.at is None:
            self.at = time.time()


def usage() -> JsonObject:
    """CPU seconds of this process and its ended children, and peak resident memory (MiB) of this
    process and of its largest child; empty where the system does not tell."""
    if sys.platform == "win32":
        return {}
    import resource

    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    # In bytes on macOS, in KiB elsewhere (getrusage(2)).
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "cpu_seconds": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
        "main_peak_mib": own.ru_maxrss / per_mib,
        "child_peak_mib": children.ru_maxrss / per_mib,
    }


def main() -> None:
    source, out, model = sys.argv[1:]
    watch = FirstVerdict()
    config = ScanConfig(sources=(source,), out=Path(out), model=Path(model), device="cpu")
    summary = scan(config, watch=watch)
    said = summary.to_json() | {"first_verdict_at": watch.at, "usage": usage()}
    print(json.dumps(said, default=str))


if __name__ == "__main__":
    main()
