"""Counts of a scan, while it runs and when it has ended, and the protocol of those who watch it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from inspector.core.text import display_path
from inspector.model.scale import NOTHING_ASKED
from inspector.results.codes import REMEDIES
from inspector.types import FailureCode, Photo, Verdict, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from inspector.model.scale import Scale
    from inspector.photos.source import Discovery
    from inspector.scanning.config import FailureBudget
    from inspector.scanning.executor import Engine
    from inspector.scanning.following import Following
    from inspector.scanning.pipeline import OpenScan
    from inspector.scanning.plan import Plan
    from inspector.scanning.worklist import StopSignals
    from inspector.types import Batch, JsonObject, Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows by what they say."""

    rows: int
    ok: int
    failed: int
    verdicts: dict[str, int]
    failures: dict[str, int]
    """Rows by failure code, the most frequent first."""

    @classmethod
    def of(cls, outcomes: Mapping[str, int]) -> Self:
        """Sort numbers of rows by verdict or failure code into counts."""
        verdicts = {str(verdict): outcomes.get(verdict, 0) for verdict in Verdict}
        codes = Counter({str(code): outcomes.get(code, 0) for code in FailureCode})
        ok, failed = sum(verdicts.values()), codes.total()
        failures = {code: count for code, count in codes.most_common() if count}
        return cls(rows=ok + failed, ok=ok, failed=failed, verdicts=verdicts, failures=failures)


class Watcher(Protocol):
    """Shows a scan's progress."""

    def start(self, plan: Plan, backend: Engine, table: Counts, notes: Sequence[str]) -> None:
        """The engine is up and the first photos are on their way; `table` is what was there
        before, `notes` what there is to know about it by then."""
        ...

    def update(self, tally: Tally) -> None:
        """Another batch was judged."""
        ...


@dataclass(slots=True)
class Tally:
    """Counts of a running scan, in photos; `already_done` had their rows before, `left_out` have
    none and get none, `vanished` have one and are gone (the bytes of `moved_away`, whose rows are
    kept, lie elsewhere now); so are, of those already done, `gone_but_named`, which a list still
    names, and `outdated`, which have changed since but keep their rows. `outcomes` is what the
    others got, by verdict or failure code."""

    budget: FailureBudget | None = None
    already_done: int = 0
    left_out: int = 0
    vanished: int = 0
    moved_away: int = 0
    gone_but_named: int = 0
    outdated: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    """Photos by the stage that judged them; those judged densely by that view, whatever looked
    closer at their regions."""
    views: Counter[str] = field(default_factory=Counter)
    """Photos by the way in which they were judged."""
    megapixels: float = 0.0
    """Of those judged at their own scale."""
    stop: StopSignals | None = None
    """Signals that end the scan after what is under way."""
    decode_cpu_seconds: float = 0.0
    coarse: int = 0
    """Photos whose scale cannot show the crack width asked for."""
    unknown_scale: int = 0
    """Photos of which nobody knows whether they can."""
    nodes: int = 0
    """Nodes of a cluster that judge now; 0 without one."""

    @property
    def run(self) -> Counts:
        """The rows of this run."""
        return Counts.of(self.outcomes)

    def judged_by(self, stage: str) -> int:
        """Photos that one of the engine's stages judged."""
        return self.stages[stage.rpartition("@")[2] if stage.endswith(View.DENSE) else stage]

    @property
    def looked_at(self) -> int:
        return self.outcomes.total()

    def over_budget(self, *, finished: bool = False) -> bool:
        """Whether more photos failed than the budget, if there is one, allows."""
        if self.budget is None:
            return False
        return self.budget.exceeded(self.run.failed, self.looked_at, finished=finished)

    def add(self, other: Tally) -> None:
        """Count what another has counted of other photos that were looked at."""
        self.outcomes.update(other.outcomes)
        self.stages.update(other.stages)
        self.views.update(other.views)
        self.megapixels += other.megapixels
        self.decode_cpu_seconds += other.decode_cpu_seconds
        self.coarse += other.coarse
        self.unknown_scale += other.unknown_scale

    def count(
        self, batch: Batch, judgements: Iterable[Judgement], scale: Scale = NOTHING_ASKED
    ) -> None:
        """Count the files of a batch, and those that cannot show the crack width asked for."""
        self.decode_cpu_seconds += batch.decode_seconds
        for judgement in judgements:
            self.outcomes[judgement.verdict.value] += 1
            dense = judgement.view is View.DENSE
            self.stages[str(View.DENSE) if dense else judgement.stage] += 1
            self.views[judgement.view.value] += 1
        for item in batch.items:
            if isinstance(item, Photo):
                if item.shape is not None:
                    self.megapixels += prod(item.shape) / 1e6
            else:
                self.outcomes[item.code.value] += 1
        if scale.min_crack_mm is not None:
            visible_N = np.array([photo.smallest_visible_mm for photo in batch.photos], np.float64)
            unknown = int(np.isnan(visible_N).sum())
            self.unknown_scale += unknown
            self.coarse += int(scale.hides_N(visible_N).sum()) - unknown


EXIT_INCOMPLETE = 3
"""Done, but photos are missing from what was found out, and somebody should know."""
EXIT_SIGNAL_BASE = 128
"""A shell's way to say which signal ended a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What was found in the sources, in photos."""

    shard: str | None
    """Whose photos these are; None: all."""
    elsewhere: int
    """Photos that belong to other shards."""
    discovered: int
    already_done: int
    """Photos whose row was made by an earlier run."""
    left_out: int
    """Photos that have no row and get none, because only failed ones are retried."""
    ignored_by_suffix: dict[str, int]
    """Files that are no images, by name ending."""
    excluded: dict[str, int]
    """Files and directories left out, by what matched them; a directory counts once."""
    repeated: int
    """Photos that lists or patterns name more than once."""
    unreadable_dirs: list[str]
    """Directories that could not be listed, with the reason: their photos are missing here."""
    linked_dirs: list[str]
    """Links to directories, not followed."""
    notes: list[str]

    @staticmethod
    def of(found: Discovery, *notes: str) -> JsonObject:
        """The fields that a listing fills, with further notes."""
        return {
            "shard": None if found.shard is None else str(found.shard),
            "elsewhere": found.elsewhere,
            "ignored_by_suffix": dict(found.ignored_by_suffix.most_common()),
            "excluded": dict(found.excluded.most_common()),
            "repeated": found.repeated,
            "unreadable_dirs": [display_path(unread) for unread in found.unreadable_dirs],
            "linked_dirs": [display_path(path) for path in found.linked_dirs],
            "notes": [display_path(note) for note in (*found.notes, *notes)],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSummary(Listing):
    """The outcome of a scan. Unless it was stopped, discovered = run.rows + already_done +
    left_out."""

    table: Counts
    """All rows in `out`, of this run and earlier ones."""
    run: Counts
    """The rows that this run has made."""
    changed: int
    """Photos with a new row that had one before, from an earlier state or a failed try."""
    outdated: int
    """Photos that are not as their rows say, in a table that only grows (in a bucket)."""
    yielded: int
    """Photos of this run that another scan into the same table had judged first; its rows count."""
    vanished: int
    """Rows below the sources whose files are gone; known when the listing was whole."""
    moved_away: int
    """Of those that are kept, photos whose bytes another file has, which has a row as well."""
    pruned: int
    """Vanished rows that were dropped."""
    lost: int
    """Rows of lost parts that are not there again."""
    moved: int
    """Rows that were given the address that their photos have now."""
    labels: Following
    """What has become of what people said."""
    min_crack_mm: float | None
    """Width of the cracks that must be seen, if one was asked for."""
    coarse: int
    """Photos of this run whose scale cannot show it."""
    unknown_scale: int
    """Photos of this run of which nobody knows whether they can."""
    gone_but_named: int
    """Photos already done whose files are gone, although a list names them."""
    began: str
    """When this run began (ISO 8601, UTC): what it judged has a `judged_at` from then on."""
    seconds: float
    stage_seconds: dict[str, float]
    """Wall seconds of the scan's own thread by stage; of `load` and `engine` it is the waiting."""
    engine_seconds: float
    """Seconds in which the engine worked, beside everything else."""
    decode_cpu_seconds: float
    """Seconds spent decoding, summed over the workers."""
    images_per_second: float
    """Photos that got a row, per second of the whole run."""
    model: str
    """The bundle's digest."""
    backend: str
    device: str
    providers: list[str]
    precision: str
    stages: dict[str, int]
    """Photos of this run by the stage that judged them (precision@pixels; precision@dense for all
    photos of the dense view), in the order in which stages are asked."""
    views: dict[str, int]
    """Photos of this run by the way in which they were judged: `whole`, `dense`, `tiles`."""
    megapixels: float
    """Of the photos that were judged at their own scale."""
    batch_size: int
    workers: int
    loader: str
    """Whose processes the workers were: `processes` or `torch`."""
    why: str
    """One sentence on how the machine was shared."""
    recommended: bool
    """A recommendation of `inspector bench` has decided the engine and its settings."""
    out: Path | str
    parts: int
    """Part files in `out`."""
    interrupted_by: int | None
    """Number of the signal that stopped the scan early."""
    budget_exceeded: bool
    """More photos failed than `max_failures` allows."""
    complete: bool
    """The listing was worked through to its end (or to `limit`)."""
    remedy: str
    """Advice where not one of the photos found could be judged, now or before; else empty."""

    @property
    def exit_code(self) -> int:
        """0 done; 3 too many failures, nothing that could be judged, lost rows that are not there
        again, or directories that could not be listed; 128 + signal."""
        if self.interrupted_by is not None:
            return EXIT_SIGNAL_BASE + self.interrupted_by
        incomplete = self.budget_exceeded or self.unreadable_dirs or self.remedy or self.lost
        return EXIT_INCOMPLETE if incomplete else 0

    def to_json(self) -> JsonObject:
        return asdict(self) | {"out": display_path(str(self.out)), "exit_code": self.exit_code}


def summarise(run: OpenScan) -> ScanSummary:
    """The outcome of a scan that has ended. Raises AssertionError when its counts contradict each
    other: then a photo has no row or two, which must never pass in silence."""
    _check(run)
    work, tally, table, plan, engine = run.work, run.tally, run.table, run.plan, run.executor.engine
    found, rows = work.discovery, Counts.of(table.outcomes)
    seconds = time.perf_counter() - run.started
    failures = tally.run.failures or (rows.failures if tally.already_done else {})
    notes = (*table.notes, *engine.notes, *run.executor.notes, *run.overlays.notes)
    judged = tally.run.ok or table.ledger.judged_and_seen or work.stopped
    return ScanSummary(
        **Listing.of(found, *notes),
        table=rows,
        run=tally.run,
        discovered=found.discovered,
        already_done=tally.already_done,
        changed=table.superseded,
        outdated=tally.outdated,
        yielded=table.yielded,
        left_out=tally.left_out,
        vanished=tally.vanished,
        moved_away=tally.moved_away,
        pruned=table.pruned,
        lost=table.lost.rows,
        moved=table.moved,
        labels=replace(run.followed, moved=run.followed.moved + table.labels_moved),
        min_crack_mm=run.config.min_crack_mm,
        coarse=tally.coarse,
        unknown_scale=tally.unknown_scale,
        gone_but_named=tally.gone_but_named,
        began=f"{run.began.isoformat(timespec='seconds')}+00:00",
        seconds=seconds,
        stage_seconds=run.clock.seconds,
        engine_seconds=run.executor.busy_seconds,
        decode_cpu_seconds=tally.decode_cpu_seconds,
        images_per_second=tally.looked_at / seconds,
        model=table.identity["model"],
        backend=engine.name,
        device=engine.device,
        providers=list(engine.providers),
        precision=plan.precision,
        stages={stage: tally.judged_by(stage) for stage in engine.stages},
        views={str(view): tally.views[view] for view in View if tally.views[view]},
        megapixels=tally.megapixels,
        batch_size=plan.batch_size,
        workers=plan.workers,
        loader=plan.loader,
        why=plan.why,
        recommended=plan.recommended,
        out=run.config.out,
        parts=len(table.parts),
        interrupted_by=work.stop.received,
        budget_exceeded=tally.over_budget(finished=True),
        complete=run.complete,
        remedy="" if judged or not failures else REMEDIES[FailureCode(next(iter(failures)))],
    )


def _check(run: OpenScan) -> None:
    """Check that what was listed, looked at, written and dropped adds up to the rows there are."""
    tally, table, committed = run.tally, run.table, run.sink.committed
    before, without_file = len(table.ledger), table.ledger.unseen
    listed = run.work.discovery.discovered
    due = tally.already_done + tally.left_out + tally.looked_at
    rows = before + committed - table.superseded - table.pruned - table.yielded
    whole = listed - tally.left_out + without_file - table.pruned
    right = committed == tally.looked_at and table.rows == rows
    if right and run.complete:
        right = listed == due and table.rows == whole
    if not right:
        raise AssertionError(
            f"{table.name} had {before} rows, {without_file} of them for files that were not "
            f"found; {listed} photos were found, {tally.already_done} had their rows, "
            f"{tally.left_out} were left out, {tally.looked_at} were looked at; {committed} rows "
            f"were written, {table.superseded} replaced, {table.pruned} dropped and "
            f"{table.yielded} left to another scan, which "
            f"makes {table.rows}: this is a bug, please report it"
        )
