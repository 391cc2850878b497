"""Real scans in processes of their own that can be killed, and what they leave behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.processes import PROC, kill_group, session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.types import JsonObject

LIMIT_S = 600.0
"""No scan here takes near as long; one that does is taken to hang."""
SIGKILLED = -signal.SIGKILL
"""Exit code of what was killed."""
GONE_WITHIN_S = 10.0
"""Time for the processes of a killed scan to notice and end."""
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The scan that is killed, always the same."""

    model: Path
    precision: str = "fp32"
    workers: int | None = None
    batch_size: int = 4
    rows_per_part: int = 8
    engine: str = "local"
    address: str | None = None
    """Of the cluster, with `engine` ray."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A scan's process that has ended, and what it left."""

    returncode: int
    summary: JsonObject | None
    """None when the scan did not come to its end."""
    stderr: str
    seconds: float
    left: tuple[str, ...]
    """Processes that live on, and temporary files."""

    @property
    def trouble(self) -> str:
        """One sentence when the scan did not end well, else nothing."""
        if self.returncode:
            last_line = (self.stderr.strip() or "no message").splitlines()[-1]
            return f"exit code {self.returncode}: {last_line}"
        return f"left behind: {', '.join(self.left)}" if self.left else ""


class Scans:
    """Starts scans with `setting`; each has a folder below `folder` for its output and temporary
    files. As a context manager it leaves no process behind."""

    def __init__(
        self, setting: Setting, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """`environment`: variables beyond those that are there."""
        self.setting = setting
        self._folder = folder
        self._environment = environment or {}
        self._numbers = itertools.count()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._closed = True
        for process in list(self._running):
            _kill_group(process)

    def run(
        self,
        source: Path | str,
        out: Path,
        *,
        kill_after: float | None = None,
        whole_group: bool = False,
        die_at: int | None = None,
        **options: Any,
    ) -> Ended:
        """Scan `source` into `out` to the end, or SIGKILL it after some seconds: the scan's own
        process or the `whole_group`. `die_at`: see `program.die_at_step`."""
        with self.started(source, out, die_at=die_at, **options) as scan:
            try:
                scan.process.wait(LIMIT_S if kill_after is None else kill_after)
            except subprocess.TimeoutExpired:
                if whole_group or kill_after is None:
                    _kill_group(scan.process)
                scan.process.kill()
            return scan.ended()

    @contextlib.contextmanager
    def started(
        self,
        source: Path | str,
        out: Path,
        *,
        die_at: int | None = None,
        hostile: bool = False,
        **options: Any,
    ) -> Iterator[Running]:
        """A scan that has just been started; at the end whatever is left of it is killed. With
        `hostile` the names of files decide what becomes of their decoders (`hostile.py`)."""
        if self._closed:  # a thread that has not heard yet of an error in another one
            raise RuntimeError("no scan is started any more")
        folder = self._folder / str(next(self._numbers))
        (folder / "tmp").mkdir(parents=True)
        environment = {
            **os.environ,
            **self._environment,
            "TMPDIR": str(folder / "tmp"),
            "XDG_CACHE_HOME": str(self._folder / "cache"),
        }
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                self._command(source, out, options, die_at=die_at, hostile=hostile),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
        self._running.add(process)
        try:
            yield Running(process, folder, time.perf_counter())
        finally:
            _kill_group(process)
            process.wait()
            self._running.discard(process)

    def _command(
        self, source: Path | str, out: Path, options: JsonObject, **faults: object
    ) -> list[str]:
        setting = self.setting
        wanted = {
            **faults,
            "rows_per_part": setting.rows_per_part,
            "options": {
                "sources": [str(source)],
                "out": str(out),
                "model": str(setting.model),
                "device": "cpu",
                "precision": setting.precision,
                "workers": setting.workers,
                "batch_size": setting.batch_size,
                "engine": setting.engine,
                "address": setting.address,
                **options,
            },
        }
        return [sys.executable, "-m", "bench.faults.program", json.dumps(wanted)]


@dataclass(slots=True)
class Running:
    """A scan that runs in a session of its own."""

    process: subprocess.Popen[bytes]
    folder: Path
    started_at: float
    killed: set[int] = field(default_factory=set)

    def children(self) -> list[int]:
        """Processes that the scan has started, except those that were killed."""
        return [pid for pid in _living(self.process.pid) if pid not in self.killed]

    def kill_child(self, pid: int) -> None:
        self.killed.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def ended(self) -> Ended:
        """Wait for the end, which is near, and look at what is left."""
        try:
            returncode = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            _kill_group(self.process)
            returncode = self.process.wait()
        seconds = time.perf_counter() - self.started_at
        left = [f"process {pid}" for pid in _outliving(self.process.pid)]
        names = {file.name for file in (self.folder / "tmp").iterdir()}
        left += [f"temporary file {name}" for name in sorted(names)]
        said = (self.folder / "stdout").read_text(encoding="utf-8").splitlines()
        stderr = (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")
        summary = json.loads(said[-1]) if said else None
        return Ended(returncode, summary, stderr, seconds, tuple(left))


def shared_memory() -> set[str]:
    """Names of shared memory on this machine; empty where the system does not tell."""
    return set(os.listdir(_SHARED_MEMORY)) if _SHARED_MEMORY.is_dir() else set()


def leaked_shared_memory(before: set[str]) -> list[str]:
    """What is new since `before` and stays in nobody's hands: other programs of this machine hold
    theirs, or are about to."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while True:
        leaked = shared_memory() - before
        if leaked:
            leaked -= _held_shared_memory()
        if not leaked or time.monotonic() > deadline:
            return sorted(leaked)
        time.sleep(0.2)


def _held_shared_memory() -> set[str]:
    held: set[str] = set()
    for process in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            held.update(_names_in((process / "maps").read_text(errors="replace").split()))
        with contextlib.suppress(OSError):
            held.update(_names_in(os.readlink(link) for link in (process / "fd").iterdir()))
    return held


def _names_in(paths: Iterator[str] | list[str]) -> Iterator[str]:
    prefix = f"{_SHARED_MEMORY}/"
    return (path.removeprefix(prefix) for path in paths if path.startswith(prefix))


def zombies_of(parent: int) -> list[int]:
    """Processes that `parent` has started and that have ended without its taking note."""
    return [pid for pid in session(parent) if pid != parent and _state(pid) == "Z"]


def _outliving(leader: int) -> list[int]:
    """Processes of a session that do not end soon after their leader has."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while (living := _living(leader)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return living


def _living(leader: int) -> list[int]:
    """Members of a session but its leader. A process that has ended and only waits for its new
    parent to ask how is not one: that parent is the system's."""
    return [pid for pid in session(leader) if pid != leader and _state(pid) not in ("Z", "X", "")]


def _state(pid: int) -> str:
    """The process's state as a letter, empty when it is gone."""
    return next(iter(_stat(pid)), "")


def parent_of(pid: int) -> int:
    """The process that has started it, 0 when it is gone."""
    return int((_stat(pid) or ("", "0"))[1])


def _stat(pid: int) -> list[str]:
    """What the system tells of a process behind its name; nothing when it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        kill_group(process)
