"""What the review knows about every row: a few bytes each, and in which order to look.

Ten bytes per row stay in memory, whatever the table's size; names and facts are read from the
parts when they are shown (`rows.py`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inspector.core.layout import Layout
from inspector.errors import OutputError
from inspector.results.labels import Label, latest, with_human_verdicts
from inspector.results.parts import opened_part
from inspector.results.schema import METADATA_PREFIX
from inspector.types import FailureCode, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.types import JsonObject

VERDICTS = tuple(str(verdict) for verdict in Verdict)
REASONS = tuple(str(reason) for reason in Reason)
FAILURES = tuple(str(code) for code in FailureCode)
LABELS = tuple(str(label) for label in Label)
"""Words that the index keeps as their place, counted from 1; 0 is null."""

MISS_COST = 50.0
"""What a missed crack costs, in false alarms: between photos that the model has decided, the order
is by what its verdict is expected to cost if nobody looks."""

_TIERS = {Reason.NEAR_THRESHOLD: 0, Reason.DOWNSCALED: 2, Reason.MODEL: 4}
_OTHER_REASON = 1
"""The model did not know what it saw, for one."""
_FAILED = 3
_OPENABLE = frozenset(
    {
        FailureCode.TRUNCATED,
        FailureCode.CORRUPT,
        FailureCode.UNSUPPORTED,
        FailureCode.CHANGED,
        FailureCode.PERMISSION,
        FailureCode.IO_ERROR,
    }
)
"""Failures after which there may still be something to look at."""
_COLUMNS = ["verdict", "reason", "failure_code", "p_crack"]


SEE_VERIFY = "see: inspector verify"


class StaleTableError(Exception):
    """A scan has rewritten a part since the index was made."""


@dataclass(frozen=True, slots=True)
class PartFile:
    """A part as it was when the index was made. `begin` is the number of its first row."""

    path: Path
    begin: int
    rows: int
    state: tuple[int, int, int]
    """Inode, size and time of change: no two states of a part share them."""

    def check(self) -> None:
        """Raises StaleTableError when the file is another one now."""
        if state_of(self.path) != self.state:
            raise StaleTableError(self.path.name)


@dataclass(frozen=True, slots=True)
class Index:
    """Row k of N: `verdict_N`, `reason_N`, `failure_N` and `label_N` are places in the word lists
    above, from 1 on (uint8); `p_N` float32, NaN where there is none. `order` holds the rows
    (int32), the ones most worth a look first. `metadata` is that of the last part."""

    parts: tuple[PartFile, ...]
    verdict_N: NDArray[np.uint8]
    reason_N: NDArray[np.uint8]
    failure_N: NDArray[np.uint8]
    label_N: NDArray[np.uint8]
    p_N: NDArray[np.float32]
    order: NDArray[np.int32]
    metadata: dict[str, str]

    def __len__(self) -> int:
        return len(self.p_N)

    def part_of(self, row: int) -> PartFile:
        begins = [part.begin for part in self.parts]
        return self.parts[int(np.searchsorted(begins, row, side="right")) - 1]

    def facts(self, row: int) -> JsonObject:
        """What is kept of one row, in words."""
        p = float(self.p_N[row])
        return {
            "row": row,
            "verdict": _word(self.verdict_N[row], VERDICTS),
            "failure_code": _word(self.failure_N[row], FAILURES),
            "label": _word(self.label_N[row], LABELS),
            "p_crack": None if p != p else p,
        }

    def is_current(self, out: Path) -> bool:
        """Whether the table still has the very parts that were indexed."""
        found = [(path, state_of(path)) for path in Layout(out).parts()]
        return found == [(part.path, part.state) for part in self.parts]


def _word(place: int, words: Sequence[str]) -> str | None:
    return words[place - 1] if place else None


def state_of(path: Path) -> tuple[int, int, int]:
    try:
        about = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return about.st_ino, about.st_size, about.st_mtime_ns


def build_index(out: Path, decisions: pa.Table) -> Index:
    """Read what orders the rows of the table in `out`, part by part. Raises OutputError: no table,
    or a part that cannot be read; StaleTableError when a scan rewrote one meanwhile."""
    labels = latest(decisions)
    paths = Layout(out).parts()
    if not paths:
        raise OutputError(f"{out} holds no results to review; make some with: inspector scan")
    parts: list[PartFile] = []
    columns: list[tuple[NDArray[np.uint8], ...]] = []
    p_parts: list[NDArray[np.float32]] = []
    metadata: dict[str, str] = {}
    begin = 0
    for path in paths:
        state = state_of(path)
        table, metadata = _read(path, labels)
        parts.append(PartFile(path, begin, table.num_rows, state))
        parts[-1].check()
        columns.append(_codes(table))
        p_parts.append(table["p_crack"].to_numpy().astype(np.float32))
        begin += table.num_rows
    verdict_N, reason_N, failure_N, label_N = (
        np.concatenate(pieces) for pieces in zip(*columns, strict=True)
    )
    p_N = np.concatenate(p_parts)
    order = _order(verdict_N, reason_N, failure_N, p_N)
    return Index(
        tuple(parts), verdict_N, reason_N, failure_N, label_N, p_N, order, metadata
    )  # fmt: skip


def _read(path: Path, labels: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """The indexed columns of one part with `human_verdict`, and the part's metadata."""
    keys = ["uri", "content_hash", "size_bytes", "mtime"] if labels.num_rows else []
    with opened_part(path, SEE_VERIFY) as file:
        table = file.read(columns=[*_COLUMNS, *keys], use_threads=False)
    raw = table.schema.metadata or {}
    metadata = {
        key.decode().removeprefix(METADATA_PREFIX): value.decode("utf-8", "replace")
        for key, value in raw.items()
        if key.startswith(METADATA_PREFIX.encode())
    }
    if keys:
        return with_human_verdicts(table, labels), metadata
    none = pa.nulls(table.num_rows, pa.string())
    return table.append_column("human_verdict", none), metadata


def _codes(table: pa.Table) -> tuple[NDArray[np.uint8], ...]:
    lists = {
        "verdict": VERDICTS,
        "reason": REASONS,
        "failure_code": FAILURES,
        "human_verdict": LABELS,
    }
    return tuple(_coded(table[name], words) for name, words in lists.items())


def _coded(column: pa.ChunkedArray, words: Sequence[str]) -> NDArray[np.uint8]:
    """Each word's place counted from 1; 0 for null and for words of another version."""
    import pyarrow.compute as pc

    places = pc.index_in(column, value_set=pa.array(words, pa.string()))
    places_N: NDArray[np.int32] = pc.fill_null(places, -1).to_numpy()
    return (places_N + 1).astype(np.uint8)


def _order(
    verdict_N: NDArray[np.uint8],
    reason_N: NDArray[np.uint8],
    failure_N: NDArray[np.uint8],
    p_N: NDArray[np.float32],
) -> NDArray[np.int32]:
    """Rows by tier (what the model left open, what failed, what it decided) and, within each, by
    what a look is worth: the probability of a crack where the verdict is open, the expected cost
    of the verdict where it is not."""
    tier_of_reason = np.full(len(REASONS) + 1, _OTHER_REASON, np.int8)
    for reason, tier in _TIERS.items():
        tier_of_reason[REASONS.index(reason) + 1] = tier
    tier_N = tier_of_reason[reason_N]
    failed_N = verdict_N == 0
    tier_N[failed_N] = _FAILED

    openable = np.array([False, *(code in _OPENABLE for code in FAILURES)])
    p_known_N = np.nan_to_num(p_N)
    worth_N = p_known_N.copy()
    worth_N[failed_N] = openable[failure_N[failed_N]]
    clear_N = verdict_N == VERDICTS.index(Verdict.CLEAR) + 1
    crack_N = verdict_N == VERDICTS.index(Verdict.CRACK) + 1
    worth_N[clear_N] = MISS_COST * p_known_N[clear_N]
    worth_N[crack_N] = 1 - p_known_N[crack_N]
    return np.lexsort((-worth_N, tier_N)).astype(np.int32)
