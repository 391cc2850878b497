"""SIGKILL at random moments: of the whole scan, and of the processes that decode for it."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.faults.case import FaultCase, NothingToCompare, in_parallel, listed
from bench.faults.scans import leaked_shared_memory, shared_memory
from bench.faults.table import (
    UNREADABLE,
    Difference,
    Snapshot,
    damage_in,
    difference,
    difference_so_far,
)
from inspector.core.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.faults.scans import Ended, Running, Scans

MOST_MISSES = 5
"""Kills in a row that may come after the end, before a trial goes on without."""
MOST_RESUMES_KILLED = 3
KILLED_AGAIN = 0.3
"""Share of the resumes that are killed as well."""
PROCESSES_KILLED = 3
"""Per scan, of those that decode; a pool that dies again and again is given up on purpose."""
_SIGKILLED = -9
_NOT_STARTED, _BETWEEN, _AFTER, _ENDED = (
    "before the first commit",
    "between commits",
    "after the last commit",
    "after the end",
)


@dataclass(slots=True)
class Trial:
    """One scan that was disturbed, and what came of it."""

    number: int
    moments: list[str] = field(default_factory=list)
    """Where each kill came, by what was committed."""
    difference: Difference = field(default_factory=Difference)
    rows: int = 0
    left: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    killed_processes: int = 0


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """Table of a scan that nothing happens to."""

    table: Snapshot
    parts: int
    seconds: float
    """The longest of several at the same time, start-up included."""


def undisturbed(scans: Scans, source: Path, folder: Path, *, parallel: int) -> Undisturbed:
    """Scan `source` several times. Raises NothingToCompare when such a scan does not work, or twice
    not alike."""
    outs = [folder / f"undisturbed {number}" for number in range(max(2, parallel))]
    ended = list(
        in_parallel(lambda out: scans.run(source, out), outs, threads=parallel, about="undisturbed")
    )
    troubles = [run.trouble for run in ended if run.trouble]
    if troubles:
        raise NothingToCompare(f"an undisturbed scan failed: {troubles[0]}")
    tables = [Snapshot.of(out) for out in outs]
    if len({table.content for table in tables}) > 1:
        raise NothingToCompare(f"undisturbed scans differ: {listed(outs)}")
    parts = len(Layout(outs[0]).part_names())
    for out in outs:
        shutil.rmtree(out)
    return Undisturbed(tables[0], parts, max(run.seconds for run in ended))


def kill_scans(
    scans: Scans,
    source: Path,
    folder: Path,
    right: Undisturbed,
    kills: int,
    *,
    seed: int,
    parallel: int,
) -> FaultCase:
    """SIGKILL `kills` scans of `source` at moments spread over an undisturbed one's time, and run
    the same command again until it ends."""
    case, before = FaultCase("kills"), shared_memory()

    def work(number: int) -> Trial:
        trial, out = Trial(number), folder / f"killed {number}"
        rng = random.Random(f"{seed} {number}")
        try:
            ended = _killed(scans, source, out, rng, right, trial)
            for _ in range(MOST_MISSES):
                if ended.returncode:
                    break
                # It was faster than undisturbed, with less other work on the machine.
                shutil.rmtree(out)
                ended = _killed(scans, source, out, rng, right, trial, within=ended.seconds)
            for _ in range(MOST_RESUMES_KILLED):
                if ended.returncode == 0 or rng.random() > KILLED_AGAIN:
                    break
                ended = _killed(scans, source, out, rng, right, trial)
            _resume(scans, source, out, right, trial)
        except UNREADABLE as error:
            trial.troubles.append(f"{out} cannot be read: {error}")
        return trial

    _collect(case, in_parallel(work, range(kills), threads=parallel, about="kills"))
    case.note_left(leaked_shared_memory(before))
    case.facts["undisturbed_s"] = right.seconds
    case.facts["undisturbed_parts"] = right.parts
    return case.finish()


def kill_decoders(
    scans: Scans,
    source: Path,
    folder: Path,
    right: Undisturbed,
    count: int,
    *,
    seed: int,
    parallel: int,
) -> FaultCase:
    """SIGKILL processes of `count` scans, never the scan's own, which must then go on."""
    case, before = FaultCase("decoder kills"), shared_memory()

    def work(number: int) -> Trial:
        trial, out = Trial(number), folder / f"disturbed {number}"
        rng = random.Random(f"{seed} processes {number}")
        with scans.started(source, out) as scan:
            _disturb(scan, rng, right.seconds)
            ended = scan.ended()
        trial.killed_processes = len(scan.killed)
        _note_end(trial, ended)
        try:
            _compare(trial, out, right)
        except UNREADABLE as error:
            trial.troubles.append(f"{out} cannot be read: {error}")
        return trial

    _collect(case, in_parallel(work, range(count), threads=parallel, about="decoder kills"))
    case.expect(case.facts["processes killed"] > 0, "no process was there to be killed")
    case.note_left(leaked_shared_memory(before))
    return case.finish()


def _killed(
    scans: Scans,
    source: Path,
    out: Path,
    rng: random.Random,
    right: Undisturbed,
    trial: Trial,
    *,
    within: float | None = None,
) -> Ended:
    """One kill `within` some seconds (None: as long as an undisturbed scan takes), and a look at
    the table as it then is."""
    moment_s = rng.uniform(0, within or right.seconds)
    ended = scans.run(source, out, kill_after=moment_s, whole_group=rng.random() < 0.5)
    if ended.returncode not in (0, _SIGKILLED):
        trial.troubles.append(ended.trouble)
    trial.left += ended.left
    so_far = Snapshot.of(out)
    trial.difference += difference_so_far(so_far, right.table)
    trial.troubles += damage_in(out)
    parts = len(Layout(out).part_names())
    if ended.returncode == 0:
        moment = _ENDED
    elif parts == right.parts:
        moment = _AFTER
    else:
        moment = _BETWEEN if parts else _NOT_STARTED
    trial.moments.append(moment)
    return ended


def _resume(scans: Scans, source: Path, out: Path, right: Undisturbed, trial: Trial) -> None:
    done = Snapshot.of(out).count
    ended = scans.run(source, out)
    _note_end(trial, ended)
    if ended.summary is not None and ended.summary["already_done"] < done:
        again = done - ended.summary["already_done"]
        trial.troubles.append(f"{again} files with a row were scanned again")
    _compare(trial, out, right)


def _disturb(scan: Running, rng: random.Random, seconds: float) -> None:
    """Kill some of the scan's processes while it runs, none twice."""
    for _ in range(PROCESSES_KILLED):
        moment = time.monotonic() + rng.uniform(0.2, 0.5) * seconds
        while time.monotonic() < moment or not scan.children():
            if scan.process.poll() is not None:
                return
            time.sleep(0.02)
        children = scan.children()
        if children:
            scan.kill_child(rng.choice(children))


def _note_end(trial: Trial, ended: Ended) -> None:
    trial.left += ended.left
    if ended.returncode:
        trial.troubles.append(ended.trouble)


def _compare(trial: Trial, out: Path, right: Undisturbed) -> None:
    """With the undisturbed table, byte for byte; what is right is removed, the rest kept."""
    found = Snapshot.of(out)
    trial.troubles += damage_in(out)
    trial.rows += found.count
    trial.difference += difference(found, right.table)
    if found.content != right.table.content and not trial.difference:
        trial.troubles.append("rows are equal, but their bytes differ")
    if trial.difference or trial.troubles or trial.left:
        trial.troubles.append(f"kept: {out}")
    else:
        shutil.rmtree(out)


def _collect(case: FaultCase, trials: Iterator[Trial]) -> None:
    moments: Counter[str] = Counter()
    killed = 0
    for trial in trials:
        kills = [moment for moment in trial.moments if moment != _ENDED]
        case.runs += len(kills) + trial.killed_processes
        case.rows += trial.rows
        case.difference += trial.difference
        case.note_left([f"{left} (number {trial.number})" for left in trial.left])
        killed += trial.killed_processes
        moments.update(trial.moments)
        case.troubles += [f"number {trial.number}: {trouble}" for trouble in trial.troubles]
    case.facts["moments"] = dict(moments)
    case.facts["processes killed"] = killed
