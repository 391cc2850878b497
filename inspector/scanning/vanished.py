"""Rows of files that are gone or lie elsewhere now: counted, dropped, or given a new address."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from inspector.core.layout import Layout
from inspector.errors import OutputError, SourceError
from inspector.photos.address import spellings, text_of
from inspector.photos.source import gone_among
from inspector.results.labels import is_of_same_bytes, open_labels
from inspector.results.parts import rows_of, uris_in
from inspector.results.store import PARTS_AT_ONCE
from inspector.results.view import KEYS
from inspector.scanning.following import Missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from inspector.photos.address import Moved
    from inspector.photos.source import Discovery
    from inspector.results.store import Results
    from inspector.scanning.summary import Tally
    from inspector.scanning.worklist import Worklist


def move_photos(results: Results, moved: Moved) -> None:
    """Let rows and what people said follow photos to where they lie now, in this order of steps:
    nothing where two photos would get one address, labels, rows. After a crash the same again goes
    on. Raises SourceError where there is no such place, OutputError."""
    if not moved.is_there():
        raise SourceError(f"{text_of(moved.new)} is not there; --moved OLD=NEW names what is")
    files, twice = [], []
    for part in results.parts:
        uris = uris_in(Layout(results.out).table / part.file)
        new = {uri: now for uri in uris if (now := moved.apply(uri)) != uri}
        taken = [uri for uri, has in zip(new, results.ledger.have_rows(new.values()), strict=True)
                 if has]  # fmt: skip
        if taken:
            _refuse_others(results, part.file, {uri: new[uri] for uri in taken})
        files += [part.file] if new else []
        twice += taken
    if Layout(results.out).labels.exists():
        with open_labels(results.out, "") as labels:
            results.labels_moved = labels.move(moved)
    results.move(files, moved, twice)
    if not files:
        results.notes.append(f"no row lies below {text_of(moved.old[0])}: there is none to move")


def _refuse_others(results: Results, file: str, taken: Mapping[str, str]) -> None:
    """Raise OutputError unless the rows that photos of a part have by their new addresses, since a
    scan has found them there, are of the same bytes, and their files by the old ones are gone."""
    here, new = _states(results, [file], taken), list(taken.values())
    there = _states(results, results.ledger.files_with(new), new)
    gone = set(gone_among(list(taken)))
    for uri, now in taken.items():
        if uri not in gone:
            why = f"{text_of(uri)} is still there"
        elif not is_of_same_bytes(there[now], here[uri]):
            why = "it is of other bytes"
        else:
            continue
        raise OutputError(
            f"{results.out} has a row for {text_of(now)} already, and {why}: that is another "
            "photo. Name what did move alone (--moved OLD/FILE=NEW/FILE). Or leave --moved out: a "
            "scan of the folder above finds what has moved by its bytes, labels go along, and "
            "--prune drops the rows of what is gone"
        )


def _states(
    results: Results, files: Iterable[str], uris: Collection[str]
) -> dict[str, Mapping[str, object]]:
    """What the rows of some photos say of their bytes, by address."""
    table = Layout(results.out).table
    rows = chain.from_iterable(rows_of(table / file, uris, KEYS).to_pylist() for file in files)
    return {row["uri"]: row for row in rows}


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
    places, missing = _Places(work.discovery, gone), Missing(results)
    waiting: dict[str, list[str]] = {}
    for file, uris in results.unseen(places.searched):
        if work.stopped:
            return
        lost, for_good = places.sort(gone_among(uris))
        tally.vanished += len(lost) + len(for_good)
        if lost and not prune:
            missing.add(file, lost)
        if dropped := [*for_good, *lost] if prune else for_good:
            waiting[file] = dropped
        if len(waiting) == PARTS_AT_ONCE:
            results.drop(waiting)
            waiting = {}
    if waiting:
        results.drop(waiting)
    tally.moved_away = missing.elsewhere()
    _give_up_lost(results, places, prune=prune)
    work.discovery.notes += places.notes()


def _give_up_lost(results: Results, places: _Places, *, prune: bool) -> None:
    """Expect rows that were lost no longer where their photos are gone. Raises OutputError."""
    if not prune and not places.for_good:
        return
    for file in tuple(results.lost.parts):
        lost, for_good = places.sort(gone_among(results.lost.without_row(file)), count=False)
        if given_up := [*for_good, *lost] if prune else for_good:
            results.give_up(given_up)


class _Places:
    """Directories below which photos are looked for that are gone."""

    def __init__(self, found: Discovery, gone: Sequence[str]) -> None:
        """`gone`: those that are gone for good, which need not be sources."""
        self._roots = [source for source in found.sources if source.is_dir]
        self._idle = {directory: spellings(directory) for directory in gone}
        """Those of `gone` below which no photo was."""
        self.for_good = tuple(chain.from_iterable(self._idle.values()))
        self._suspect = tuple(found.without_photos)
        self._kept: Counter[str] = Counter()

    @property
    def searched(self) -> tuple[str, ...]:
        """Beginnings of all addresses that lie in one."""
        return (*(root.uri for root in self._roots), *self.for_good)

    def sort(self, uris: Iterable[str], *, count: bool = True) -> tuple[list[str], list[str]]:
        """Return which photos that are gone lie below a source, and which are gone for good. Those
        below a source without any photo are neither; `count` them as rows that are kept."""
        lost, for_good = [], []
        for uri in uris:
            for place in [place for place, at in self._idle.items() if uri.startswith(at)]:
                del self._idle[place]
            if uri.startswith(self.for_good):
                for_good.append(uri)
            elif any(root.covers(uri) for root in self._roots):
                if not uri.startswith(self._suspect):
                    lost.append(uri)
                elif count:
                    self._kept[next(root for root in self._suspect if uri.startswith(root))] += 1
        return lost, for_good

    def notes(self) -> Iterator[str]:
        """Yield what a person should know of these directories."""
        for place in sorted(self._idle):
            yield (
                f"--source-gone {place}: the table has no row below it whose file is gone; none "
                "was dropped"
            )
        for root in self._suspect:
            note, kept = f"no photo was found below {text_of(root)}", self._kept[root]
            if kept:
                note += f"; the {kept:,} rows from there are kept"
            yield f"{note}: if there should be some, see that it is mounted"
