"""Programs that a benchmark runs, each in processes of its own, what they use meanwhile, and the
machine and software that figures were measured with."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from bench.results import Usage
from inspector.core import machine
from inspector.core.machine import CACHE_VARIABLE
from inspector.types import JsonObject
from inspector.version import __version__

_PACKAGES = """torch torchvision onnxruntime onnxruntime-gpu openvino pillow simplejpeg timm ray
               daft numpy pyarrow""".split()
_CPU_FLAGS = frozenset(
    "avx2 avx512f avx512_vnni avx512_bf16 avx_vnni amx_tile amx_bf16 amx_int8 asimddp i8mm".split()
)
"""Those that decide how fast a network runs: wider vectors, 8-bit and bfloat16 products."""
PROC = Path("/proc")
_PROBE_S = 0.03
_BLOCK = bytes(1 << 18)
"""Hashed without Python's lock, so that threads use all cores."""
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/:;,'\"()]+/)+")


def describe_system() -> JsonObject:
    """Processor, memory, GPUs and versions. Taken before a measurement, so that `load_average`
    (runnable processes over the last minute) tells how busy the machine was with other work."""
    memory = machine.memory_bytes()
    gpus = machine.nvidia_gpus() or []
    return {
        "cpu": machine.cpu_model(),
        "cpu_flags": cpu_flags(),
        "logical_cores": os.cpu_count(),
        "usable_cores": machine.usable_cores(),
        "container_cores": machine.cpu_quota(),
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "gpus": [f"{gpu.name}, driver {gpu.driver}, {gpu.memory}" for gpu in gpus],
        "driver": gpus[0].driver if gpus else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "crack-inspector": __version__,
        "packages": {n: found for n in _PACKAGES if (found := machine.installed_version(n))},
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cpu_flags() -> list[str]:
    """Instruction sets that the processor has; empty where the system does not tell."""
    try:
        lines = (PROC / "cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    flags = (line for line in lines if line.startswith(("flags", "Features")))
    return sorted(_CPU_FLAGS & set(next(flags, "").split()))


def without_folders(text: str) -> str:
    """An error's text for a report: absolute paths keep their last name only."""
    return _FOLDERS.sub("", text)


def share_of_others() -> float:
    """Share of the cores, 0 to 1, that this process does not get while it asks for all of them: a
    quota, a hypervisor or another program takes it."""
    threads = machine.usable_cores()
    with ThreadPoolExecutor(threads) as pool:
        return min(1.0, max(0.0, 1 - fmean(pool.map(_worked, range(threads)))))


def _worked(_: int) -> float:
    """Processor time per wall time of a thread that does nothing but work."""
    began, began_cpu = time.perf_counter(), time.thread_time()
    while time.perf_counter() - began < _PROBE_S:
        hashlib.sha256(_BLOCK)
    return (time.thread_time() - began_cpu) / (time.perf_counter() - began)


_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.M)
_RSS = re.compile(r"^VmRSS:\s+(\d+) kB", re.M)
_NVIDIA_SMI = (
    "nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader,nounits"
).split()
LIMIT_S = 600.0
"""A turn that takes longer is ended: nobody would choose it."""
REFUSED = 2
"""Exit code of a program that does not know an option, or cannot run on this machine."""


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
    """Run a program in a session of its own and sample the memory of all processes in it, every
    `every_s` seconds. After `limit_s` seconds (None: never) it and all it started are killed.
    `environment` is added to this process's."""
    started_at, started = time.time(), time.perf_counter()
    peak_kib, most, samples, timed_out = 0, 0, 0, False
    cpu_before = cpu_seconds() or 0.0
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
                    kill_group(process)
    except BaseException:
        kill_group(process)
        raise
    wall_s, cpu_s = time.perf_counter() - started, cpu_seconds()
    return Watched(
        process.returncode, stdout, stderr, started_at, wall_s, peak_kib / 2**10 or None, most,
        samples, None if cpu_s is None else cpu_s - cpu_before, timed_out,
    )  # fmt: skip


def kill_group(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Kill a program and all it started; on Windows, that program."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def cpu_seconds() -> float | None:
    """Processor time of ended children and theirs; None where the system does not tell.

    Not their `ru_maxrss`: on Linux a process starts with the peak of the one that forked it.
    """
    if sys.platform == "win32":
        return None
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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


@contextmanager
def watch_gpu(every_s: float = 0.5) -> Iterator[list[tuple[float, float]]]:
    """Ask nvidia-smi every `every_s` seconds, from a thread, until the block ends; once at its
    beginning, and no more after the first time that it cannot tell. Yields the samples, filled
    meanwhile: percent of the busiest GPU, and MiB, sum of all GPUs and all programs."""
    samples: list[tuple[float, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set() and (found := _ask()):
            samples.append((max(percent for percent, _ in found), sum(mib for _, mib in found)))
            over.wait(every_s)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def _ask() -> list[tuple[float, float]]:
    """Percent and MiB of each GPU; empty where nothing, or nothing readable, answers."""
    try:
        ended = subprocess.run(_NVIDIA_SMI, capture_output=True, text=True, timeout=5, check=True)
        rows = [line.split(",") for line in ended.stdout.splitlines() if line.strip()]
        return [(float(percent), float(mib)) for percent, mib in rows]
    except (OSError, subprocess.SubprocessError, ValueError):  # also "[N/A]", as with MIG
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A program that has ended: what it printed as JSON, what went wrong, and what it used."""

    said: JsonObject
    wall_s: float
    trouble: str = ""
    refused: bool = False
    """It cannot run here at all."""
    cpu_s: float | None = None
    peak_mib: float | None = None
    gpu_percent: float | None = None
    """Mean share of the time in which a GPU had work; None where there is none to ask."""
    gpu_mib: float | None = None
    """Most memory that was taken at once."""


def run_program(arguments: Sequence[str], work: Path, *, gpu: bool = False) -> Ended:
    """Run `python -m ARGUMENTS`, which prints JSON. What earlier runs have learnt about this
    machine is hidden from it, so that a result does not depend on them. With `gpu` the GPUs are
    watched meanwhile."""
    with watch_gpu() if gpu else nullcontext(()) as use:
        watched = run_watched(
            [sys.executable, "-m", *arguments],
            every_s=0.1,
            limit_s=LIMIT_S,
            environment={
                CACHE_VARIABLE: str(work / "cache"),
                # torch.compile's is in /tmp otherwise, where others could have put programs first.
                "TORCHINDUCTOR_CACHE_DIR": str(work / "compiled"),
            },
        )
    said: JsonObject = {}
    trouble = _trouble(watched)
    if not trouble:
        try:
            said = json.loads(watched.stdout)
        except ValueError:
            trouble = "it printed something other than its JSON"
    return Ended(
        said=said,
        wall_s=watched.wall_s,
        trouble=trouble,
        refused=watched.returncode == REFUSED,
        cpu_s=watched.cpu_s,
        peak_mib=watched.peak_mib,
        gpu_percent=fmean(percent for percent, _ in use) if use else None,
        gpu_mib=max((mib for _, mib in use), default=None),
    )


def _trouble(watched: Watched) -> str:
    """What went wrong; empty where nothing did."""
    if watched.timed_out:
        return f"it did not end within {LIMIT_S:.0f} seconds"
    if not watched.returncode:
        return ""
    reason = without_folders(_last_words(watched.stderr))
    return reason if watched.returncode == REFUSED else f"it ended with: {reason}"


def _last_words(stderr: str) -> str:
    """The last line that has any; typer draws a box around its own."""
    lines = [line.strip(" │|") for line in stderr.splitlines()]
    return next((line for line in reversed(lines) if any(map(str.isalnum, line))), "no message")


def usage_of(ended: Sequence[Ended]) -> Usage:
    """What the runs of one program used: processor time typically, memory and GPUs at most."""
    shares = [e.cpu_s / e.wall_s / machine.usable_cores() for e in ended if e.cpu_s is not None]
    return Usage(
        cpu_percent=100 * median(shares) if shares else None,
        peak_mib=max((e.peak_mib for e in ended if e.peak_mib), default=None),
        gpu_percent=max((e.gpu_percent for e in ended if e.gpu_percent), default=None),
        gpu_mib=max((e.gpu_mib for e in ended if e.gpu_mib), default=None),
    )
