"""A watch: photos are judged as they arrive, by one scan after the other into the same table."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.durable import as_before, locked, make_directory, reporting
from inspector.core.layout import Layout, refuse_unknown
from inspector.errors import BusyError, SourceError, UsageError
from inspector.scanning.executor import Warm
from inspector.scanning.pipeline import open_scan, work_through
from inspector.scanning.summary import Counts
from inspector.scanning.worklist import StopSignals

if TYPE_CHECKING:
    from collections.abc import Callable

    from inspector.scanning.config import ScanConfig
    from inspector.scanning.pipeline import Told
    from inspector.scanning.summary import ScanSummary
    from inspector.types import ImageRef

EVERY_S = 2.0
"""Between two looks: no person waits for it, and what is still being copied grows within it."""
_REFUSED = ("limit", "max_failures", "moved", "overwrite", "retry_failed", "source_gone")
"""Fields of a scan's config that speak of one scan, not of many."""
_NAP_S = 0.1


def watch(
    config: ScanConfig,
    *,
    every_s: float = EVERY_S,
    stop: Callable[[], bool] = lambda: False,
    status: Callable[[int, str], object] = lambda arriving, trouble: None,
    rows: Told | None = None,
) -> ScanSummary:
    """Judge photos of `config.sources` as they arrive, each once, until `stop` or a signal.

    Sources are looked at every `every_s` seconds, or as long as a look takes. A photo is judged
    when size and time of change were the same in two looks, so not while it is being copied; one
    that changes later is judged again. Each time it is a scan, with the model kept open, so what a
    scan promises holds: killed at any moment, the same call goes on, and other scans may write to
    the table in between. `rows` as in `scan`; `status` is told after each look how many photos are
    arriving, and why nothing can be seen or judged for now, if so.

    Returns:
        The summary of the last scan, with all rows of this watch as its run.

    Raises UsageError for a config that speaks of one scan, BusyError where another watch has the
    same results, else what `scan` raises. A source that cannot be listed later on is waited for.
    """
    refused = [name for name in _REFUSED if getattr(config, name)]
    if refused or "-" in config.sources:
        what = refused[0].replace("_", "-") if refused else "list on the standard input"
        raise UsageError(f"a watch takes no {what}; use inspector scan")
    if not isinstance(config.out, Path):
        raise UsageError(
            f"a watch writes to a directory of this machine, not {config.out}; inspector scan adds "
            "to a table in a bucket as often as it is called"
        )
    if every_s <= 0:
        raise UsageError(f"every {every_s:g} seconds is no time to wait")
    at = Layout(config.out)
    with ExitStack() as stack:
        with reporting(config.out, as_before):
            refuse_unknown(config.out)
            make_directory(at.work)
            stack.enter_context(locked(at.watch_lock))
        warm, signals = stack.enter_context(closing(Warm())), stack.enter_context(StopSignals())

        def stopped() -> bool:
            return signals.received is not None or stop()

        return _judge_arrivals(config, warm, stopped, every_s, status, rows)


def _judge_arrivals(
    config: ScanConfig,
    warm: Warm,
    stopped: Callable[[], bool],
    every_s: float,
    status: Callable[[int, str], object],
    rows: Told | None,
) -> ScanSummary:
    started = time.perf_counter()
    outcomes: Counter[str] = Counter()

    def scan(settled: set[int]) -> ScanSummary:
        with open_scan(config, warm, lambda ref: _state(ref) in settled) as run:
            summary = work_through(run, None, rows)
        outcomes.update(run.tally.outcomes)
        # A signal may have come since, while the scan was closed.
        return replace(summary, interrupted_by=run.work.stop.received)

    # The first scan judges nothing: it finds out whether all can work, and opens the model.
    done: set[int] = set()
    before: set[int] = set()
    first = last = scan(done)
    while not last.interrupted_by and not stopped():
        trouble, began = "", time.monotonic()
        try:
            now = {_state(ref) for ref in takewhile(lambda _: not stopped(), config.discover())}
            settled = now & before
            before = now
            if settled - done or (config.prune and done - now):
                last = scan(settled)
                done = settled
        except (BusyError, SourceError) as error:
            trouble = str(error)
        until = time.monotonic() + max(every_s, time.monotonic() - began)
        status(len(before - done), trouble)
        while not stopped() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _NAP_S))
    seconds = time.perf_counter() - started
    run = Counts.of(outcomes)
    return replace(last, run=run, began=first.began, seconds=seconds, complete=False)


def _state(ref: ImageRef) -> int:
    """A photo as it is now, in eight bytes."""
    return hash((ref.uri, ref.size, ref.mtime_us))
