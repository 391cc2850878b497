"""What a person wants to know of a table at once: its likeliest cracks by name, what is left to a
person and why, and which failed. Read part by part, a few columns of each; what people said counts
before what the model did."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inspector.results.labels import Label, read_decisions
from inspector.results.reader import read_steadily
from inspector.results.schema import JUDGED_AT, held
from inspector.results.view import view_batches
from inspector.types import Verdict

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from inspector.results.reader import Table

LIKELIEST = 10
EXAMPLES = 3
"""Failed photos that are named by failure code."""
_READ = ("verdict", "p_crack", "reason", "failure_code")
_HUMAN = "human_verdict"
_SURE = 2.0
"""Stands for the probability of a crack that a person has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlights:
    """All rows of a table, of this run and earlier ones."""

    cracks: list[tuple[bool, float | None, str]]
    """Of the likeliest cracks whether it is new, its probability (None: a person says so), and its
    path: new ones first, then what a person says, then the likeliest."""
    all_cracks: int
    new_cracks: int
    reasons: dict[str, int]
    """Photos that the model leaves to a person, and nobody has decided, by reason, the most
    frequent first."""
    unsure: int
    """Photos that somebody has looked at and left open."""
    failed: dict[str, list[str]]
    """A few failed photos and what was wrong, by failure code."""

    @property
    def open(self) -> int:
        """Photos that are left to a person."""
        return sum(self.reasons.values()) + self.unsure


def find(out: Path, since: datetime | None = None) -> Highlights:
    """Read the table of a result directory; rows that were judged `since` then are new. Raises
    OutputError where it, or what people said, cannot be read."""
    return read_steadily(out, lambda table: _read(table, since))


def _read(table: Table, since: datetime | None) -> Highlights:
    decisions = read_decisions(table.out)
    names = [*_READ, *([JUDGED_AT] if since else []), *([_HUMAN] if len(decisions) else [])]
    likeliest: list[tuple[bool, float, int]] = []
    all_cracks = new_cracks = unsure = begin = 0
    reasons: Counter[str] = Counter()
    failed: defaultdict[str, list[int]] = defaultdict(list)
    for batch in view_batches(table, decisions, names):
        is_new = pc.greater_equal(batch[JUDGED_AT], since) if since else None
        human = batch[_HUMAN] if len(decisions) else pa.nulls(len(batch), pa.string())
        after = pc.coalesce(human, batch["verdict"])
        crack_N = _places(pc.equal(after, Verdict.CRACK.value))
        new_N = np.zeros(len(batch), np.bool_)
        new_N[_places(is_new)] = True
        all_cracks += len(crack_N)
        new_cracks += int(new_N[crack_N].sum())
        p_N = pc.if_else(human.is_valid(), _SURE, batch["p_crack"])
        p = p_N.take(pa.array(crack_N)).to_pylist()
        found = zip(new_N[crack_N].tolist(), p, (begin + crack_N).tolist(), strict=True)
        # Of equal ones those that come first.
        likeliest = nlargest(LIKELIEST, [*likeliest, *found], key=itemgetter(0, 1))
        left = batch.filter(pc.equal(after, Verdict.REVIEW.value))
        reasons.update(left["reason"].to_pylist())
        unsure += len(_places(pc.equal(human, Label.UNSURE.value)))
        wrong_N = _places(batch["failure_code"].is_valid())
        codes = batch["failure_code"].take(pa.array(wrong_N)).to_pylist()
        for code, row in zip(codes, (begin + wrong_N).tolist(), strict=True):
            if len(failed[code]) < EXAMPLES:
                failed[code].append(row)
        begin += len(batch)
    named = [row for *_, row in likeliest] + [row for some in failed.values() for row in some]
    text_of = dict(zip(named, table.rows(named, ["path", "detail"]), strict=True))
    return Highlights(
        cracks=[
            (new, None if p == _SURE else p, text_of[row]["path"]) for new, p, row in likeliest
        ],
        all_cracks=all_cracks,
        new_cracks=new_cracks,
        reasons=dict(reasons.most_common()),
        unsure=unsure,
        failed={
            code: [f"{text_of[row]['path']}: {text_of[row]['detail']}" for row in some]
            for code, some in failed.items()
        },
    )


def _places(mask: pa.Array | None) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The rows of a batch for which a mask holds."""
    if mask is None:
        return np.empty(0, np.int64)
    return np.flatnonzero(held(mask)).astype(np.int64)
