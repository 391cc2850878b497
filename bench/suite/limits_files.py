"""How fast one core decodes the images of a run, and how fast their disk is read."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

from bench.files import spread_evenly
from bench.suite.limits_ceiling import Ceiling, UnmeasurableError, fastest
from inspector.core.machine import usable_cores
from inspector.photos.decode import decode
from inspector.photos.source import Discovery
from inspector.types import Decoded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.suite.limits_ceiling import Turn
    from inspector.model.preprocess import PreprocessSpec

_MOST_DECODED = {"tiles": 64, "photos": 8}
_MOST_READ = 2**28
"""Bytes read from disk in one go."""
_READERS = 4
"""Files read at once, at least: a disk is faster with several requests waiting."""
_PIECE = 2**20


def decode_ceiling(name: str, files: Sequence[Path], spec: PreprocessSpec) -> Ceiling:
    """`name`: `tiles` or `photos`."""
    return Ceiling(
        name=f"jpeg_{name}",
        what=f"{name} decoded by one core",
        unit="images/s",
        how="this project's decoder in one thread, from files in memory to the model's pixels; the "
        "mean over each turn",
        prepare=partial(_prepare_decoding, spread_evenly(files, _MOST_DECODED[name]), spec),
    )


def disk_ceiling(files: Sequence[Path]) -> Ceiling:
    return Ceiling(
        name="disk_read",
        what="files read from disk",
        unit="MB/s",
        how=f"{_readers()} files at a time, which the system was asked to drop from memory before; "
        "what lies below a virtual machine's disk may still keep them; the fastest of each turn",
        prepare=partial(_prepare_reading, files),
    )


def _prepare_decoding(files: Sequence[Path], spec: PreprocessSpec) -> Turn:
    refs = list(Discovery([str(file) for file in files])) if files else []
    good = cycle([ref for ref in refs if isinstance(decode(ref, spec), Decoded)])
    if next(good, None) is None:
        raise UnmeasurableError("there is no such image that can be decoded")

    def turn(seconds: float) -> float:
        began, count = time.perf_counter(), 0
        while not count or time.perf_counter() - began < seconds:
            decode(next(good), spec)
            count += 1
        return count / (time.perf_counter() - began)

    return turn


def _prepare_reading(files: Sequence[Path]) -> Turn:
    if not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT"):
        raise UnmeasurableError("this system cannot be asked to drop files from memory")
    chosen, total = _up_to(files, _MOST_READ)
    if not total:
        raise UnmeasurableError("there are no files to read")
    for file in chosen:
        _drop(file)
    if _in_memory(chosen[0]):
        raise UnmeasurableError("the system keeps these files in memory when asked to drop them")
    pool = ThreadPoolExecutor(_readers())

    def read_all() -> None:
        list(pool.map(_read, chosen))

    def turn(seconds: float) -> float:
        """Dropping them is not counted."""
        end, best = time.perf_counter() + seconds, 0.0
        while not best or time.perf_counter() < end:
            list(pool.map(_drop, chosen))
            best = max(best, fastest([(total / 1e6, read_all)], 0))
        return best

    return turn


def _up_to(files: Sequence[Path], most: int) -> tuple[list[Path], int]:
    """The first files that hold at most `most` bytes together, or the first one; and the bytes."""
    chosen: list[Path] = []
    total = 0
    for file in files:
        size = file.stat().st_size
        if size and (not chosen or total + size <= most):
            chosen.append(file)
            total += size
    return chosen, total


def _readers() -> int:
    return max(_READERS, usable_cores())


def _drop(file: Path) -> None:
    """Only what is on disk already can be dropped."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _in_memory(file: Path) -> bool:
    """Whether its beginning can be read without asking the disk, as in a file system that lives in
    memory. Asking makes the system fetch it. Raises UnmeasurableError where it does not tell."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.preadv(handle, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UnmeasurableError("the file system does not tell what is in memory") from error
    finally:
        os.close(handle)
    return True


def _read(file: Path) -> None:
    piece = bytearray(_PIECE)
    with open(file, "rb", buffering=0) as opened:
        while opened.readinto(piece):
            pass
