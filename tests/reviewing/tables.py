"""Result tables of a few rows, made without a model."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from inspector.library.frames import Results
from inspector.results.schema import to_table
from inspector.results.store import open_results

IDENTITY = {
    "model": "f" * 64, "clear_below": "0.3", "crack_from": "0.7",
    "dense_clear_below": "0.2", "dense_crack_from": "0.8",
}  # fmt: skip
EPOCH = datetime(1970, 1, 1)


def row_of(path: Path, **values: Any) -> dict[str, Any]:
    """A row of the file at `path` as it is now; of a made-up one, if there is none."""
    about: dict[str, Any] = {"size_bytes": 1, "mtime": EPOCH, "content_hash": "0" * 64}
    if path.exists():
        stat = path.stat()
        moment = EPOCH + timedelta(microseconds=stat.st_mtime_ns // 1000)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        about = {"size_bytes": stat.st_size, "mtime": moment, "content_hash": digest}
    row = {
        "uri": path.as_uri(), "path": str(path), "status": "ok", "verdict": "review",
        "reason": "near_threshold", "p_crack": 0.5, "stage": "fp32@64", "peak_x": 0.25,
        "peak_y": 0.75, "format": "PNG",
    } | about | values  # fmt: skip
    if "failure_code" in values:
        judged = ("verdict", "reason", "p_crack", "stage", "peak_x", "peak_y")
        row |= dict.fromkeys(judged) | {"status": "failed", "detail": "broken"}
    return row


def write_table(out: Path, *parts: list[dict[str, Any]], overwrite: bool = False) -> Path:
    """A committed table with one part for each list of rows."""
    with open_results(out, IDENTITY, overwrite=overwrite) as results:
        facts = {**IDENTITY, "fingerprint": results.fingerprint}
        for rows in parts:
            results.commit(to_table(rows, facts))
    return out


def labelled(out: Path) -> Any:
    """The rows of the view that somebody labelled, as an Arrow table."""
    table = Results(out).to_arrow()
    return table.filter(table["human_verdict"].is_valid())
