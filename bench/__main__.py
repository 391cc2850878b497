"""Fault injection and studies, `python -m bench`, of the repository; the wheel has none."""

from __future__ import annotations

import sys
from pathlib import Path

HELP = (
    "Measure this machine with: inspector bench\n"
    "Fault injection and studies (python -m bench faults, memory, leaks, ood, training) need a "
    "checkout of the repository."
)


if __name__ == "__main__":
    if not (Path(__file__).parent / "studies").is_dir():
        print(HELP, file=sys.stderr)
        sys.exit(2)
    from bench.studies.commands import main

    main()
