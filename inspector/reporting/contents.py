"""The contents of a table, counted: for the page, the terminal and programs."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from inspector.core.layout import Layout, is_being_written
from inspector.core.text import display_path
from inspector.errors import OutputError, UsageError
from inspector.model.scale import NOTHING_ASKED, Scale
from inspector.reporting import counting
from inspector.reporting.counting import OUTCOMES, Folders, Group, Places
from inspector.results.labels import Label
from inspector.results.manifest import (
    DENSE,
    SHARD,
    THRESHOLDS,
    Manifest,
    ManifestError,
    OtherVersionError,
)
from inspector.results.query import FAILED
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from inspector.results.query import Query
    from inspector.results.reader import Table
    from inspector.types import JsonObject

WRITING, INTERRUPTED, DAMAGED, AT_REST = "writing", "interrupted", "damaged", "at_rest"
_SPOT_SIDE = 8
_CRACK, _REVIEW, _CLEAR = map(str, (Verdict.CRACK, Verdict.REVIEW, Verdict.CLEAR))


@dataclass(frozen=True, slots=True)
class People:
    """Counts of what people said about the photos they looked at; what they call no concrete shows
    no crack.

    `agree`: with a verdict of crack or clear; `missed_cracks`: called clear by the model, crack by
    a person; `false_alarms`: the other way round; `decided`: left open by the model, or failed, and
    decided by a person. With `unsure` these are all.
    """

    looked_at: int
    crack: int
    clear: int
    unsure: int
    not_concrete: int
    agree: int
    missed_cracks: int
    false_alarms: int
    decided: int
    by_model: Mapping[str, Mapping[str, int]]
    """Counts of what people said, by what the model had said."""

    @classmethod
    def of(cls, query: Query) -> People:
        said = counting.photos_by(query, "model || ' ' || human")
        by_model = {
            outcome: {str(label): said.get(f"{outcome} {label}", 0) for label in Label}
            for outcome in OUTCOMES
        }
        no_crack = {o: said[Label.CLEAR] + said[Label.NOT_CONCRETE] for o, said in by_model.items()}
        by_label = {str(label): sum(row[label] for row in by_model.values()) for label in Label}
        return cls(
            looked_at=sum(by_label.values()),
            **by_label,
            agree=by_model[_CRACK][_CRACK] + no_crack[_CLEAR],
            missed_cracks=by_model[_CLEAR][_CRACK],
            false_alarms=no_crack[_CRACK],
            decided=sum(by_model[o][_CRACK] + no_crack[o] for o in (_REVIEW, FAILED)),
            by_model=by_model,
        )


@dataclass(frozen=True, slots=True)
class State:
    """State of a table: `kind` is `writing`, `interrupted`, `damaged` or `at_rest`; `note`
    says what that means for the counts."""

    kind: str
    note: str
    shard: str | None = None
    """Whose photos the table has; None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Contents of a table; counts are photos. `model` is what the model said, `total` what stands
    after people had their say."""

    out: Path | str
    made_at: datetime
    state: State
    total: Group
    model: Mapping[str, int]
    people: People
    since: datetime | None
    """Only photos that were judged then or later are in it; None: all."""
    reasons: Mapping[str, int]
    min_crack_mm: float | None
    """Width of the cracks that must be seen, if the scan was asked for one."""
    coarse: int
    """Photos whose scale cannot show it."""
    unknown_scale: int
    """Judged photos of unknown scale."""
    failures: Mapping[str, int]
    failed_files: Mapping[str, Sequence[JsonObject]] = field(repr=False)
    """A few rows for each code."""
    size_bytes: int
    copies: int
    """Files with the bytes of another one."""
    root: str
    """The folder that holds all photos."""
    folders: tuple[Folders, ...]
    """Folders at the first level below the root and at the second, where they tell more."""
    period: str
    """Length of `periods`: hour, day, month or year."""
    periods: tuple[Group, ...]
    places: Places = field(repr=False)
    place_degrees: float
    """Side of these squares."""
    spots: Places = field(repr=False)
    """Squares of some 9 metres, or larger ones."""
    own_scale: int
    """Photos judged at their own scale, which have thresholds of their own."""
    facts: Mapping[str, str]
    runs: Sequence[Mapping[str, str]]
    judged: tuple[datetime, ...]
    """Times at which the first and the last row were made; none without rows."""
    cracks: Sequence[JsonObject] = field(repr=False)
    review: Sequence[JsonObject] = field(repr=False)
    differing: Sequence[JsonObject] = field(repr=False)
    """Rows to be shown as pictures: cracks, photos that are left to a person, and those of which a
    person says the opposite of the model."""
    said: Mapping[str, str] = field(default_factory=dict)
    """What there is to say of the files that were written, by option."""

    @property
    def digest(self) -> str:
        """Digest of the bundle that made the table; empty for tables that do not say."""
        return self.facts.get("model", "")

    @property
    def placed(self) -> int:
        """Photos whose place is known."""
        return sum(group.photos for _, _, group in self.places)

    @property
    def hidden(self) -> int:
        """Photos that cannot show the crack width asked for, or of which nobody knows it."""
        return self.coarse + self.unknown_scale

    @property
    def without_place(self) -> int:
        return self.total.photos - self.placed

    @property
    def most_cracks(self) -> list[Group]:
        """The folders with cracks, that with the most first."""
        return [group for group in self.folders[-1].listed if group.crack] if self.folders else []

    @property
    def all_differing(self) -> int:
        return self.people.missed_cracks + self.people.false_alarms

    def threshold(self, name: str) -> float | None:
        """Return `clear_below`, `crack_from` or `out_of_distribution`, behind `dense_` that of
        photos judged at their own scale; None where the table does not say."""
        with contextlib.suppress(KeyError, ValueError):
            return float(self.facts[name])
        return None

    def to_json(self) -> JsonObject:
        """Return everything but the rows."""
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
            "scale": {
                "min_crack_mm": self.min_crack_mm,
                "cannot_show": None if self.min_crack_mm is None else self.hidden,
                "unknown": self.unknown_scale,
            },
            "size_bytes": self.size_bytes,
            "copies": self.copies,
            "root": self.root,
            "folders": [asdict(folders) for folders in self.folders],
            "period": self.period,
            "periods": [asdict(group) for group in self.periods],
            "gps": {"photos": self.placed, "without": self.without_place},
            "model": self.digest,
            "thresholds": {
                name: self.threshold(name)
                for name in (*THRESHOLDS, *(DENSE + name for name in THRESHOLDS))
            },
            "runs": [dict(run) | {"rows": int(run["rows"])} for run in self.runs],
            "files": dict(self.said),
            "since": self.since and self.since.isoformat(timespec="seconds"),
            "judged": [moment.isoformat(timespec="seconds") for moment in self.judged],
        }


def count_table(query: Query, pictures: int) -> Report:
    """Count a table; at most `pictures` cracks are listed to be shown. Raises as `Query.ask`."""
    asked = NOTHING_ASKED
    with contextlib.suppress(ValueError, UsageError):  # of a table that somebody edited
        asked = Scale.of(query.table.facts)
    total = counting.count_kinds(query, asked.min_crack_mm)
    model = counting.photos_by(query, "model")
    root, folders = counting.count_folders(query)
    period, periods = counting.count_periods(query)
    places, side, spots = counting.count_places(query, _SPOT_SIDE)
    cracks, review, differing = counting.choose_shown(query, pictures)
    table = query.table
    return Report(
        out=table.out,
        made_at=datetime.now().astimezone(),
        state=state_of(table),
        total=total,
        model={outcome: model.get(outcome, 0) for outcome in OUTCOMES},
        people=People.of(query),
        reasons=counting.photos_by(query, "reason"),
        min_crack_mm=asked.min_crack_mm,
        coarse=counting.sum_of(query, "coarse"),
        unknown_scale=counting.sum_of(query, "unknown_scale"),
        failures=counting.photos_by(query, "failure_code"),
        failed_files=counting.list_failed(query),
        size_bytes=counting.sum_of(query, "size_bytes"),
        copies=counting.count_copies(query),
        root=root,
        folders=folders,
        period=period,
        periods=periods,
        places=places,
        place_degrees=side / counting.PER_DEGREE,
        spots=spots,
        own_scale=counting.sum_of(query, "own_scale"),
        facts=table.facts,
        runs=counting.run_facts(query),
        since=table.since and _local(table.since),
        judged=tuple(map(_local, counting.judged_between(query))),
        cracks=cracks,
        review=review,
        differing=differing,
    )


def _local(moment: datetime) -> datetime:
    """A time of the table, which is UTC, where this machine is."""
    known = moment.replace(tzinfo=UTC)
    with contextlib.suppress(OverflowError):  # at the ends of the calendar
        return known.astimezone()
    return known


def state_of(table: Table) -> State:
    """Tell whether the table's directory is whole, and whose photos it has. Raises OutputError for
    a table of another version, which may be sound."""
    state = _state_of(table)
    with contextlib.suppress(ManifestError):
        manifest = Manifest.read(table.out)
        if shard := manifest and manifest.identity.get(SHARD):
            note = f"{state.note} These are the photos of shard {shard} alone."
            return replace(state, note=note, shard=shard)
    return state


def _state_of(table: Table) -> State:
    """A scan that was stopped between two parts leaves no trace: that its listing was worked
    through, only the scan itself can say."""
    at = Layout(table.out)
    if is_being_written(table.out):
        return State(
            WRITING,
            "A scan was writing this table while it was read: what it had committed by then is "
            "counted here, and more will follow.",
        )
    try:
        manifest = Manifest.read(table.out)
        if manifest is None:
            raise ManifestError("", "it is missing")
    except OtherVersionError as error:
        raise OutputError(f"{table.out} was not read: {error.what}; {error.remedy}") from error
    except ManifestError as error:
        return State(DAMAGED, f"The manifest of this table is damaged ({error.what}): see what "
                              f"inspector verify says before you rely on it.")  # fmt: skip
    listed, there = ({part.file for part in manifest.parts}, {p.path.name for p in table.parts})
    if missing := sorted(listed - there):
        return State(DAMAGED, f"A part of this table is gone ({missing[0]}): its photos are not "
                              f"counted here; see what inspector verify says.")  # fmt: skip
    if manifest.next is not None:
        return State(INTERRUPTED, "The verdicts of this table were being changed when that was "
                                  "interrupted: inspector rejudge completes it.")  # fmt: skip
    if lost := sorted(part.file for part in manifest.lost):
        return State(DAMAGED, f"Rows of this table were lost ({lost[0]}), and not all are there "
                              f"again: see what inspector verify says.")  # fmt: skip
    if at.drafts() or manifest.rewriting or there - listed:
        return State(
            INTERRUPTED,
            "The scan of this table was interrupted: photos are missing here. The same inspector "
            "scan command continues it.",
        )
    return State(
        AT_REST,
        "All rows of the table are counted. That its scan had reached the last photo, the scan "
        "says when it ends; the same command run again finds what is missing.",
    )
