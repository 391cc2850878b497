"""Counts and times of a running scan, and the protocol of those who watch it."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from inspector.core.text import display_path
from inspector.types import Failure, FailureCode, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from inspector.engines import Backend
    from inspector.scanning.config import FailureBudget
    from inspector.scanning.plan import Plan
    from inspector.types import Batch, Judgement

EXAMPLES = 3
"""Failed files named per failure code; the table has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows by what they say."""

    rows: int
    ok: int
    failed: int
    verdicts: dict[str, int]
    failures: dict[str, int]
    """Rows by failure code, the most frequent first."""

    @classmethod
    def of(cls, outcomes: Mapping[str, int]) -> Self:
        """Sort numbers of rows by verdict or failure code into counts."""
        verdicts = {str(verdict): outcomes.get(verdict, 0) for verdict in Verdict}
        codes = Counter({str(code): outcomes.get(code, 0) for code in FailureCode})
        ok, failed = sum(verdicts.values()), codes.total()
        failures = {code: count for code, count in codes.most_common() if count}
        return cls(rows=ok + failed, ok=ok, failed=failed, verdicts=verdicts, failures=failures)


class Watcher(Protocol):
    """Shows a scan's progress."""

    def start(self, plan: Plan, backend: Backend, table: Counts, notes: Sequence[str]) -> None:
        """The engine is up and the first photos are on their way; `table` is what was there
        before, `notes` what there is to know about it by then."""
        ...

    def update(self, tally: Tally) -> None:
        """Another batch was judged."""
        ...


@dataclass(slots=True)
class Tally:
    """Counts of a running scan, in photos; `already_done` had their rows before, `left_out` have
    none and get none, `vanished` have one and are gone; so are, of those already done,
    `gone_but_named`, which a list still names. `outcomes` is what the others got, by verdict or
    failure code."""

    budget: FailureBudget | None = None
    already_done: int = 0
    left_out: int = 0
    vanished: int = 0
    gone_but_named: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    """Photos by the stage that judged them."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """A few failed files and what was wrong, by failure code."""
    decode_cpu_seconds: float = 0.0

    @property
    def run(self) -> Counts:
        """The rows of this run."""
        return Counts.of(self.outcomes)

    @property
    def looked_at(self) -> int:
        return self.outcomes.total()

    def over_budget(self, *, finished: bool = False) -> bool:
        """Whether more photos failed than the budget, if there is one, allows."""
        if self.budget is None:
            return False
        return self.budget.exceeded(self.run.failed, self.looked_at, finished=finished)

    def count(self, batch: Batch, judgements: Iterable[Judgement]) -> None:
        self.decode_cpu_seconds += batch.decode_seconds
        for judgement in judgements:
            self.outcomes[judgement.verdict.value] += 1
            self.stages[judgement.stage] += 1
        for item in batch.items:
            if isinstance(item, Failure):
                self.outcomes[item.code.value] += 1
                examples = self.examples.setdefault(item.code.value, [])
                if len(examples) < EXAMPLES:
                    examples.append(f"{display_path(item.ref.path)}: {item.detail}")


class Stopwatch:
    """Wall seconds by stage, of the thread that runs the scan."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def timed(self, name: str, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pass on `batches`, and count the waiting for each as stage `name`."""
        waiting = iter(batches)
        while True:
            with self.stage(name):
                batch = next(waiting, None)
            if batch is None:
                return
            yield batch
