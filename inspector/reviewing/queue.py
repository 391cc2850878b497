"""Which rows a reviewer wants to see, and how many there are of each kind."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import UsageError
from inspector.reviewing.index import FAILURES, LABELS, REASONS, VERDICTS
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from inspector.reviewing.index import Index
    from inspector.reviewing.rows import Rows

FAILED = "failed"
OPEN, LABELLED, DIFFERS = "open", "labelled", "differs"
"""Beside the labels themselves: not labelled yet, labelled at all, against the model's verdict."""
_LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Empty: all. `verdict` may also be `failed`. Raises UsageError for other words than there
    are."""

    verdict: str = ""
    reason: str = ""
    failure: str = ""
    label: str = ""
    text: str = ""
    """To be found in the path, in any case of letters."""

    def __post_init__(self) -> None:
        allowed = {
            "verdict": (*VERDICTS, FAILED),
            "reason": REASONS,
            "failure": FAILURES,
            "label": (*LABELS, OPEN, LABELLED, DIFFERS),
        }
        for name, words in allowed.items():
            value = getattr(self, name)
            if value and value not in words:
                raise UsageError(f"{name}={value!r} is none of: {', '.join(words)}")
        if len(self.text) > _LONGEST_TEXT:
            raise UsageError(f"a search of more than {_LONGEST_TEXT} characters")

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Filters:
        """From a page's query; what it does not know is ignored."""
        return cls(**{f.name: given[f.name] for f in fields(cls) if f.name in given})


def select(index: Index, rows: Rows, filters: Filters) -> NDArray[np.int32]:
    """The rows to look at, the ones most worth it first. Raises StaleTableError, OutputError."""
    wanted = np.ones(len(index), np.bool_)
    if filters.verdict:
        wanted &= index.verdict_N == _place(filters.verdict, VERDICTS)
    if filters.reason:
        wanted &= index.reason_N == _place(filters.reason, REASONS)
    if filters.failure:
        wanted &= index.failure_N == _place(filters.failure, FAILURES)
    if filters.label:
        wanted &= _with_label(index, filters.label)
    if filters.text and wanted.any():
        wanted &= rows.matching(filters.text)
    return index.order[wanted[index.order]]


def counts(index: Index) -> dict[str, dict[str, int]]:
    """Rows by each word that a filter can ask for."""
    labelled = int(np.count_nonzero(index.label_N))
    verdicts = _counted(index.verdict_N, VERDICTS)
    labels = {
        OPEN: len(index) - labelled,
        LABELLED: labelled,
        DIFFERS: int(np.count_nonzero(_with_label(index, DIFFERS))),
    }
    return {
        "verdict": {**verdicts, FAILED: len(index) - sum(verdicts.values())},
        "reason": _counted(index.reason_N, REASONS),
        "failure": _counted(index.failure_N, FAILURES),
        "label": {**labels, **_counted(index.label_N, LABELS)},
    }


def _with_label(index: Index, label: str) -> NDArray[np.bool_]:
    label_N = index.label_N
    if label == OPEN:
        return np.equal(label_N, 0)
    if label == LABELLED:
        return np.greater(label_N, 0)
    if label != DIFFERS:
        return np.equal(label_N, _place(label, LABELS))
    opposite = ((Verdict.CRACK, Verdict.CLEAR), (Verdict.CLEAR, Verdict.CRACK))
    differs = np.zeros(len(index), np.bool_)
    for said, judged in opposite:
        human = label_N == _place(said, LABELS)
        differs |= human & (index.verdict_N == _place(judged, VERDICTS))
    return differs


def _place(word: str, words: Sequence[str]) -> int:
    """As the index keeps it; 0 for `failed`, which has no verdict."""
    return 0 if word == FAILED else words.index(word) + 1


def _counted(codes_N: NDArray[np.uint8], words: Sequence[str]) -> dict[str, int]:
    found = np.bincount(codes_N, minlength=len(words) + 1)
    return {word: int(found[place + 1]) for place, word in enumerate(words)}
