"""How much memory a program and all processes it starts use together, sampled while it runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROC = Path("/proc")
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.M)
_RSS = re.compile(r"^VmRSS:\s+(\d+) kB", re.M)


@dataclass(frozen=True, slots=True)
class Watched:
    """A program that has ended, and the highest sum of its processes' memory."""

    returncode: int
    stdout: str
    stderr: str
    started_at: float
    """time.time."""
    wall_s: float
    peak_mib: float | None
    """None where the system has no /proc."""
    most_processes: int
    samples: int
    cpu_s: float | None
    """Processor time of all its processes; None where the system does not tell."""
    timed_out: bool = False
    """It was ended because its time was over."""


def run_watched(
    command: Sequence[str],
    *,
    every_s: float = 0.2,
    limit_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Watched:
    """Run a program in a session of its own and sample the memory of all processes in it.

    `limit_s`: it and all it started are killed after that. `environment`: added to this process's.
    """
    started_at, started = time.time(), time.perf_counter()
    peak_kib, most, samples, timed_out = 0, 0, 0, False
    cpu_before = cpu_seconds(own=False)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        while True:
            try:
                stdout, stderr = process.communicate(timeout=every_s)
                break
            except subprocess.TimeoutExpired:
                sizes = [memory_kib(pid) for pid in session(process.pid)]
                peak_kib, most = max(peak_kib, sum(sizes)), max(most, len(sizes))
                samples += 1
                if limit_s is not None and time.perf_counter() - started > limit_s:
                    timed_out = True
                    os.killpg(process.pid, signal.SIGKILL)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Watched(
        process.returncode,
        stdout,
        stderr,
        started_at,
        time.perf_counter() - started,
        peak_kib / 2**10 if samples and peak_kib else None,
        most,
        samples,
        None if cpu_before is None else (cpu_seconds(own=False) or 0.0) - cpu_before,
        timed_out,
    )


def cpu_seconds(*, own: bool) -> float | None:
    """Processor time of ended children and theirs and, if `own`, of this process; None where the
    system does not tell.

    Not their `ru_maxrss`: on Linux a process starts with the peak of the one that forked it.
    """
    if sys.platform == "win32":
        return None
    import resource

    whose = [resource.RUSAGE_CHILDREN, *([resource.RUSAGE_SELF] if own else [])]
    used = [resource.getrusage(who) for who in whose]
    return sum(of.ru_utime + of.ru_stime for of in used)


def session(leader: int) -> Iterator[int]:
    """Processes of the session that `leader` began, however deep they were started."""
    for folder in PROC.glob("[0-9]*"):
        try:
            # The name before the last ")" may hold anything; the session is the 4th field after it.
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            if int(fields.rpartition(")")[2].split()[3]) == leader:
                yield int(folder.name)
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue


def memory_kib(pid: int) -> int:
    """A process's share of the memory it is in: what several share counts once in their sum
    (Pss); its resident size where the system does not tell that; 0 when it has ended."""
    for name, pattern in (("smaps_rollup", _PSS), ("status", _RSS)):
        try:
            found = pattern.search((PROC / str(pid) / name).read_text(encoding="utf-8"))
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0
