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
    """CPU seconds of this process and its ended children; empty where the system does not tell.

    Not its `ru_maxrss`: on Linux a process starts with the peak of the one that forked it.
    """
    if sys.platform == "win32":
        return {}
    import resource

    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"cpu_seconds": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime}


def main() -> None:
    source, out, model = sys.argv[1:]
    watch = FirstVerdict()
    config = ScanConfig(sources=(source,), out=Path(out), model=Path(model), device="cpu")
    summary = scan(config, watch=watch)
    said = summary.to_json() | {"first_verdict_at": watch.at, "usage": usage()}
    print(json.dumps(said, default=str))


if __name__ == "__main__":
    main()
