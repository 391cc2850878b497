"""A result directory: opened for one scan, continued, and changed so that no crash can harm it.

The rows in the part files are what is done. Where everything lies: `inspector.core.layout`.
Every step of a change, and what is true between any two, stands in docs/explanation/durability.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from inspector.core.durable import (
    as_before,
    discard,
    locked,
    make_directory,
    patiently,
    publish,
    reporting,
    sync_directory,
    write_synced,
)
from inspector.core.layout import Layout, number_of, part_name, refuse_unknown
from inspector.core.text import quantity
from inspector.results.journal import Journal
from inspector.results.ledger import Ledger
from inspector.results.lost import LostRows, list_of, write_list
from inspector.results.manifest import WHOLE, Manifest, Part, check_identity, fingerprint_of
from inspector.results.parts import (
    counted,
    encode,
    is_alike,
    outcomes_of,
    read_part,
    recognise,
    renamed,
    uris_in,
    with_more,
    without,
)
from inspector.results.schema import SCHEMA_VERSION
from inspector.results.switch import complete_switch

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from inspector.photos.address import Moved
    from inspector.results.switch import NextTable

    Edit = Callable[[pa.Table], tuple[pa.Table, int]]
    """Makes of a part's rows its new ones; says how many it touched."""

PARTS_AT_ONCE = 8
"""Parts that are rewritten in one step: drafts of all of them lie on the disk together."""


class Results:
    """An opened result directory of one scan. `identity` names what decides its rows (the bundle's
    digest, options); `ledger` knows the rows that were there when it was opened."""

    def __init__(self, out: Path, identity: Mapping[str, str] | None) -> None:
        """`identity` None: whatever the table has."""
        self.out = out
        self.name = str(out)
        """What people call it."""
        self._at = Layout(out)
        self._any = identity is None
        self.identity = {**(identity or {}), "schema": str(SCHEMA_VERSION)}
        self.backend = ""
        """The engine that the table was begun with; empty until it is known."""
        self.ended = ""
        self.ledger = Ledger(self._at.table, [])
        self.lost = LostRows(self._at, (), self.ledger)
        """Rows that were there once and are not, and should be."""
        self.outcomes: Counter[str] = Counter()
        """All rows counted by the words of `parts.OUTCOMES`."""
        self.superseded = 0
        """Rows that gave way to new ones of the same files."""
        self.pruned = 0
        """Rows that were dropped."""
        self.yielded = 0
        """New rows that were left out, because another writer had made one of the same photo."""
        self.rows = 0
        """Rows of all parts."""
        self.moved = 0
        """Rows that were given the address that their photos have now."""
        self.labels_moved = 0
        """Decisions of people that went along."""
        self.notes: list[str] = []
        self._parts: dict[str, Part] = {}
        self._changed: dict[str, Part] = {}
        """Parts of which the manifest does not know yet."""
        self._journal = Journal(self._at.journal)

    @property
    def fingerprint(self) -> str:
        """sha256 of the identity; every part carries it."""
        return fingerprint_of(self.identity)

    @property
    def parts(self) -> list[Part]:
        return list(self._parts.values())

    def commit(self, table: pa.Table, *, fill: int = 0) -> None:
        """Make `table` the next part: on disk before it gets its name, named before the manifest
        mentions it; or put its rows behind those of the last part, where that then has at most
        `fill`, was made in the same way, and none of the rows replaces one. Older rows of the same
        files are taken out before. Raises OutputError saying how many rows are safe."""
        uris = table["uri"].to_pylist()
        with self._saying_what_is_safe():
            self.ended = ""  # before any old row goes
            files = self.ledger.files_with(uris)
            self.superseded += self._rewrite(dict.fromkeys(files, partial(without, uris=uris)))
            last = next(reversed(self._parts.values()), None)
            # A reader who has met an old row must not meet the new one in a part of its list.
            fits = last is not None and not files and last.rows + len(uris) <= fill
            if last is not None and fits and is_alike(self._at.table / last.file, table):
                self._rewrite({last.file: partial(with_more, more=table)})
                self.lost.found(uris)
            else:
                self._add(self._next_name(), encode(table), table)
            self._write_manifest()

    def _add(self, name: str, content: bytes, rows: pa.Table) -> None:
        """Publish the new part that `content` is; the manifest does not know of it yet."""
        uris = rows["uri"].to_pylist()
        write_list(self._at, name, uris)
        publish(content, self._at.table / name, self._at.draft(name))
        self._put(Part(name, len(uris), hashlib.sha256(content).hexdigest()))
        self.outcomes += counted(outcomes_of(rows))
        self.lost.found(uris)

    def begin_with(self, backend: str) -> None:
        """Record the engine of a table that was not begun before. Raises OutputError."""
        if not self.backend:
            self.backend = backend
            with self._saying_what_is_safe():
                self._write_whole()

    def end(self) -> None:
        """Record that the scan came to the end of its listing. Raises OutputError."""
        if not self.ended:
            self.ended = WHOLE
            with self._saying_what_is_safe():
                self._write_manifest()

    def drop(self, uris_by_file: Mapping[str, Sequence[str]]) -> None:
        """Take rows out of the parts that hold them. Raises OutputError like `commit`."""
        with self._saying_what_is_safe():
            edits = {file: partial(without, uris=uris) for file, uris in uris_by_file.items()}
            self.ended = ""
            self.pruned += self._rewrite(edits)
            self.give_up(uri for uris in uris_by_file.values() for uri in uris)

    def give_up(self, uris: Iterable[str]) -> None:
        """Note that these photos are to have no row, lost or not. Raises OutputError."""
        with self._saying_what_is_safe():
            self.lost.give_up(uris)
            self._write_manifest()

    def switch(self, identity: Mapping[str, str], table: NextTable) -> None:
        """Put another table, which is on disk, in the place of this one. Raises OutputError."""
        now = self._manifest(self._parts)
        lost = (*now.lost, *table.again)
        to_be = replace(now, identity=identity, parts=tuple(table.parts), lost=lost)
        with self._saying_what_is_safe():
            for folder in (self._at.next_table, self._at.work):
                sync_directory(folder)
            replace(now, next=to_be).write(self.out)
            complete_switch(self._at)
            self.identity, self.outcomes = dict(identity), table.outcomes
            self._parts = {part.file: part for part in to_be.parts}
            self.rows = sum(part.rows for part in to_be.parts)
            self._changed, self._journal = {}, Journal(self._at.journal)
            keep = {part.file for part in table.again}
            lists = self._at.photo_lists()
            self._drop_lists({file: path for file, path in lists.items() if file not in keep})

    def move(self, files: Sequence[str], moved: Moved, twice: Sequence[str] = ()) -> None:
        """Give the rows in `files` the addresses that their photos have now; at any moment each
        row has its old one or its new one. Those `twice` there, named by their old address, have
        got another row by the new one, and go. Raises OutputError like `commit`."""
        edit = partial(renamed, moved=moved, twice=twice)
        with self._saying_what_is_safe():
            for start in range(0, len(files), PARTS_AT_ONCE):
                some = files[start : start + PARTS_AT_ONCE]
                self.moved += self._rewrite(dict.fromkeys(some, edit))
                self._write_manifest()
            for file in self.lost.parts:
                if (uris := self.lost.uris(file)) is not None:
                    write_list(self._at, file, map(moved.apply, uris))
        self._know_rows(self.lost.parts.values(), by_content=self.ledger.by_content)

    def unseen(self, below: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
        """The uris that begin like one of `below`, of rows that were there at the start and whose
        files were not looked up since; with the part they are in. Raises OutputError."""
        for file in self.ledger.files_with_unseen():
            uris = [uri for uri in uris_in(self._at.table / file) if uri.startswith(below)]
            marks = self.ledger.are_unseen(uris)
            yield file, [uri for uri, unseen in zip(uris, marks, strict=True) if unseen]

    def _rewrite(self, edits: Mapping[str, Edit]) -> int:
        """Replace parts by what `edits` make of them; how many rows that touched. The manifest then
        still speaks of both states of each part. A part without rows stays: who has listed the
        directory before will still open it."""
        touched = 0
        before: Counter[str] = Counter()
        after: Counter[str] = Counter()
        states: dict[str, Part] = {}
        with contextlib.ExitStack() as drafts:
            for file, edit in edits.items():
                old = read_part(self._parts[file], self._at.table / file)
                new, count = edit(old)
                if not count:
                    continue
                touched += count
                before += counted(outcomes_of(old))
                after += counted(outcomes_of(new))
                content, photos = encode(new), list_of(new["uri"].to_pylist())
                for name, what in ((file, content), (self._at.photos(file).name, photos)):
                    drafts.callback(discard, self._at.draft(name))
                    write_synced(what, self._at.draft(name))
                states[file] = Part(file, new.num_rows, hashlib.sha256(content).hexdigest())
            if states:
                self._write_manifest(states)
                self._replace(states)
        self.outcomes = self.outcomes + after - before
        return touched

    def _replace(self, states: Mapping[str, Part]) -> None:
        for file, part in states.items():
            patiently(os.replace, self._at.draft(file), self._at.table / file)
            self._put(part)
        # The old rows are gone for good before the new ones appear.
        sync_directory(self._at.table)
        for photos in map(self._at.photos, states):
            patiently(os.replace, self._at.draft(photos.name), photos)
        sync_directory(self._at.work)

    def _put(self, part: Part) -> None:
        """Take a part into account that is new or was replaced."""
        before = self._parts.get(part.file)
        self.rows += part.rows - (before.rows if before else 0)
        self._parts[part.file] = self._changed[part.file] = part

    def _next_name(self) -> str:
        """A name that no part has or had: one that a lost part had means one thing."""
        names = [*self.lost.parts, *islice(reversed(self._parts), 1)]  # the others are older
        return part_name(max(map(number_of, names), default=-1) + 1)

    def _write_manifest(self, rewriting: Mapping[str, Part] | None = None) -> None:
        """A line in its journal, or all of it where that has become long or was not begun."""
        if not self._journal.append(self._manifest(self._changed, rewriting), self.rows):
            self._write_whole(rewriting)
        self._changed = {}

    def _write_whole(self, rewriting: Mapping[str, Part] | None = None) -> None:
        manifest = self._manifest(self._parts, rewriting)
        self._journal.follow(manifest, manifest.write(self.out))
        self._changed = {}

    def close(self) -> None:
        """Write the manifest whole, for people and other programs. Raises OutputError."""
        if self._journal.lines:
            with self._saying_what_is_safe():
                self._write_whole()

    def _manifest(
        self, parts: Mapping[str, Part], rewriting: Mapping[str, Part] | None = None
    ) -> Manifest:
        return Manifest(
            identity=self.identity,
            backend=self.backend,
            parts=tuple(parts.values()),
            lost=tuple(self.lost.parts.values()),
            rewriting=rewriting or {},
            ended=self.ended,
        )

    def _saying_what_is_safe(self) -> contextlib.AbstractContextManager[None]:
        return reporting(
            self.name, lambda: f"{quantity(self.rows, 'row is', 'rows are')} committed"
        )

    def load(self, *, by_content: bool) -> None:
        """Take over the parts that are there, and bring the manifest up to date with them. Raises
        OutputError for parts that do not belong here."""
        manifest = Manifest.read(self.out)
        if self._any and manifest:
            self.identity = dict(manifest.identity)
        check_identity(self.name, self.identity, manifest)
        before = manifest or Manifest(identity=self.identity)
        self.backend = before.backend
        # A lost part may have been put back.
        known = {part.file: part for part in (*before.parts, *before.lost)}
        for path in self._at.parts():
            states = known.get(path.name), before.rewriting.get(path.name)
            self._put(recognise(path, self.fingerprint, *states))
        if self._parts.keys() <= known.keys() and not before.rewriting:
            self.ended = before.ended
        gone = [part for part in known.values() if part.file not in self._parts]
        self._know_rows(gone, by_content=by_content)
        self._settle_lists(before.rewriting)
        self._changed = {}
        as_is = manifest == self._manifest(self._parts)
        if not as_is or os.path.lexists(self._at.journal):
            self._write_whole()
        else:
            self._journal.follow(before, before.journal)
        self.notes += self.lost.notes()

    def _know_rows(self, gone: Iterable[Part], *, by_content: bool) -> None:
        sizes = [(part.file, part.rows) for part in self.parts]
        self.ledger = Ledger(self._at.table, sizes, by_content=by_content)
        self.outcomes = self.ledger.outcomes
        self.lost = LostRows(self._at, list(gone), self.ledger)

    def _settle_lists(self, unsure: Container[str]) -> None:
        """A list of photos for every part, right after a crash too, and for lost ones; no other."""
        lists = self._at.photo_lists()
        for file in self._parts:
            if file not in lists or file in unsure:
                write_list(self._at, file, uris_in(self._at.table / file))
        self._drop_lists(lists)

    def _drop_lists(self, lists: Mapping[str, Path]) -> None:
        """Remove those that neither a part nor a lost one needs."""
        for file in lists.keys() - self._parts.keys() - self.lost.parts.keys():
            patiently(lists[file].unlink)


@contextlib.contextmanager
def open_results(
    out: Path,
    identity: Mapping[str, str] | None,
    *,
    overwrite: bool,
    by_content: bool = False,
    kind: Callable[[Path, Mapping[str, str] | None], Results] = Results,
) -> Iterator[Results]:
    """Make or continue the result directory `out`, for this process alone; `by_content` as for
    `Ledger`, and `kind` makes what is yielded.

    Raises OutputError: `out` belongs to another scan or to somebody else, another process is
    writing to it (BusyError), it is damaged, or it cannot be written.
    """
    results = kind(out, identity)
    at = Layout(out)
    with reporting(out, as_before), contextlib.ExitStack() as stack:
        refuse_unknown(out)
        make_directory(at.work)
        if not stack.enter_context(locked(at.lock)):
            results.notes.append(
                f"the file system of {out} has no locks: that no other scan writes there is yours "
                "to see to"
            )
        for draft in at.drafts():
            patiently(draft.unlink)
        if overwrite:
            at.remove_own()
        else:
            complete_switch(at)
        make_directory(at.table)
        results.load(by_content=by_content)
        held = stack.pop_all()
    with held:
        yield results
        results.close()
