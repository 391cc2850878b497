"""Programs that turn a folder of photos into a table, each run as a new process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.dataset as ds

from bench.checks import Answer
from bench.system import without_folders

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.checks import Answers
    from inspector.types import JsonObject


@dataclass(frozen=True, slots=True)
class Run:
    """One process: wall seconds, what it printed as JSON, and what went wrong, if anything."""

    wall_s: float
    said: JsonObject
    trouble: str = ""
    refused: bool = False
    """It ended because it does not know an option or value (exit code 2)."""


def run_module(arguments: Sequence[str]) -> Run:
    """`python -m ARGUMENTS`, which prints JSON."""
    started = time.perf_counter()
    command = [sys.executable, "-m", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - started
    if ended.returncode:
        reason = f"exit code {ended.returncode}: {without_folders(_last_words(ended.stderr))}"
        return Run(wall_s, {}, reason, refused=ended.returncode == 2)
    try:
        return Run(wall_s, json.loads(ended.stdout))
    except ValueError:
        return Run(wall_s, {}, "it printed something other than its JSON")


def _last_words(stderr: str) -> str:
    """The last line that has any; typer draws a box around its own."""
    lines = [line.strip(" │|") for line in stderr.splitlines()]
    return next((line for line in reversed(lines) if any(map(str.isalnum, line))), "no message")


def loop_seconds(said: JsonObject) -> float:
    """The part of a run between its start-up and its end, by its own clock."""
    if "loop_seconds" in said:
        return float(said["loop_seconds"])
    return float(said["seconds"] - said["stage_seconds"].get("start", 0.0))


def read_answers(table: Path) -> tuple[Answers, int]:
    """The answers in a table, and its number of rows."""
    dataset = ds.dataset(table)
    columns = [name for name in ("path", "p_crack", "verdict") if name in dataset.schema.names]
    rows = dataset.to_table(columns=columns).to_pylist()
    return {row["path"]: Answer(row["p_crack"], row.get("verdict")) for row in rows}, len(rows)
