"""What a person wants to know of a table at once: its likeliest cracks by name, why photos are left
to a person, and which failed. Read part by part, a few columns of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from inspector.results.reader import ROW, read_steadily
from inspector.types import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from inspector.results.reader import Table

    Floats = NDArray[np.float64]

LIKELIEST = 10
EXAMPLES = 3
"""Failed photos that are named by failure code."""
_READ = ("verdict", "p_crack", "reason", "failure_code")


@dataclass(frozen=True, slots=True)
class Highlights:
    """All rows of a table, of this run and earlier ones."""

    cracks: list[tuple[float, str]]
    """Probability and path of the likeliest photos called crack, the likeliest first."""
    reasons: dict[str, int]
    """Photos left to a person by reason, the most frequent first."""
    failed: dict[str, list[str]]
    """A few failed photos and what was wrong, by failure code."""


def find(out: Path) -> Highlights:
    """Read the table of a result directory. Raises OutputError where it cannot be read."""
    return read_steadily(out, _read)


def _read(table: Table) -> Highlights:
    top = np.zeros((0, 2))
    reasons: Counter[str] = Counter()
    failed: dict[str, list[int]] = {}
    for batch in table.batches(_READ):
        top = _likelier(top, batch)
        left = batch.filter(pc.equal(batch["verdict"], Verdict.REVIEW.value))
        for found in pc.value_counts(left["reason"]).to_pylist():
            reasons[found["values"]] += found["counts"]
        for code in pc.unique(batch["failure_code"].drop_null()).to_pylist():
            known = failed.setdefault(code, [])
            if len(known) < EXAMPLES:
                which = batch.filter(pc.equal(batch["failure_code"], code))[ROW]
                known += which[: EXAMPLES - len(known)].to_pylist()
    rows = [int(row) for row in top[:, 1]]
    named = [*rows, *(row for some in failed.values() for row in some)]
    text_of = {row[ROW]: row for row in table.rows(named, ["path", "detail"])}
    return Highlights(
        cracks=[(float(p), text_of[int(row)]["path"]) for p, row in top],
        reasons=dict(reasons.most_common()),
        failed={
            code: [f"{text_of[row]['path']}: {text_of[row]['detail']}" for row in some]
            for code, some in failed.items()
        },
    )


def _likelier(top_K2: Floats, batch: pa.RecordBatch) -> Floats:
    """The likeliest rows (probability, number) of those so far and the cracks of a batch; of
    equal ones those that come first."""
    cracks = batch.filter(pc.equal(batch["verdict"], Verdict.CRACK.value))
    p_N = cracks["p_crack"].to_numpy(zero_copy_only=False)
    row_N = cracks[ROW].to_numpy(zero_copy_only=False)
    both_N2: Floats = np.concatenate([top_K2, np.stack([p_N, row_N], axis=1)])
    return both_N2[np.argsort(-both_N2[:, 0], kind="stable")[:LIKELIEST]]
