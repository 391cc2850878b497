"""Rows of files that are gone: counted, and dropped where that is asked for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from inspector.data.address import text_of
from inspector.data.source import is_gone

if TYPE_CHECKING:
    from inspector.scan.results import Results
    from inspector.scan.summary import Tally
    from inspector.scan.worklist import Worklist

PARTS_AT_ONCE = 8
"""Parts that lose rows in one step: the names of those rows are in memory together."""


def settle_vanished(results: Results, work: Worklist, tally: Tally, *, prune: bool) -> None:
    """After a whole listing: count the rows below its sources whose files are gone, or drop them,
    and no longer expect rows that were lost and whose files are gone.

    Gone is what the operating system says is not there, not what the listing has left out. Below a
    source without any photo everything is kept: a drive that is not mounted looks like that.
    Raises OutputError.
    """
    roots = [source for source in work.discovery.sources if source.is_dir]
    suspect = tuple(work.sources_without_photos)
    kept: Counter[str] = Counter()
    waiting: dict[str, list[str]] = {}
    for file, uris in results.unseen(tuple(root.uri for root in roots)):
        if work.stop.received is not None:
            return
        gone = []
        covered = (uri for uri in uris if any(root.covers(uri) for root in roots))
        for uri in filter(is_gone, covered):
            root = next((root for root in suspect if uri.startswith(root)), None)
            if root is None:
                gone.append(uri)
            else:
                kept[root] += 1
        tally.vanished += len(gone)
        if gone and prune:
            waiting[file] = gone
        if len(waiting) == PARTS_AT_ONCE:
            results.drop(waiting)
            waiting = {}
    if waiting:
        results.drop(waiting)
    for file in tuple(results.lost.parts) if prune else ():
        missing = (uri for uri in results.lost.without_row(file) if not uri.startswith(suspect))
        covered = (uri for uri in missing if any(root.covers(uri) for root in roots))
        if gone := list(filter(is_gone, covered)):
            results.give_up(gone)
    for root in suspect:
        note = f"no photo was found below {text_of(root)}"
        if kept[root]:
            note += f"; the {kept[root]:,} rows from there are kept"
        work.discovery.notes.append(f"{note}: if there should be some, see that it is mounted")
