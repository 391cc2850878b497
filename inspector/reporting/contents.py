"""What a table holds, counted: the summary for people and programs."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, astuple, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from inspector.core.text import display_path
from inspector.photos.address import text_of
from inspector.reporting.counts import Group
from inspector.reporting.table import FAILED, OUTCOMES
from inspector.reporting.tally import DAY, HOUR, MONTH, PER_DEGREE, YEAR
from inspector.results.labels import Label
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from inspector.reporting.coarse import Coarse
    from inspector.reporting.state import State
    from inspector.reporting.table import Table
    from inspector.reporting.tally import Place, Tally
    from inspector.types import JsonObject

MOST_PERIODS = 48
"""Rows of the table over time: the finest periods of which there are no more."""
MOST_FOLDERS = 40
"""Rows of each table of folders; the others are added up in one row."""
PERIODS = {HOUR: "hour", DAY: "day", MONTH: "month", YEAR: "year"}
_SPOT_SIDE = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CRACK, _REVIEW, _CLEAR = map(str, (Verdict.CRACK, Verdict.REVIEW, Verdict.CLEAR))


@dataclass(frozen=True, slots=True)
class People:
    """What people said about the photos they looked at. `agree`: with a verdict of crack or clear;
    `missed_cracks`: called clear by the model, crack by a person; `false_alarms`: the other way
    round; `decided`: left open by the model, or failed, and decided by a person."""

    looked_at: int
    crack: int
    clear: int
    unsure: int
    agree: int
    missed_cracks: int
    false_alarms: int
    decided: int
    by_model: Mapping[str, Mapping[str, int]]
    """What people said, by what the model had said."""

    @classmethod
    def of(cls, said: Mapping[tuple[str, str], int]) -> People:
        by_model = {
            outcome: {str(label): said.get((outcome, label), 0) for label in Label}
            for outcome in OUTCOMES
        }
        by_label = {str(label): sum(row[label] for row in by_model.values()) for label in Label}
        return cls(
            looked_at=sum(by_label.values()),
            **by_label,
            agree=by_model[_CRACK][_CRACK] + by_model[_CLEAR][_CLEAR],
            missed_cracks=by_model[_CLEAR][_CRACK],
            false_alarms=by_model[_CRACK][_CLEAR],
            decided=sum(by_model[o][w] for o in (_REVIEW, FAILED) for w in (_CRACK, _CLEAR)),
            by_model=by_model,
        )


@dataclass(frozen=True, slots=True)
class Folders:
    """Photos by folder at one level below the root, those with the most cracks first. `others` adds
    up those that are not listed, of which there are `unlisted`."""

    level: int
    listed: tuple[Group, ...]
    others: Group | None
    unlisted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Counts are photos. `model` is what the model said, `total` after people had their say."""

    out: Path
    made_at: datetime
    state: State
    total: Group
    model: Mapping[str, int]
    people: People
    reasons: Mapping[str, int]
    failures: Mapping[str, int]
    failed_files: Mapping[str, Sequence[JsonObject]] = field(repr=False)
    """A few rows for each code."""
    size_bytes: int
    copies: int | None
    """Files with the bytes of another one; None where there were too many to tell."""
    root: str
    """The folder that holds all photos."""
    folders: tuple[Folders, ...]
    """At the first level below the root and at the second, where they tell more."""
    period: str
    """What `periods` are: hour, day, month or year."""
    periods: tuple[Group, ...]
    places: tuple[tuple[float, float, Group], ...] = field(repr=False)
    """Degrees north and east of the middle of a square, and the photos in it; those with the most
    cracks first."""
    place_degrees: float
    """Side of these squares."""
    spots: tuple[tuple[float, float, Group], ...] = field(repr=False)
    """The same for squares of some 9 metres, or larger ones."""
    facts: Mapping[str, str]
    runs: Sequence[Mapping[str, str]]
    written: tuple[datetime, datetime]
    """When the first and the last part of the table were written, as far as the files tell."""
    cracks: Sequence[JsonObject] = field(repr=False)
    differing: Sequence[JsonObject] = field(repr=False)
    """Rows to be shown: cracks, and those of which a person says the opposite of the model."""
    all_differing: int

    @property
    def digest(self) -> str:
        """Of the bundle that made the table; empty for tables that do not say."""
        return self.facts.get("model", "")

    def threshold(self, name: str) -> float | None:
        """`clear_below`, `crack_from` or `out_of_distribution`; None where it is not told."""
        with contextlib.suppress(KeyError, ValueError):
            return float(self.facts[name])
        return None

    def to_json(self) -> JsonObject:
        """Everything but the rows."""
        total = asdict(self.total)
        return {
            "out": display_path(str(self.out)),
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "state": asdict(self.state),
            "photos": self.total.photos,
            "failed_share": self.model[FAILED] / max(1, self.total.photos),
            "verdicts": dict(self.model),
            "after_review": {outcome: total[outcome] for outcome in OUTCOMES},
            "people": asdict(self.people),
            "reasons": dict(self.reasons),
            "failures": dict(self.failures),
            "size_bytes": self.size_bytes,
            "copies": self.copies,
            "root": self.root,
            "folders": [asdict(folders) for folders in self.folders],
            "period": self.period,
            "periods": [asdict(group) for group in self.periods],
            "gps": {
                "photos": sum(group.photos for _, _, group in self.places),
            },
            "model": self.digest,
            "thresholds": {
                name: self.threshold(name)
                for name in ("clear_below", "crack_from", "out_of_distribution")
            },
            "runs": [dict(run) | {"rows": int(run["rows"])} for run in self.runs],
            "written": [moment.isoformat(timespec="seconds") for moment in self.written],
        }


def sum_up(table: Table, tally: Tally, state: State) -> Summary:
    """The summary of what was counted."""
    root, folders = _folders(tally.folders)
    period, periods = _periods(tally.periods)
    return Summary(
        out=table.out,
        made_at=datetime.now().astimezone(),
        state=state,
        total=Group.of("all", tally.cells),
        model=dict(zip(OUTCOMES, tally.cells.sum(axis=1).tolist(), strict=True)),
        people=People.of(tally.said),
        reasons=dict(tally.reasons.most_common()),
        failures=dict(tally.failures.most_common()),
        failed_files=tally.failed.rows(),
        size_bytes=tally.size_bytes,
        copies=tally.copies.count(),
        root=root,
        folders=folders,
        period=period,
        periods=periods,
        places=_places(tally.places, tally.places.level),
        place_degrees=tally.places.level / PER_DEGREE,
        spots=_places(tally.places, max(_SPOT_SIDE, tally.places.level)),
        facts=tally.facts,
        runs=tally.run_facts(),
        written=(_moment(table.oldest_us), _moment(table.newest_us)),
        cracks=tally.cracks.rows(),
        differing=tally.differing.rows(),
        all_differing=tally.differing.total,
    )


def _moment(time_us: int) -> datetime:
    return (_EPOCH + timedelta(microseconds=time_us)).astimezone()


def _folders(counted: Coarse[str]) -> tuple[str, tuple[Folders, ...]]:
    """What all photos share, and the levels below it."""
    known = counted.at(counted.level)
    if not known:
        return "", ()
    split = [folder.split("/") for folder in known]
    shared = 0
    while shared < min(map(len, split)) and len({parts[shared] for parts in split}) == 1:
        shared += 1
    root = "/".join(split[0][:shared])
    tables = []
    seen = 1
    for level in (1, 2):
        cells = counted.at(shared + level - 3)
        if len(cells) > seen:
            seen = len(cells)
            tables.append(_by_folder(root, level, cells))
    return text_of(root) or "/", tuple(tables)


def _by_folder(root: str, level: int, found: Mapping[str, Any]) -> Folders:
    def name(folder: str) -> str:
        return text_of(folder.removeprefix(root).lstrip("/")) or "(directly in it)"

    groups = [Group.of(name(folder), cells) for folder, cells in found.items()]
    groups.sort(key=lambda group: (-group.crack, -group.review, group.name))
    # A last row that stands for a single folder would hide its name for nothing.
    most = len(groups) if len(groups) <= MOST_FOLDERS + 1 else MOST_FOLDERS
    listed, rest = groups[:most], groups[most:]
    others = None
    if rest:
        counts = zip(*(astuple(group)[1:] for group in rest), strict=True)
        others = Group(f"{len(rest):,} other folders", *map(sum, counts))
    return Folders(level, tuple(listed), others, len(rest))


def _periods(counted: Coarse[str]) -> tuple[str, tuple[Group, ...]]:
    found = counted.finest(MOST_PERIODS)
    if not found:
        return "", ()
    letters = len(next(iter(found)))
    return PERIODS[letters], tuple(Group.of(name, found[name]) for name in sorted(found))


def _places(counted: Coarse[Place], side: int) -> tuple[tuple[float, float, Group], ...]:
    middle = (side - 1) / 2
    places = [
        ((south + middle) / PER_DEGREE, (west + middle) / PER_DEGREE, Group.of("", cells))
        for (south, west), cells in counted.at(side).items()
    ]
    places.sort(key=lambda place: (-place[2].crack, -place[2].photos, place[:2]))
    return tuple(places)
