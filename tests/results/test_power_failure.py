"""The order of syncs follows docs/explanation/durability.md; a kill cannot show that."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest

from inspector.results.labels import open_labels
from tests.results.test_results import rows, write
from tests.scanning.dying import quick_scan
from tests.scanning.test_odd_directories import label

if not Path("/proc/self/fd").exists():
    pytest.skip("only Linux tells which file is synced", allow_module_level=True)

_heard: list[list[Step]] = []
"""The lists that steps are written to now."""


@dataclass(frozen=True)
class Step:
    """`what` is write, sync, name (a rename), make (a directory), remove or done (the caller was
    told that all is safe); `was` says that the name had stood for a file before."""

    what: str
    path: Path
    draft: Path | None = None
    was: bool = False


def _hook(event, args):
    if not _heard:
        return
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR):
        path = _path(args[0])
        found = Step("write", path, was=path.exists())
    elif event == "os.rename":
        target = _path(args[1])
        found = Step("name", target, _path(args[0]), target.exists())
    elif event == "os.mkdir" and not os.path.lexists(args[0]):
        found = Step("make", _path(args[0]))
    elif event == "os.remove":
        found = Step("remove", _path(args[0]))
    else:
        return
    for steps in _heard:
        if steps[-1:] != [found]:  # a file with an opener is heard of twice
            steps.append(found)


def _path(name):
    return Path(os.fsdecode(name)).absolute() if not isinstance(name, int) else Path("/descriptor")


sys.addaudithook(_hook)


@contextmanager
def recorded(folder):
    """The steps below `folder` from now on."""
    steps: list[Step] = []
    real = os.fsync

    def fsync(descriptor):
        real(descriptor)
        steps.append(Step("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))

    _heard.append(steps)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            yield steps
    finally:
        _heard.remove(steps)
    steps[:] = [step for step in steps if folder in (step.path, *step.path.parents)]


def broken_promises(steps):
    """Where a power failure could leave something else than docs/explanation/durability.md says."""
    unsynced: set[Path] = set()
    """Files with bytes that may not be on disk."""
    unsafe: set[Path] = set()
    """Directories with names that may not be on disk."""
    found = []
    for step in steps:
        folder = step.path.parent
        if step.path.name.endswith("lock"):
            continue
        if step.what == "sync":
            unsynced.discard(step.path)
            unsafe.discard(step.path)
        elif step.what == "write":
            unsynced.add(step.path)
            if step.path.suffix == ".journal" and unsafe:
                found.append("the journal told of a step before that was safe")
            if step.path.suffix in (".jsonl", ".journal") and not step.was:
                unsafe.add(folder)
        elif step.what == "make":
            unsafe.add(folder)
        elif step.what == "name":
            if step.draft in unsynced:
                found.append(f"{step.path.name} got its name before its content was on disk")
            if any(path.suffix == ".journal" for path in unsynced):
                found.append(f"{step.path.name} got its name before the journal was on disk")
            # Parts are replaced together, and so are the lists of their photos; whatever else gets
            # a name waits for all before it.
            alike = step.was and step.path.suffix in (".parquet", ".photos")
            together = {folder} if alike else set()
            if unsafe - together:
                found.append(f"{step.path.name} got its name before what came before was safe")
            unsafe.add(folder)
        elif step.what == "remove":
            unsynced.discard(step.path)
            if step.path.suffix == ".parquet":
                unsafe.add(folder)
        elif step.what == "done" and unsynced | unsafe:
            found.append(f"called safe before it was: {sorted(map(str, unsynced | unsafe))}")
    return found


def scan_first(root):
    photos = root / "photos"
    photos.mkdir(parents=True)
    (photos / "a.jpg").write_text("ok")
    return lambda: quick_scan(photos, root / "deep" / "out")


def scan_again(root):
    """Rows of three parts move, one part is left empty, one row is pruned."""
    photos = root / "photos"
    photos.mkdir()
    for name in "abcdef":
        (photos / f"{name}.jpg").write_text("ok first")
    quick_scan(photos, root / "out")
    for name in "bcdg":
        (photos / f"{name}.jpg").write_text("ok second one")
    (photos / "f.jpg").unlink()
    return lambda: quick_scan(photos, root / "out", prune=True)


def overwrite(root):
    write(root / "out", 1, 2, rows_per_part=1)
    return lambda: write(root / "out", 3, identity={"model": "b"}, overwrite=True)


def say(root):
    write(root / "out", 1)

    def act():
        with open_labels(root / "out", "ann") as store:
            label(store, rows(1)[0])

    return act


@pytest.mark.parametrize("prepare", [scan_first, scan_again, overwrite, say])
def test_every_step_waits_for_the_disk_and_no_sync_is_one_too_many(tmp_path, prepare):
    act = prepare(tmp_path)
    with recorded(tmp_path) as steps:
        act()
    steps.append(Step("done", tmp_path))
    assert broken_promises(steps) == []
    for k in [k for k, step in enumerate(steps) if step.what == "sync"]:
        until = takewhile(lambda step: step.what not in ("name", "done"), steps[k + 1 :])
        if steps[k] not in until:  # a directory may be synced for one name and for the next
            assert broken_promises(steps[:k] + steps[k + 1 :]), f"needless: {steps[k]}"
