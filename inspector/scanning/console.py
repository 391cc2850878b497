"""The screen of a scan: progress on stderr, the outcome as text."""

from __future__ import annotations

import os
import shlex
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.progress import BarColumn

from inspector.core.layout import TABLE
from inspector.core.progress import Drawing, bar, words
from inspector.core.text import Whole, print_lines, wrapped
from inspector.errors import InspectorError
from inspector.model.scale import cannot_show
from inspector.photos.source import count_images
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inspector.engines.photo import PhotoEngine
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.plan import Plan
    from inspector.scanning.rejudge import RejudgeResult
    from inspector.scanning.summary import Counts, ScanSummary, Tally
    from inspector.scanning.worklist import Preview

SECONDS_PER_LINE = 10.0
"""Between progress lines where stderr is no terminal."""
_MOST_LISTED = 8
"""Entries of a long list that are printed; `--json` has all."""
_STAGES = {
    "start": "start",
    "load": "waiting for photos",
    "engine": "waiting for the model",
    "judge": "verdicts",
    "draw": "overlays",
    "write": "writing",
}


class ScanConsole(Drawing):
    """A `Watcher` that draws. Use it as a context manager.

    How many photos there are is counted beside the scan, in a thread; until it knows, no time
    left is shown.
    """

    def __init__(self, config: ScanConfig, *, quiet: bool = False) -> None:
        self.config = config
        self.quiet = quiet
        self.total: int | None = None
        self.progress = bar(
            words("{task.description}"),
            BarColumn(bar_width=12),
            words("{task.fields[state]}"),
            quiet=quiet,
        )
        self._task = self.progress.add_task("starting", total=None, state="")
        self._started = self._last_line = time.monotonic()
        self._continues = False
        self._about = "about " if config.shard else ""

    def start(self, plan: Plan, backend: PhotoEngine, table: Counts, notes: Sequence[str]) -> None:
        self._started = self._last_line = time.monotonic()
        self._continues = bool(table.rows)
        if not self.quiet:
            place = f"{self.config.out}, {table.rows:,} rows"
            said = [f"continues {place}: {_outcomes(table)}"] if self._continues else []
            said += [f"{backend.name} on {backend.device}; {plan.why}"]
            print_lines([*said, *(f"note       {note}" for note in notes)], to_stderr=True)
            threading.Thread(target=self._count, daemon=True).start()

    def update(self, tally: Tally) -> None:
        seconds = max(time.monotonic() - self._started, 1e-6)
        rate = tally.looked_at / seconds
        seen = tally.already_done + tally.looked_at
        state = f"{_rate(rate)}/s"
        if tally.megapixels:
            state += f", {_rate(tally.megapixels / seconds)} MP/s"
        state += f"{self._time_left(seen, rate)}, "
        state += ("this run: " if self._continues else "") + _outcomes(tally.run)
        total = f" of {self._about}{self.total:,}" if self.total else ""
        photos = f"{seen:,}{total} photos"
        if self.progress.disable:
            self._line(f"{photos}, {state}")
        else:
            self.progress.update(
                self._task, description=photos, total=self.total, completed=seen, state=state
            )

    def _line(self, text: str) -> None:
        if not self.quiet and time.monotonic() - self._last_line >= SECONDS_PER_LINE:
            self._last_line = time.monotonic()
            print_lines([text], to_stderr=True)

    def _time_left(self, seen: int, rate: float) -> str:
        if not self.total or not rate:
            return ""
        return f", {_duration(max(self.total - seen, 0) / rate)} left"

    def _count(self) -> None:
        with suppress(InspectorError):  # the scan itself has said so
            total = count_images(self.config.discover())
            self.total = min(total, self.config.limit or total)


def _rate(each_second: float) -> str:
    """One decimal, or more where that would say nothing."""
    return f"{each_second:.1f}" if each_second >= 1 else f"{each_second:.2g}"


def print_summary(summary: ScanSummary, *, to_stderr: bool = False) -> None:
    """The outcome in a few lines that fit 80 columns; paths are never cut."""
    lines = [*_headline(summary), *_failures(summary), *_omissions(summary), *_times(summary)]
    table = str(summary.out)
    # Arrow takes a relative name with a colon for an address.
    place = os.path.join(summary.out.absolute() if ":" in table else table, TABLE)
    lines += [
        f"table      {table} ({summary.table.rows:,} rows, part files: {summary.parts:,})",
        Whole(
            "read it    python -c 'import sys, pyarrow.dataset as d; "
            "print(d.dataset(sys.argv[1]).head(9))' " + shlex.quote(place)
        ),
    ]
    print_lines(lines, to_stderr=to_stderr)


def _headline(summary: ScanSummary) -> list[str]:
    table, run = summary.table, summary.run
    photos = f"{run.ok:,} ok + {run.failed:,} failed"
    total = f"{summary.discovered:,} = {photos}"
    if summary.already_done:
        total += f" + {summary.already_done:,} already done"
    if summary.left_out:
        total += f" + {summary.left_out:,} left out"
    if not summary.complete:
        total = (
            f"{photos} + {summary.already_done:,} already done; stopped early, the same command "
            "continues"
        )
    if table == run:
        lines = [f"verdicts   {_outcomes(table)}"]
    else:
        lines = [
            f"verdicts   whole table: {_outcomes(table)}",
            f"           this run:    {_outcomes(run)}",
        ]
    lines += [f"photos     {total}", *_shard(summary), *_views(summary)]
    lines += [*_past(summary), *_scale(summary)]
    if summary.remedy:
        lines += wrapped("nothing", f"none of these photos could be judged: {summary.remedy}")
    if summary.budget_exceeded:
        lines.append("stopped    more photos failed than --max-failures allows")
    if summary.interrupted_by is not None:
        lines.append(f"stopped    by signal {summary.interrupted_by}")
    return lines


def _shard(of: ScanSummary | Preview) -> list[str]:
    """Say that these are not all photos, where they are not."""
    if of.shard is None:
        return []
    return wrapped("shard", f"{of.shard}; photos of the other shards: {of.elsewhere:,}")


def _views(summary: ScanSummary) -> list[str]:
    """Say how the photos of this run were judged, unless all were judged whole."""
    if set(summary.views) <= {View.WHOLE}:
        return []
    words = {View.WHOLE: "whole", View.DENSE: "densely", View.TILES: "in tiles"}
    said = ", ".join(f"{count:,} {words[View(view)]}" for view, count in summary.views.items())
    return [f"judged     {said}"]


def _past(summary: ScanSummary) -> list[str]:
    """Lines about rows that were there before."""
    said = (
        (summary.changed, "replaced", "older rows of these photos: {:,}"),
        (
            summary.left_out,
            "left out",
            "photos without a row yet: {:,}; run without --retry-failed",
        ),
        (
            summary.lost,
            "lost",
            "rows that are not there again: {:,}; scan all sources of this table (--prune gives up "
            "photos that are gone)",
        ),
        (summary.pruned, "dropped", "rows of files that are gone: {:,}"),
        (summary.gone_but_named, "gone", "photos that a list names: {:,}; their rows are kept"),
        (summary.moved, "moved", "rows with the new address of their photos: {:,}"),
        (
            summary.vanished - summary.pruned,
            "gone",
            "rows whose files are gone: {:,}; kept, --prune drops them",
        ),
    )
    return [
        line
        for count, title, text in said
        if count > 0
        for line in wrapped(title, text.format(count))
    ]


def _scale(summary: ScanSummary) -> list[str]:
    """Say how many photos of this run cannot show the cracks asked for."""
    if summary.min_crack_mm is None:
        return []
    counts = summary.coarse, summary.unknown_scale, summary.run.ok
    run = "this run: " if summary.table != summary.run else ""
    return wrapped("scale", run + cannot_show(*counts, summary.min_crack_mm))


def _failures(summary: ScanSummary) -> list[str]:
    lines = []
    for code, count in summary.table.failures.items():
        now = summary.run.failures.get(code, 0)
        line = f"failed     {code} {count:,}" + (f" ({now:,} in this run)" if now != count else "")
        examples = summary.failure_examples.get(code, [])
        lines.append(f"{line}, for example:" if examples else line)
        lines += [f"             {example}" for example in examples]
    return lines


def _omissions(summary: ScanSummary | Preview) -> list[str]:
    """Lines about everything that was seen and left out."""
    lines = []
    if summary.ignored_by_suffix:
        lines.append(f"no photos  {_counts(_first(summary.ignored_by_suffix))}")
    if summary.excluded:
        lines.append(f"excluded   {_counts(_first(summary.excluded))} (a directory counts once)")
    if summary.repeated:
        lines.append(f"repeated   photos named more than once: {summary.repeated:,}; covered once")
    lines += _listed("unreadable", summary.unreadable_dirs)
    lines += _listed("link", [f"{path}, not followed" for path in summary.linked_dirs])
    lines += _listed("note", summary.notes)
    return lines


def _listed(title: str, entries: list[str]) -> list[str]:
    lines = [f"{title:<10} {entry}" for entry in entries[:_MOST_LISTED]]
    if len(entries) > _MOST_LISTED:
        lines.append(f"{title:<10} ... and {len(entries) - _MOST_LISTED:,} more (see --json)")
    return lines


def _times(summary: ScanSummary) -> list[str]:
    stages = summary.stage_seconds.items()
    spent = ", ".join(f"{_STAGES[name]} {seconds:.1f} s" for name, seconds in stages)
    number = summary.workers
    processes = "1 process" if number == 1 else f"{number} processes"
    workers = processes if number else "its own thread"
    workers += " of a DataLoader" if summary.loader == "torch" else ""
    engine = f"{summary.backend} on {summary.device}, batches of {summary.batch_size}"
    decided = ", ".join(f"{stage} {count:,}" for stage, count in summary.stages.items())
    speed = f"{_rate(summary.images_per_second)} photos/s in {_duration(summary.seconds)}"
    if summary.megapixels:
        speed += f", {_rate(summary.megapixels / summary.seconds)} megapixels/s at their own scale"
    tuned = "engine and settings not given here are as inspector bench recommends on this machine"
    return [
        *wrapped("speed", speed),
        *wrapped(
            "time",
            f"{spent}; meanwhile decoding {summary.decode_cpu_seconds:.1f} s in {workers}, model "
            f"{summary.engine_seconds:.1f} s",
        ),
        *wrapped("engine", f"{engine}; decided by {decided}; {summary.why}"),
        *(wrapped("tuned", tuned) if summary.recommended else []),
        f"model      {summary.model[:12]}",
    ]


def print_rejudged(result: RejudgeResult) -> None:
    """Print what `rejudge` has changed."""
    limits = result.thresholds
    lines = [
        f"thresholds clear below {limits['clear_below']:g}, crack from {limits['crack_from']:g}",
        *_asked(result.scale["min_crack_mm"], result.scale["mm_per_px"]),
        f"before     {_outcomes(result.before)}",
        f"now        {_outcomes(result.table)}",
        f"changed    {result.changed:,} of {result.before.rows:,} rows",
    ]
    if result.again:
        lines += wrapped(
            "again",
            f"{result.again:,} photos have no row until a scan with these thresholds has judged "
            "them again: what decided them is not sure enough of them here",
        )
    print_lines([*lines, f"table      {result.out} ({result.table.rows:,} rows)"])


def _asked(min_crack_mm: float | None, mm_per_px: float | None) -> list[str]:
    said = [] if min_crack_mm is None else [f"cracks of {min_crack_mm:g} mm must be seen"]
    said += [] if mm_per_px is None else [f"a pixel shows {mm_per_px:g} mm"]
    return [f"scale      {', '.join(said)}"] if said else []


def print_preview(preview: Preview) -> None:
    """Print the outcome of `--dry-run`."""
    left_out = f", {preview.left_out:,} left out" if preview.left_out else ""
    lines = [
        f"photos     {preview.discovered:,}, of them {preview.already_done:,} already done"
        + left_out,
        *_shard(preview),
        f"to scan    {preview.new:,} new and {preview.changed:,} again, "
        f"{preview.size_bytes / 1e6:,.1f} MB",
        f"by name    {_counts(_first(preview.photos_by_suffix)) or 'none'}",
        *_omissions(preview),
    ]
    print_lines(lines)


def _first(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest few of counts that come largest first, and the sum of the others."""
    items = list(counts.items())
    rest = sum(count for _, count in items[_MOST_LISTED:])
    return dict(items[:_MOST_LISTED]) | ({"others": rest} if rest else {})


def _outcomes(of: Counts) -> str:
    return _counts(of.verdicts | ({"failed": of.failed} if of.failed else {}))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
