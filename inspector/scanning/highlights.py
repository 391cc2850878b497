"""What a person wants to know of a table at once: its likeliest cracks by name, why photos are left
to a person, and which failed. Read part by part, a few columns of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from inspector.results.reader import ROW, read_steadily
from inspector.types import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.results.reader import Table

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
    likeliest: list[tuple[float, int]] = []
    reasons: Counter[str] = Counter()
    failed: defaultdict[str, list[int]] = defaultdict(list)
    for batch in table.batches(_READ):
        cracks = batch.filter(pc.equal(batch["verdict"], Verdict.CRACK.value))
        found = zip(cracks["p_crack"].to_pylist(), cracks[ROW].to_pylist(), strict=True)
        # Of equal ones those that come first.
        likeliest = nlargest(LIKELIEST, [*likeliest, *found], key=itemgetter(0))
        left = batch.filter(pc.equal(batch["verdict"], Verdict.REVIEW.value))
        reasons.update(left["reason"].to_pylist())
        wrong = batch.filter(batch["failure_code"].is_valid())
        codes = wrong["failure_code"].to_pylist()
        for code, row in zip(codes, wrong[ROW].to_pylist(), strict=True):
            if len(failed[code]) < EXAMPLES:
                failed[code].append(row)
    named = [row for _, row in likeliest] + [row for some in failed.values() for row in some]
    text_of = {row[ROW]: row for row in table.rows(named, ["path", "detail"])}
    return Highlights(
        cracks=[(p, text_of[row]["path"]) for p, row in likeliest],
        reasons=dict(reasons.most_common()),
        failed={
            code: [f"{text_of[row]['path']}: {text_of[row]['detail']}" for row in some]
            for code, some in failed.items()
        },
    )
