"""SIGKILL at every step by which a scan changes its result directory."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.faults.case import FaultCase, NothingToCompare, Trial, in_parallel
from bench.faults.photos import make_photos
from bench.faults.program import STEP
from bench.faults.scans import SIGKILLED
from bench.faults.table import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bench.faults.scans import Ended, Scans
    from inspector.types import JsonObject

PHOTOS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A scan to be killed, and what there was before it."""

    name: str
    options: JsonObject = field(default_factory=dict)
    change: Callable[[list[Path], Path], None] | None = None
    """Change of the photos after a first scan; None: there is no first scan."""


def _change_some(photos: list[Path], folder: Path) -> None:
    """All photos of one part and one of another; a new one comes between the old ones."""
    changed = [*photos[8:16], photos[1]]
    make_photos(folder / "new", len(changed) + 1, seed=99)
    fresh = sorted((folder / "new").iterdir())
    for old, new in zip(changed, fresh, strict=False):
        old.write_bytes(new.read_bytes())
    fresh[-1].rename(photos[3].with_name(f"{photos[3].stem} and new{fresh[-1].suffix}"))
    shutil.rmtree(folder / "new")


def _remove_some(photos: list[Path], _: Path) -> None:
    """All photos of one part, some of the others."""
    for photo in [*photos[8:16], photos[2], photos[20]]:
        photo.unlink()


HISTORIES = (
    History(name="fresh"),
    History(name="changed", change=_change_some),
    History(name="prune", change=_remove_some, options={"prune": True}),
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A history up to the scan that is to be killed."""

    history: History
    photos: Path
    base: Path | None
    """The result directory as it then is; None: not there."""
    before: Snapshot
    right: Snapshot
    """Table that it must be in the end."""
    steps: tuple[str, ...]
    """Steps of an undisturbed scan, in order."""


def kill_steps(
    scans: Scans, folder: Path, history: History, *, every: int, seed: int, parallel: int
) -> FaultCase:
    """Kill a scan at each of its steps, or `every` so many."""
    case = FaultCase(f"steps, {history.name}")
    ready = _prepare(scans, folder / history.name, history, seed=seed)
    numbers = range(every, len(ready.steps) + 1, every)

    def work(number: int) -> Trial:
        name = f"step {number} ({ready.steps[number - 1]})"
        trial = Trial(name, folder / history.name / f"step {number}")
        with trial.kept_if_wrong():
            _kill_at(scans, ready, trial, number)
        return trial

    for trial in in_parallel(work, numbers, threads=parallel, about=case.name):
        case.take(trial)
        case.expect(trial.kills > 0, f"{trial.name} was not reached")
    case.facts["steps"] = list(ready.steps)
    case.facts["kinds of steps"] = _kinds(ready.steps)
    return case.finish()


def _prepare(scans: Scans, folder: Path, history: History, *, seed: int) -> Prepared:
    """Raises NothingToCompare when a scan that nothing happens to does not work."""
    photos, base = folder / "photos", folder / "base"
    make_photos(photos, PHOTOS, seed=seed)
    before = Snapshot.of(base)
    if history.change is not None:
        _scanned(scans, photos, base)
        before = Snapshot.of(base)
        history.change(sorted(photos.iterdir()), folder)
    _scanned(scans, photos, folder / "right")
    right = Snapshot.of(folder / "right")
    kept = base if base.exists() else None
    trial = _copied(kept, folder / "undisturbed")
    ended = _scanned(scans, photos, trial, die_at=0, **history.options)
    if Snapshot.of(trial).content != right.content:
        raise NothingToCompare(f"{trial} is wrong without any kill")
    lines = [line for line in ended.stderr.splitlines() if line.startswith(STEP)]
    return Prepared(
        history, photos, kept, before, right, tuple(line.partition(": ")[2] for line in lines)
    )


def _scanned(scans: Scans, photos: Path, out: Path, **options: Any) -> Ended:
    ended = scans.run(photos, out, **options)
    if ended.trouble:
        raise NothingToCompare(f"an undisturbed scan failed: {ended.trouble}")
    return ended


def _kill_at(scans: Scans, ready: Prepared, trial: Trial, number: int) -> None:
    """Kill at a step, look at the table, run the same command again, compare."""
    options = ready.history.options
    _copied(ready.base, trial.out)
    killed = scans.run(ready.photos, trial.out, die_at=number, **options)
    trial.kills += killed.returncode == SIGKILLED
    trial.note(killed, SIGKILLED)
    trial.look(ready.before, ready.right)
    trial.note(scans.run(ready.photos, trial.out, **options))
    trial.compare(ready.right)


def _copied(base: Path | None, out: Path) -> Path:
    if base is not None:
        shutil.copytree(base, out)
    return out


def _kinds(steps: Iterable[str]) -> dict[str, int]:
    """Number of steps of each kind, whatever the number of the part."""
    return dict(Counter(re.sub(r"part-\d+", "part-N", step) for step in steps))
