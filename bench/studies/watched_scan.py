"""A scan by the library's own function that says when the first verdict came and what its processes
used: `python -m bench.studies.watched_scan SOURCE OUT MODEL`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from bench.processes import cpu_seconds
from inspector.scanning import ScanConfig, scan


class FirstVerdict:
    """Notes when the first batch was judged (time.time)."""

    at: float | None = None

    def start(self, *about: Any) -> None:
        """The engine is up: no verdict yet."""

    def update(self, *about: Any) -> None:
        if self.at is None:
            self.at = time.time()


def main() -> None:
    source, out, model = sys.argv[1:]
    watch = FirstVerdict()
    config = ScanConfig(sources=(source,), out=Path(out), model=Path(model), device="cpu")
    summary = scan(config, watch=watch)
    children_s = cpu_seconds()
    cpu_s = None if children_s is None else children_s + time.process_time()
    said = summary.to_json() | {"first_verdict_at": watch.at, "cpu_seconds": cpu_s}
    print(json.dumps(said, default=str))


if __name__ == "__main__":
    main()
