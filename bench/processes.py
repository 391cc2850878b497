"""How much memory a program and all processes it starts use together, sampled while it runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def run_watched(command: Sequence[str], *, every_s: float = 0.2) -> Watched:
    """Run a program in a session of its own and sample the memory of all processes in it."""
    started_at, started = time.time(), time.perf_counter()
    peak_kib, most, samples = 0, 0, 0
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
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
    )


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
