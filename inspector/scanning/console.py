"""The screen of a scan or a watch: what it begins with, and the line that shows how far it is."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from inspector.core.progress import ALWAYS, Line, Part, State, time_left
from inspector.core.text import display_path, print_lines, quantity, wrapped
from inspector.errors import InspectorError
from inspector.photos.source import count_images
from inspector.scanning.outcome import nearby, outcomes, rate
from inspector.scanning.summary import Counts
from inspector.types import Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inspector.scanning.config import ScanConfig
    from inspector.scanning.executor import Engine
    from inspector.scanning.plan import Plan
    from inspector.scanning.summary import Tally

_COLOURS: dict[str, str] = {
    Verdict.CRACK: "red",
    Verdict.CLEAR: "green",
    Verdict.REVIEW: "yellow",
    Status.FAILED: "magenta",
}
_RANKS: dict[str, int] = {Verdict.CRACK: 50, Verdict.REVIEW: 40, Verdict.CLEAR: 20}


class ScanConsole(Line):
    """A `Watcher` that draws. Use it as a context manager.

    How many photos there are is counted beside the scan, in a thread; until it knows, no time
    left is shown.
    """

    def __init__(self, config: ScanConfig, *, quiet: bool = False, verbose: bool = False) -> None:
        self.config = config
        self.total: int | None = None
        self._about = "about " if config.shard else ""
        self._verbose = verbose
        self._tally: Tally | None = None
        self._started = self._last = time.monotonic()
        super().__init__(quiet=quiet)

    def start(self, plan: Plan, backend: Engine, table: Counts, notes: Sequence[str]) -> None:
        self._started = time.monotonic()
        if self._quiet:
            return
        out = display_path(str(self.config.out))
        said = f"looking at photos; the results go to {out}"
        if table.rows:
            said = (
                f"goes on with {out}, which has {quantity(table.rows, 'photo')}: {outcomes(table)}"
            )
        lines = wrapped("scan", said)
        if self._verbose:
            lines += wrapped("engine", f"{backend.name} on {backend.device}; {plan.why}")
        print_lines([*lines, *(f"note       {note}" for note in notes)], to_stderr=True)
        threading.Thread(target=self._count, daemon=True).start()

    def update(self, tally: Tally) -> None:
        self._tally, self._last = tally, time.monotonic()
        self.tell()

    def state(self) -> State:
        """The bar and what stands beside it: never without the photos and the failures."""
        tally, total = self._tally, self.total
        if tally is None:
            return State((), [Part("getting ready"), *([Part(self._of(0))] if total else [])])
        seconds = max(self._last - self._started, 1e-6)
        seen, run = tally.already_done + tally.looked_at, tally.run
        parts = [Part(self._of(seen))]
        if tally.stop is not None and tally.stop.received is not None:
            parts.append(Part("stopping", 90, "bold"))
        elif left := time_left(tally.looked_at, (total or 0) - tally.already_done, seconds):
            parts.append(Part(left, 60))
        parts += _counted(run)
        parts.append(Part(f"{rate(tally.looked_at / seconds)}/s", 30))
        if tally.nodes:
            parts.append(Part(quantity(tally.nodes, "node"), 20))
        if tally.megapixels:
            parts.append(Part(f"{rate(tally.megapixels / seconds)} MP/s", 10))
        if not total:
            return State((), parts)
        counts = {**run.verdicts, Status.FAILED: run.failed}
        shares = [(tally.already_done / total, "cyan")]
        return State([*shares, *((counts[n] / total, c) for n, c in _COLOURS.items())], parts)

    def _of(self, seen: int) -> str:
        total = self.total
        return f"{seen:,} of {self._about}{total:,}" if total else quantity(seen, "photo")

    def _count(self) -> None:
        with suppress(InspectorError):  # the scan itself has said so
            total = count_images(self.config.discover())
            self.total = min(total, self.config.limit or total)


def _counted(run: Counts) -> list[Part]:
    counts = {**run.verdicts, Status.FAILED: run.failed}
    return [
        Part(f"{name} {counts[name]:,}", _RANKS.get(name, ALWAYS), colour)
        for name, colour in _COLOURS.items()
        if name != Status.FAILED or counts[name]
    ]


class WatchConsole(Line):
    """What a watch shows while entered: a line for each photo called crack, above all counts."""

    def __init__(self, config: ScanConfig, *, quiet: bool = False, to_stderr: bool = False) -> None:
        """`to_stderr`: cracks are said there, too; else on the standard output."""
        self._outcomes: Counter[str] = Counter()
        self._arriving, self._trouble = 0, ""
        self._out, self._to_stderr = display_path(str(config.out)), to_stderr
        super().__init__(quiet=quiet)

    def __enter__(self) -> Self:
        if not self._quiet:
            said = f"waiting for photos; the results go to {self._out}; Ctrl-C ends it"
            print_lines(wrapped("watch", said), to_stderr=True)
        return super().__enter__()

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take rows as a watch makes them."""
        for row in rows:
            self._outcomes[row.get("verdict") or row["failure_code"]] += 1
            if row.get("verdict") == Verdict.CRACK and not self._quiet:
                found = f"crack      p {row['p_crack']:.3f}  {nearby(row['path'])}"
                print_lines([found], to_stderr=self._to_stderr)
        self.tell()

    def status(self, arriving: int, trouble: str) -> None:
        """Take what a watch says after each look."""
        if trouble and trouble != self._trouble and not self._quiet:
            print_lines(wrapped("waiting", trouble), to_stderr=True)
        self._arriving, self._trouble = arriving, trouble

    def state(self) -> State:
        run = Counts.of(self._outcomes)
        said = "waiting" if self._trouble else "watching"
        parts = [Part(f"{said}: {quantity(run.rows, 'photo')}"), *_counted(run)]
        return State(
            (), [*parts, *([Part(f"{self._arriving:,} arriving", 30)] * (self._arriving > 0))]
        )
