"""A file's bytes, all of them and of one state of the file, or why not."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from inspector.photos.opened import DecodeLimits
from inspector.photos.reading import Contents, read
from inspector.photos.source import Discovery
from inspector.types import Failure, FailureCode, ImageRef

LIMITS = DecodeLimits(max_bytes=64 << 20)
SHORT = Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""Says that it has a page of bytes and gives some dozens."""
UNSIZED = Path("/proc/self/status")
"""Says that it has no bytes and gives hundreds."""


def ref_to(path: Path) -> ImageRef:
    return ImageRef(3, str(path), "uri", None, None)


def contents(path: Path, limits: DecodeLimits = LIMITS) -> Contents:
    outcome = read(ref_to(path), limits)
    assert isinstance(outcome, Contents), outcome
    return outcome


def failure(path: Path, limits: DecodeLimits = LIMITS) -> Failure:
    outcome = read(ref_to(path), limits)
    assert isinstance(outcome, Failure)
    return outcome


def test_the_facts_are_those_of_what_was_read(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"as listed")
    (listed,) = Discovery([str(tmp_path)])
    unchanged = read(listed, LIMITS)
    assert isinstance(unchanged, Contents)
    assert unchanged.ref is listed
    path.write_bytes(b"written since the listing")
    os.utime(path, ns=(5_000, 1_234_567_891_234_567_891))
    outcome = read(listed, LIMITS)
    assert isinstance(outcome, Contents)
    assert outcome.data == b"written since the listing"
    assert (outcome.ref.size, outcome.ref.mtime_us) == (25, 1_234_567_891_234_567)
    assert (outcome.ref.index, outcome.ref.path, outcome.ref.uri) == (0, listed.path, listed.uri)
    (relisted,) = Discovery([str(tmp_path)])
    assert relisted == outcome.ref


def test_a_failure_has_the_facts_of_the_file_too(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"")
    outcome = failure(path)
    assert outcome.code is FailureCode.EMPTY
    assert outcome.ref.size == 0
    assert outcome.ref.mtime_us == path.stat().st_mtime_ns // 1000


@pytest.mark.parametrize(("size", "most", "fits"), [(10, 10, True), (11, 10, False), (1, 1, True)])
def test_the_limit_is_exact(tmp_path, size, most, fits):
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(size))
    outcome = read(ref_to(path), DecodeLimits(max_bytes=most))
    assert isinstance(outcome, Contents) == fits
    if isinstance(outcome, Failure):
        assert outcome.code is FailureCode.TOO_LARGE
        assert "10 bytes" in outcome.detail


def test_a_sparse_giant_is_not_read(tmp_path):
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert failure(path).code is FailureCode.TOO_LARGE


@pytest.mark.skipif(not UNSIZED.exists(), reason="needs a file that hides its size")
def test_a_file_that_hides_its_size_is_read_to_its_end_but_not_beyond_the_limit():
    data = contents(UNSIZED).data
    assert b"Pid:" in data
    assert failure(UNSIZED, DecodeLimits(max_bytes=100)).code is FailureCode.TOO_LARGE


@pytest.mark.skipif(not SHORT.exists(), reason="needs a file that gives less than it says")
def test_fewer_bytes_than_the_file_has_are_a_failure_of_the_storage():
    outcome = failure(SHORT)
    assert outcome.code is FailureCode.IO_ERROR
    assert "of 4,096 bytes" in outcome.detail


@pytest.mark.timeout(60)
def test_a_file_that_is_written_to_again_and_again(tmp_path):
    """Whatever is returned is one state of the file; in time, both attempts are disturbed."""
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(24 << 20))
    done = threading.Event()

    def write():
        with path.open("r+b") as file:
            while not done.is_set():
                file.write(b"x")
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        deadline = time.monotonic() + 30
        codes = set()
        while FailureCode.CHANGED not in codes and time.monotonic() < deadline:
            outcome = read(ref_to(path), LIMITS)
            codes.add(outcome.code if isinstance(outcome, Failure) else None)
    finally:
        done.set()
        writer.join()
    assert FailureCode.CHANGED in codes
    assert contents(path).ref.mtime_us == path.stat().st_mtime_ns // 1000


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
@pytest.mark.timeout(20)
def test_a_pipe_is_left_alone(tmp_path):
    """Whoever waits to write into it goes on waiting: opening it for a moment would end that."""
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    events = []

    def write():
        with path.open("wb") as pipe:
            events.append("opened")
            pipe.write(b"for another reader")

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.1)
    assert failure(path).code is FailureCode.NOT_A_FILE
    time.sleep(0.1)
    assert events == []
    assert path.read_bytes() == b"for another reader"
    writer.join()


def test_names_that_no_file_can_have(tmp_path):
    assert failure(tmp_path / "nul\0.jpg").code is FailureCode.VANISHED
    too_long = failure(tmp_path / ("n" * 300 + ".jpg"))
    assert (too_long.code, too_long.detail) == (FailureCode.IO_ERROR, "File name too long")
