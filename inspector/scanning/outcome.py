"""The outcome of a scan as text: what the table says, what to do next."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.layout import TABLE
from inspector.core.progress import duration
from inspector.core.text import (
    Whole,
    columns,
    display_path,
    plain_table,
    print_lines,
    quantity,
    quoted_word,
    wrapped,
)
from inspector.errors import OutputError
from inspector.model.scale import cannot_show
from inspector.results.codes import REASONS, REMEDIES
from inspector.results.opening import at_hand
from inspector.scanning.highlights import Highlights, find
from inspector.types import FailureCode, Reason, Verdict, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.scanning.rejudge import RejudgeResult
    from inspector.scanning.summary import Counts, Listing, ScanSummary
    from inspector.scanning.worklist import Preview

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
_READ = (
    'import sys, pyarrow.dataset as d; [print(*map(ascii, row.values()), sep="\\t") for row in '
    'd.dataset(sys.argv[1]).head(20, columns=["verdict", "p_crack", "path"]).to_pylist()]'
)
"""A program that prints the first rows of a table; it needs PyArrow only."""


def summary_lines(summary: ScanSummary, verbose: bool = False) -> list[str]:
    """Say what the table says and what to do next, on 80 columns; paths are never cut. `verbose`:
    also how it was computed."""
    found, lines = _found(summary), [*_stopped(summary), *_verdicts(summary)]
    lines += _table_says(summary, found)
    lines += [*_shard(summary), *_past(summary), *_scale(summary)]
    lines += [*_omissions(summary), *_photos(summary)]
    lines += _times(summary) if verbose else []
    return [*lines, *_next(summary, found, verbose)]


def watched_lines(summary: ScanSummary, verbose: bool = False) -> list[str]:
    """Say what the table says at the end of a watch."""
    found = _found(summary)
    lines = [*_verdicts(summary), *_table_says(summary, found)]
    if (waiting := summary.left_out) > 0:
        said = f"{waiting:,} photos were not whole yet; the same command goes on with them"
        lines += wrapped("arriving", said)
    lines += [*_past(replace(summary, left_out=0)), *_omissions(summary)]
    return [*lines, *_next(summary, found, verbose)]


def _stopped(summary: ScanSummary) -> list[str]:
    why = [] if summary.interrupted_by is None else [f"by signal {summary.interrupted_by}"]
    why += ["more photos failed than --max-failures allows"] if summary.budget_exceeded else []
    kept = "what is done is kept, the same command continues"
    return wrapped("stopped", "; ".join([*why, kept])) if why else []


def _verdicts(summary: ScanSummary) -> list[str]:
    table, run = summary.table, summary.run
    if table == run:
        return wrapped("verdicts", outcomes(table))
    names = [*table.verdicts, "failed"]
    both = ([*of.verdicts.values(), of.failed] for of in (table, run))
    rows = [
        [f"           {name}", f"{there:,}", f"{now:,}"]
        for name, there, now in zip(names, *both, strict=True)
    ]
    return plain_table(("verdicts", "table", "this run"), rows)


def _is_continued(summary: ScanSummary) -> bool:
    """Whether the table has rows of earlier runs beside some of this one."""
    return bool(summary.run.rows) and summary.table != summary.run


def _found(summary: ScanSummary) -> Highlights | OutputError:
    began = datetime.fromisoformat(summary.began).replace(tzinfo=None)
    try:
        with at_hand(summary.out) as here:
            return find(here, began if _is_continued(summary) else None)
    except OutputError as error:
        return error


def _table_says(summary: ScanSummary, found: Highlights | OutputError) -> Iterator[str]:
    """The likeliest cracks by name, those of this run first, why photos are left to a person, and
    what failed."""
    if isinstance(found, OutputError):
        yield from wrapped("note", str(found))
        return
    for number, (new, p, path) in enumerate(found.cracks):
        title = "" if number else "cracks"
        word = "" if not found.new_cracks else "new  " if new else "     "
        sure = "person " if p is None else f"p {p:.3f}"
        yield f"{title:<11}{sure}  {word}{nearby(path)}"
    if (rest := found.all_cracks - len(found.cracks)) > 0:
        unnamed = found.new_cracks - sum(new for new, *_ in found.cracks)
        yield f"           and {rest:,} more" + (f", {unnamed:,} of them new" if unnamed else "")
    for reason, count in found.reasons.items():
        yield from wrapped("review", f"{count:,}: {REASONS[Reason(reason)]}")
    if found.unsure:
        yield from wrapped("review", f"{found.unsure:,}: a person has looked and was unsure")
    yield from _failures(summary, found)
    if summary.remedy:
        yield from wrapped("nothing", f"none of these photos could be judged: {summary.remedy}")


def _failures(summary: ScanSummary, found: Highlights) -> Iterator[str]:
    for code, count in summary.table.failures.items():
        now = summary.run.failures.get(code, 0)
        which = f" ({now:,} in this run)" if now != count else ""
        yield from wrapped("failed", f"{code} {count:,}{which}: {REMEDIES[FailureCode(code)]}")
        yield from (f"             {nearby(example)}" for example in found.failed.get(code, []))


def nearby(path: str) -> str:
    """A path as one would type it here."""
    here = os.path.join(os.path.realpath(os.curdir), "")
    return path.removeprefix(display_path(here))


def _photos(summary: ScanSummary) -> list[str]:
    run = summary.run
    total = f"{run.ok:,} ok + {run.failed:,} failed"
    if summary.already_done:
        total += f" + {summary.already_done:,} already done"
    if summary.left_out:
        total += f" + {summary.left_out:,} left out"
    if summary.complete:
        total = f"{summary.discovered:,} = {total}"
    took = f"in {duration(summary.seconds)}, {rate(summary.images_per_second)}/s"
    return wrapped("photos", f"{total}; {took}" if run.rows else total)


def _next(summary: ScanSummary, found: Highlights | OutputError, verbose: bool) -> list[str]:
    """Commands to go on with; `verbose`: also one that reads the table without `inspector`."""
    out = str(summary.out)
    review = summary.table.verdicts[Verdict.REVIEW]
    if isinstance(found, Highlights):
        review = found.open
    many = quantity(review, "photo")
    said = [
        (f"inspector report {quoted_word(out)}", "the cracks as pictures"),
        (f"inspector table {quoted_word(out)}", "every photo, here"),
    ]
    if review and isinstance(summary.out, Path):
        said.append((f"inspector review {quoted_word(out)}", f"decide on {many}"))
    elif review:
        said.append((f"inspector merge {quoted_word(out)} --out DIR", f"to decide on {many}"))
    wide = max(len(command) for command, _ in said)
    lines: list[str] = []
    for command, what in said:
        line = f"{'' if lines else 'next':<11}{command:<{wide}}"
        told = f"{line}  # {what}"
        lines.append(Whole(told if len(told) < columns() else line.rstrip()))
    if _is_continued(summary):
        began = datetime.fromisoformat(summary.began).astimezone().replace(tzinfo=None)
        asked = f"--since {began.isoformat()}"
        lines.append(Whole(f"{'new':<11}inspector table {quoted_word(out)} {asked}"))
    if summary.table.failed and isinstance(summary.out, Path):
        lines += wrapped("", "the same scan with --retry-failed, once failed photos are mended")
    lines.append(f"table      {out} ({summary.table.rows:,} rows, part files: {summary.parts:,})")
    if verbose:  # Arrow takes a relative name with a colon for an address
        odd = isinstance(summary.out, Path) and ":" in out
        place = os.path.join(os.path.abspath(out) if odd else out, TABLE)
        lines.append(Whole(f"read it    python -c {quoted_word(_READ)} {quoted_word(place)}"))
    return lines


def _shard(of: Listing) -> list[str]:
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
    """Lines about rows that were there before, and about what people said of them."""
    labels, gone = summary.labels, "rows whose files are gone: {:,}"
    if summary.moved_away:
        gone += f" ({summary.moved_away:,} found elsewhere, byte for byte)"
    gone += "; kept, --prune drops them"
    if labels.at_risk:
        gone += (
            f"; what people said of {labels.at_risk:,} goes with its row, unless --moved OLD=NEW "
            "names where the photo is"
        )
    said = (
        (summary.changed, "replaced", "older rows of these photos: {:,}"),
        (
            summary.outdated,
            "changed",
            "photos that are not as their rows say: {:,}; rows in a bucket stay, so scan into "
            "another --out to have them judged again",
        ),
        (
            summary.yielded,
            "others",
            "photos that another scan had judged first: {:,}; its rows are in the table",
        ),
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
        (summary.vanished - summary.pruned, "gone", gone),
        (labels.moved, "labels", "gone along with photos that lie elsewhere now: {:,}"),
        (
            labels.changed,
            "labels",
            "of photos that have changed since, which count no longer: {:,}; look at them again",
        ),
        (labels.dropped, "labels", "of rows that were dropped, which count no longer: {:,}"),
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


def _omissions(summary: Listing) -> list[str]:
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
    workers = quantity(number, "process", "processes") if number else "its own thread"
    workers += " of a DataLoader" if summary.loader == "torch" else ""
    engine = f"{summary.backend} on {summary.device}, batches of {summary.batch_size}"
    decided = ", ".join(f"{stage} {count:,}" for stage, count in summary.stages.items())
    speed = f"{rate(summary.images_per_second)} photos/s in {duration(summary.seconds)}"
    if summary.megapixels:
        speed += f", {rate(summary.megapixels / summary.seconds)} megapixels/s at their own scale"
    tuned = "engine and settings not given here are as inspector bench recommends on this machine"
    return [
        *_views(summary),
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


def rejudged_lines(result: RejudgeResult) -> list[str]:
    """Say what `rejudge` has changed."""
    limits = result.thresholds
    lines = [
        f"thresholds clear below {limits['clear_below']:g}, crack from {limits['crack_from']:g}",
        *_asked(result.scale["min_crack_mm"], result.scale["mm_per_px"]),
        f"before     {outcomes(result.before)}",
        f"now        {outcomes(result.table)}",
        f"changed    {result.changed:,} of {result.before.rows:,} rows",
    ]
    if result.again:
        lines += wrapped(
            "again",
            f"{result.again:,} photos have no row until a scan with these thresholds has judged "
            "them again: what decided them is not sure enough of them here",
        )
    return [*lines, f"table      {result.out} ({result.table.rows:,} rows)"]


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


def outcomes(of: Counts) -> str:
    return _counts(of.verdicts | ({"failed": of.failed} if of.failed else {}))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def rate(each_second: float) -> str:
    """One decimal, or more where that would say nothing."""
    return f"{each_second:.1f}" if each_second >= 1 else f"{each_second:.2g}"
