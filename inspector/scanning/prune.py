"""Rows of files that are gone or lie elsewhere now: counted, dropped, or given a new address."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from inspector.core.layout import Layout
from inspector.errors import OutputError, SourceError
from inspector.photos.address import spellings, text_of
from inspector.photos.source import gone_among
from inspector.results.labels import open_labels
from inspector.results.parts import uris_in
from inspector.results.store import PARTS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.photos.address import Moved
    from inspector.results.store import Results
    from inspector.scanning.summary import Tally
    from inspector.scanning.worklist import Worklist


def move_photos(results: Results, moved: Moved) -> None:
    """Let rows and what people said follow photos to where they lie now, in this order of steps:
    nothing where two rows would get one address, labels, rows. After a crash the same again goes
    on. Raises SourceError where there is no such directory, OutputError."""
    if not moved.is_there():
        raise SourceError(f"{text_of(moved.new)} is no directory; --moved OLD=NEW names what is")
    files = _files_to_move(results, moved)
    if Layout(results.out).labels.exists():
        with open_labels(results.out, "") as labels:
            labels.move(moved)
    results.move(files, moved)
    if not files:
        results.notes.append(f"no row lies below {text_of(moved.old[0])}: there is none to move")


def _files_to_move(results: Results, moved: Moved) -> list[str]:
    """The parts with rows of photos that moved. Raises OutputError where two share an address."""
    files = []
    for part in results.parts:
        uris = uris_in(Layout(results.out).table / part.file)
        new = [now for uri in uris if (now := moved.apply(uri)) != uri]
        taken = results.ledger.are_unseen(new)
        if any(taken):
            raise OutputError(
                f"{results.out} has a row for {new[taken.index(True)]} already, so no other photo "
                "can have moved there; drop the rows of what is gone with --source-gone OLD"
            )
        files += [part.file] if new else []
    return files


def settle_vanished(
    results: Results, work: Worklist, tally: Tally, *, prune: bool, gone: Sequence[str] = ()
) -> None:
    """After a whole listing: count the rows below its sources whose files are gone, or drop them;
    below the directories `gone`, which are there no more, drop them. Rows that were lost are then
    expected no longer, by the same rules.

    Gone is what the operating system says is not there, not what the listing has left out. Below a
    source without any photo everything is kept: a drive that is not mounted looks like that.
    Raises OutputError.
    """
    roots = [source for source in work.discovery.sources if source.is_dir]
    idle = {directory: spellings(directory) for directory in gone}
    for_good = tuple(chain.from_iterable(idle.values()))
    suspect = tuple(work.discovery.without_photos)
    kept: Counter[str] = Counter()

    def is_gone_for_good(uri: str) -> bool:
        for place in [place for place, at in idle.items() if uri.startswith(at)]:
            del idle[place]
        return uri.startswith(for_good)

    waiting: dict[str, list[str]] = {}
    for file, uris in results.unseen((*(root.uri for root in roots), *for_good)):
        if work.stopped:
            return
        lost, dropped = [], []
        for uri in gone_among(uris):
            if is_gone_for_good(uri):
                dropped.append(uri)
            elif any(root.covers(uri) for root in roots):
                if uri.startswith(suspect):
                    kept[next(root for root in suspect if uri.startswith(root))] += 1
                else:
                    lost.append(uri)
        tally.vanished += len(lost) + len(dropped)
        dropped += lost if prune else []
        if dropped:
            waiting[file] = dropped
        if len(waiting) == PARTS_AT_ONCE:
            results.drop(waiting)
            waiting = {}
    if waiting:
        results.drop(waiting)
    for file in tuple(results.lost.parts) if prune or for_good else ():
        given_up = [
            uri
            for uri in gone_among(results.lost.without_row(file))
            if is_gone_for_good(uri)
            or (prune and not uri.startswith(suspect) and any(r.covers(uri) for r in roots))
        ]
        if given_up:
            results.give_up(given_up)
    work.discovery.notes += [
        f"--source-gone {place}: the table has no row below it whose file is gone; none was dropped"
        for place in sorted(idle)
    ]
    for root in suspect:
        note = f"no photo was found below {text_of(root)}"
        if kept[root]:
            note += f"; the {kept[root]:,} rows from there are kept"
        work.discovery.notes.append(f"{note}: if there should be some, see that it is mounted")
