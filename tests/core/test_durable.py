"""Files are written whole or not at all, on real disks that are full or read-only."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inspector.core import durable
from inspector.core.durable import (
    check_writable,
    is_empty,
    locked,
    make_directory,
    patiently,
    publish,
    sync_directory,
    write_synced,
)
from inspector.errors import OutputError
from tests.sandbox import as_nobody

HOLD = """
import sys, time
from pathlib import Path
from inspector.core.durable import locked
with locked(Path(sys.argv[1])) as held:
    print(held, flush=True)
    time.sleep(60)
"""


def test_a_draft_that_cannot_be_completed_changes_nothing(tmp_path):
    target = tmp_path / "file"
    publish(b"old", target)
    with pytest.raises(OSError):
        publish(b"new", target, tmp_path / "missing" / "draft")
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("write", [write_synced, publish])
def test_a_link_in_place_of_a_draft_is_not_followed(tmp_path, monkeypatch, write):
    """Also where somebody puts it there after the place was cleared."""
    (tmp_path / "victim").write_bytes(b"old")
    unlink = Path.unlink

    def plant(path, missing_ok=False):
        unlink(path, missing_ok=missing_ok)
        if path.name == ".file.partial" and os.fspath(path) not in planted:
            planted.append(os.fspath(path))
            path.symlink_to("victim")

    planted: list[str] = []
    monkeypatch.setattr(Path, "unlink", plant)
    with pytest.raises(FileExistsError):
        write(b"new", tmp_path / (".file.partial" if write is write_synced else "file"))
    assert planted and (tmp_path / "victim").read_bytes() == b"old"
    assert not (tmp_path / "file").exists()


def test_a_killed_process_leaves_no_lock_behind(tmp_path):
    file = tmp_path / "out" / "_inspector" / "lock"
    make_directory(file.parent)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == "True\n"
        with pytest.raises(OutputError, match=f"writing to {tmp_path}/out"), locked(file):
            pass
        holder.send_signal(signal.SIGKILL)
    with locked(file) as held:
        assert held


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_told_from_one_that_fails(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    if number == errno.EIO:
        with pytest.raises(OSError), locked(tmp_path / "lock"):
            pass
        return
    with locked(tmp_path / "lock") as held:
        assert not held


def test_directories_that_cannot_be_synced_are_no_error(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    sync_directory(tmp_path)


def test_check_writable_refuses_what_lies_where_this_user_may_not_go(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    with as_nobody(), pytest.raises(OutputError, match="may not be written to"):
        check_writable(tmp_path / "locked" / "out")
    with as_nobody(), pytest.raises(PermissionError):
        make_directory(tmp_path / "locked" / "out")


def test_a_directory_that_may_not_be_looked_into_is_not_taken_for_empty(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "file").touch()
    assert is_empty(tmp_path / "locked"), "by root, who may"
    with as_nobody():
        assert not is_empty(tmp_path / "locked")
    assert not is_empty(tmp_path) and not is_empty(tmp_path / "file")
    assert not is_empty(tmp_path / "none")


def test_where_others_may_hold_a_file_it_is_moved_when_they_let_go(tmp_path, monkeypatch):
    """As on Windows, where a virus scanner reads each new file."""
    waited: list[float] = []
    replace = os.replace

    def held(source, target):
        if len(waited) < 3:
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        replace(source, target)

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(durable, "_PAUSES_S", (0.1, 0.2, 0.3))
    monkeypatch.setattr(time, "sleep", waited.append)
    with pytest.raises(PermissionError):
        publish(b"new", tmp_path / "file")
    assert waited == [] and os.listdir(tmp_path) == []
    monkeypatch.setattr(durable, "_WINDOWS", True)
    publish(b"new", tmp_path / "file")
    assert waited == [0.1, 0.2, 0.3] and (tmp_path / "file").read_bytes() == b"new"
    waited.clear()
    with pytest.raises(PermissionError):
        patiently(os.listdir, _Held())
    assert len(waited) == 3


class _Held:
    def __fspath__(self):
        raise PermissionError


def test_a_macs_disk_is_told_to_empty_its_memory(tmp_path, monkeypatch):
    told, refused = [], OSError(errno.ENOTSUP, "not supported")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda _, command: told.append(command))
    monkeypatch.setattr(os, "fsync", lambda _: told.append("fsync"))
    write_synced(b"x", tmp_path / "file")
    assert told == [51]
    monkeypatch.setattr(fcntl, "fcntl", lambda *_: (_ for _ in ()).throw(refused))
    write_synced(b"x", tmp_path / "file")
    assert told == [51, "fsync"]
