"""Arguments, table and last words that peers have in common."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence


def peer_arguments() -> argparse.ArgumentParser:
    """Parser of `SOURCE BUNDLE TABLE [--device cpu|cuda]`."""
    parser = argparse.ArgumentParser()
    for name in ("source", "bundle", "table"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--device", default="cpu")
    return parser


def finish(
    table: Path,
    paths: Sequence[str],
    probabilities: Sequence[float | None],
    *,
    started: float,
    device: str,
) -> None:
    """Write the table of a peer, one row per photo (None: it could not be judged), and print the
    seconds since `started` (time.perf_counter) as JSON."""
    columns = {
        "path": pa.array(paths, pa.string()),
        "p_crack": pa.array(probabilities, pa.float32()),
    }
    with table.open("wb") as stream:
        pq.write_table(pa.table(columns), stream)
    print(json.dumps({"loop_seconds": time.perf_counter() - started, "device": device}))
