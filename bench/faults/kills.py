"""SIGKILL at random moments: of the whole scan, and of the processes that decode for it."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.faults.case import FaultCase, NothingToCompare, Trial, in_parallel, listed
from bench.faults.scans import SIGKILLED, leaked_shared_memory, shared_memory
from bench.faults.table import Snapshot
from inspector.core.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

    from bench.faults.scans import Ended, Running, Scans

MOST_MISSES = 5
"""Kills in a row that may come after the end, before a trial goes on without."""
MOST_RESUMES_KILLED = 3
KILLED_AGAIN = 0.3
"""Share of the resumes that are killed as well."""
PROCESSES_KILLED = 3
"""Per scan, of those that decode; a pool that dies again and again is given up on purpose."""
_NOT_STARTED, _BETWEEN, _AFTER, _ENDED = (
    "before the first commit",
    "between commits",
    "after the last commit",
    "after the end",
)


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
        trial = Trial(f"number {number}", folder / f"killed {number}")
        rng = random.Random(f"{seed} {number}")
        with trial.kept_if_wrong():
            ended = _killed(scans, source, rng, right, trial)
            for _ in range(MOST_MISSES):
                if ended.returncode:
                    break
                # It was faster than undisturbed, with less other work on the machine.
                shutil.rmtree(trial.out)
                ended = _killed(scans, source, rng, right, trial, within=ended.seconds)
            for _ in range(MOST_RESUMES_KILLED):
                if ended.returncode == 0 or rng.random() > KILLED_AGAIN:
                    break
                ended = _killed(scans, source, rng, right, trial)
            _resume(scans, source, right, trial)
        return trial

    moments: Counter[str] = Counter()
    for trial in in_parallel(work, range(kills), threads=parallel, about="kills"):
        case.take(trial)
        moments.update(trial.moments)
    case.note_left(leaked_shared_memory(before))
    case.facts["moments"] = dict(moments)
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
        trial = Trial(f"number {number}", folder / f"disturbed {number}")
        with trial.kept_if_wrong():
            with scans.started(source, trial.out) as scan:
                _disturb(scan, random.Random(f"{seed} processes {number}"), right.seconds)
                trial.note(scan.ended())
            trial.kills = len(scan.killed)
            trial.compare(right.table)
        return trial

    for trial in in_parallel(work, range(count), threads=parallel, about="decoder kills"):
        case.take(trial)
    case.facts["processes killed"] = case.runs
    case.expect(case.runs > 0, "no process was there to be killed")
    case.note_left(leaked_shared_memory(before))
    return case.finish()


def _killed(
    scans: Scans,
    source: Path,
    rng: random.Random,
    right: Undisturbed,
    trial: Trial,
    *,
    within: float | None = None,
) -> Ended:
    """One kill `within` some seconds (None: as long as an undisturbed scan takes), and a look at
    the table as it then is."""
    moment_s = rng.uniform(0, within or right.seconds)
    ended = scans.run(source, trial.out, kill_after=moment_s, whole_group=rng.random() < 0.5)
    trial.note(ended, SIGKILLED)
    trial.look(right.table)
    parts = len(Layout(trial.out).part_names())
    if ended.returncode == 0:
        moment = _ENDED
    elif parts == right.parts:
        moment = _AFTER
    else:
        moment = _BETWEEN if parts else _NOT_STARTED
    trial.moments.append(moment)
    trial.kills += moment != _ENDED
    return ended


def _resume(scans: Scans, source: Path, right: Undisturbed, trial: Trial) -> None:
    done = Snapshot.of(trial.out).count
    ended = scans.run(source, trial.out)
    trial.note(ended)
    if ended.summary is not None and ended.summary["already_done"] < done:
        again = done - ended.summary["already_done"]
        trial.troubles.append(f"{again} files with a row were scanned again")
    trial.compare(right.table)


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
