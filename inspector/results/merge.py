"""Several tables of one scan become one: its shards, or scans of different photos.

The parts are not written anew: each gets another name in the new table, by a hard link where the
file system has them, by a copy elsewhere. The table is there at once, by the same steps as after
`inspector rejudge` (docs/explanation/durability.md), and whatever is looked at is looked at in what
was linked or copied, so a scan that changes one of the tables meanwhile cannot harm it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from inspector.core.durable import reporting
from inspector.core.layout import Layout, refuse_other
from inspector.core.progress import no_progress
from inspector.core.text import display_path, quantity
from inspector.core.untrusted import opened, sha256_of, take_paths
from inspector.errors import OutputError, UsageError
from inspector.results.labels import open_labels, read_decisions
from inspector.results.manifest import MERGED, SHARD, Manifest, Part, differences
from inspector.results.opening import at_hand
from inspector.results.parts import examine, read_columns, uris_in
from inspector.results.store import open_results
from inspector.results.switch import next_table
from inspector.results.verify.table import UriCensus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from inspector.core.progress import Progress
    from inspector.photos.selection import Shard
    from inspector.results.store import Results
    from inspector.results.switch import NextTable
    from inspector.types import JsonObject

_MOST_NAMED = 8
"""Missing shards that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """Raises UsageError when a value cannot be right."""

    tables: tuple[Path | str, ...]
    """The result directories, or their addresses in buckets, that become one: all shards of a scan,
    or scans of other photos."""
    out: Path
    """The result directory of all; what an earlier merge has put there is replaced."""
    overwrite: bool = False
    """Remove other results from `out` first."""

    def __post_init__(self) -> None:
        take_paths(self)
        if not self.tables:
            raise UsageError("name the result directories to merge")
        if os.path.realpath(self.out) in map(os.path.realpath, self.tables):
            raise UsageError(f"--out {self.out} is one of those to merge; name another")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult:
    """Result of a merge."""

    out: Path
    tables: int
    """Number of tables that it was made of."""
    shards: bool
    """They were the shards of one scan."""
    rows: int
    parts: int
    copied: int
    """Parts that were copied, because they could not be linked."""
    labels: int
    """Labels that were taken over now."""
    unchanged: bool
    """The table was there already."""

    def to_json(self) -> JsonObject:
        return asdict(self) | {"out": display_path(str(self.out))}


@dataclass(frozen=True, slots=True)
class FinishedTable:
    """The table `name`, whole and at rest in the directory `out`."""

    name: Path | str
    out: Path
    manifest: Manifest
    shard: Shard | None

    @classmethod
    def of(cls, name: Path | str, out: Path, *, then: str = "merge") -> FinishedTable:
        """Raises OutputError, with what to do before one can `then`, for a directory whose table
        is not there, whole and at rest."""
        refuse_other(out)
        with reporting(name, lambda: "nothing was done"):
            manifest = Manifest.read(out)
        if manifest is None:
            raise OutputError(f"{name} has no manifest; see what inspector verify says of it")
        again = (
            f"{name} was not scanned to its end (stopped, --limit, or a directory could not be "
            f"read): run its scan again, then {then}"
        )
        if not manifest.ended or manifest.rewriting or manifest.next or manifest.lost:
            raise OutputError(again)
        names = Layout(out).part_names()
        if sorted(names) != sorted(part.file for part in manifest.parts):
            raise OutputError(again)
        return cls(name, out, manifest, manifest.shard())

    def refuse_changed(self, part: Part, file: Path) -> None:
        """Raise OutputError unless `file`, which is that of a part or was made of it, has the bytes
        that were committed; OSError."""
        if sha256_of(file) != part.sha256:
            raise OutputError(
                f"{part.file} of {self.name} is not the file that was committed: see inspector "
                f"verify {self.name}"
            )


def merge(config: MergeConfig, *, progress: Progress = no_progress) -> MergeResult:
    """Make one table of all rows of `config.tables`, and of what people said about them.

    Killed anywhere, `config.out` has the table before or the new one, and the same call completes
    it. Raises OutputError where the tables do not belong together, a shard is missing, a file has
    a row in two of them, one is damaged or its scan was not finished, or `config.out` holds rows of
    another origin.
    """
    with ExitStack() as stack:
        tables = [FinishedTable.of(out, stack.enter_context(at_hand(out))) for out in config.tables]
        identity = _common_identity(tables)
        if shards := any(table.shard is not None for table in tables):
            tables = _all_shards(tables)
        opening = open_results(config.out, identity, overwrite=config.overwrite)
        results = stack.enter_context(opening)
        wanted = [(table, part) for table in tables for part in table.manifest.parts]
        unchanged = [p.sha256 for p in results.parts] == [p.sha256 for _, p in wanted]
        copied = 0
        if not unchanged:
            if results.rows and results.ended != MERGED:
                raise OutputError(
                    f"{config.out} holds rows that no merge has put there; choose another --out, "
                    "or --overwrite to remove them first"
                )
            with next_table(results) as new:
                merging = _Merging(results, new)
                for number, (table, part) in enumerate(wanted):
                    progress("merging", number, len(wanted))
                    merging.take(table, part)
                merging.refuse_doubles()
            backends = [table.manifest.backend for table in tables]
            results.backend = next(filter(None, backends), "")
            results.ended = MERGED
            results.switch(results.identity, new)
            copied = merging.copied
        return MergeResult(
            out=config.out,
            tables=len(tables),
            shards=shards,
            rows=results.rows,
            parts=len(results.parts),
            copied=copied,
            labels=_merge_labels(config, tables),
            unchanged=unchanged,
        )


def _common_identity(tables: Sequence[FinishedTable]) -> Mapping[str, str]:
    """The identity of a table of all. Raises OutputError where rows were made by other rules."""
    first, *others = (
        {name: value for name, value in table.manifest.identity.items() if name != SHARD}
        for table in tables
    )
    for table, other in zip(tables[1:], others, strict=True):
        if found := differences(first, other, str(tables[0].name), str(table.name)):
            raise OutputError(
                f"these tables do not belong together ({found}): scan one of them again with the "
                "same model and options, or use inspector rejudge for other thresholds"
            )
    return first


def _all_shards(tables: Sequence[FinishedTable]) -> list[FinishedTable]:
    """The shards in their order. Raises OutputError unless each is there once."""
    found: dict[int, FinishedTable] = {}
    first, shard = next((table, table.shard) for table in tables if table.shard)
    count = shard.count
    for table in tables:
        if table.shard is None or table.shard.count != count:
            of = table.shard and f"shard {table.shard}"
            raise OutputError(
                f"{first.name} is shard {shard}, {table.name} is {of or 'no shard'}: only the "
                "shards of one scan make one table"
            )
        if (other := found.setdefault(table.shard.number, table)) is not table:
            raise OutputError(f"{other.name} and {table.name} are both shard {table.shard}")
    if missing := [f"{number}/{count}" for number in range(count) if number not in found]:
        named = ", ".join(missing[:_MOST_NAMED])
        named += f" and {len(missing) - _MOST_NAMED:,} more" if len(missing) > _MOST_NAMED else ""
        raise OutputError(f"of {count:,} shards these are missing: {named}; scan or name them, too")
    return [found[number] for number in range(count)]


class _Merging:
    """The parts of all tables, taken into a new one; whatever is looked at is looked at there."""

    def __init__(self, results: Results, table: NextTable) -> None:
        self._table = table
        self.copied = 0
        self._fingerprint = results.fingerprint
        self._census = UriCensus()
        self._found: dict[str, tuple[Path | str, Path]] = {}
        """The table that a part comes from, and the part's file."""

    def take(self, table: FinishedTable, part: Part) -> None:
        """Raises OSError, and OutputError for a part that is not as it was committed."""
        source = Layout(table.out).table / part.file
        name, target = self._table.next_path()
        self._link(source, target)
        table.refuse_changed(part, target)
        examine(target, self._fingerprint)
        rows = read_columns(target, ["uri", "verdict", "failure_code"])
        uris = rows["uri"].to_pylist()
        if table.shard is not None and not all(map(table.shard.has, uris)):
            raise OutputError(f"{source} has rows of other shards than {table.shard}")
        self._found[name] = table.name, target
        self._census.add(name, uris)
        self._table.take(name, part.sha256, rows)

    def refuse_doubles(self) -> None:
        """Raise OutputError for a file with two rows."""
        for uri, first, again in self._census.doubled(lambda name: uris_in(self._found[name][1])):
            (here, _), (there, _) = self._found[first], self._found[again]
            raise OutputError(
                f"{here} and {there} both have a row for {uri}: tables that become one have no "
                "photo in common"
            )

    def _link(self, source: Path, target: Path) -> None:
        """Let `target` be the file `source`, by a copy where it cannot be linked."""
        with opened(source) as old:
            try:
                os.link(source, target)
            except OSError:
                with target.open("xb") as new:
                    shutil.copyfileobj(old, new, 1 << 20)
                    new.flush()
                    os.fsync(new.fileno())
                self.copied += 1


def _merge_labels(config: MergeConfig, tables: Sequence[FinishedTable]) -> int:
    """Take over what counts of what people said; how much of it was new. Raises OutputError."""
    decisions = [read_decisions(table.out) for table in tables]
    if not any(map(len, decisions)):
        return 0
    with open_labels(config.out, "") as labels:
        return sum(labels.take(table) for table in decisions)


def merged_lines(result: MergeResult) -> list[str]:
    """Say what has become of the tables."""
    said = quantity(result.tables, "table")
    said += ", all shards of a scan" if result.shards else ""
    copied = f"; parts copied, not linked: {result.copied:,}" if result.copied else ""
    lines = [f"merged     {said}{', as before' if result.unchanged else ''}{copied}"]
    if result.labels:
        lines.append(f"labels     taken over: {result.labels:,}")
    return [
        *lines,
        f"table      {result.out} ({quantity(result.rows, 'row')}, part files: {result.parts:,})",
    ]
