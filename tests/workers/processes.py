"""What a test looks at to see that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def children_of(parent: int) -> set[int]:
    """Processes that `parent` has started, zombies included; nothing where there is no /proc."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            after_name = (folder / "stat").read_text(errors="replace").rpartition(")")[2]
            if int(after_name.split()[1]) == parent:
                found.add(int(folder.name))
    return found


def is_gone(process: int) -> bool:
    """Whether it has ended; one that lost its parent may be a zombie until init looks at it."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def leftovers() -> set[Path]:
    """What `multiprocessing` and torch leave where they may not clear up; not the folders in which
    a process still listens, which another test's may do for as long as that runs, nor what is
    empty: a worker that another test kills leaves that where it was about to share memory."""
    patterns = ("/tmp/pymp-*", "/dev/shm/torch_*", "/dev/shm/sem.mp-*")
    found = {path for pattern in patterns for path in Path("/").glob(pattern[1:]) if _holds(path)}
    sockets = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
    return {path for path in found if f"{path}/" not in sockets}


def _holds(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.stat().st_size > 0
    return False


def nothing_new_stays(before: set[Path]) -> None:
    """Of `leftovers`. What other tests use at the same time goes away when they have done so."""
    new = leftovers() - before
    wait_until(lambda: not new & leftovers(), seconds=120)


def wait_until(done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert done()
