"""Disks that are full or read-only: a clean stop, nothing lost, and it goes on afterwards."""

from __future__ import annotations

import resource
import signal
import subprocess
from contextlib import contextmanager

import pytest

from inspector.errors import OutputError
from tests.scanning import dying
from tests.scanning.dying import quick_scan, table_of

SMALL, LARGE = "size=300k", "size=8m"


@pytest.fixture
def disk(tmp_path):
    """A real file system of 300 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", SMALL, "tmpfs"]
    if subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder, option):
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(60):
        (folder / f"{k:02}.jpg").write_text(f"ok {k}")
    return folder


def stopped(photos, out, **options):
    """A scan that the disk ends; the number of rows that it says are committed."""
    with pytest.raises(OutputError, match="rows are committed") as caught:
        quick_scan(photos, out, **options)
    message = str(caught.value)
    assert str(out) in message and "\n" not in message
    assert not list(out.rglob("*.partial"))
    return int(message.partition(" rows are committed")[0].split()[-1].replace(",", ""))


def test_a_full_disk_stops_and_more_room_continues(disk, photos):
    out = disk / "out"
    safe = stopped(photos, out)
    assert 0 < safe < 60 and len(table_of(out)) == safe
    assert stopped(photos, out) >= safe, "still full"
    remount(disk, LARGE)
    quick_scan(photos, out)
    assert table_of(out) == {f"{k:02}.jpg": f"ok {k}" for k in range(60)}


def test_a_disk_too_full_to_rewrite_keeps_the_old_rows(disk, photos):
    out = disk / "out"
    remount(disk, LARGE)
    quick_scan(photos, out, rows_per_part=20)
    before = table_of(out)
    for k in range(0, 60, 7):
        (photos / f"{k:02}.jpg").write_text("ok but longer now")
    filler = disk / "filler"
    with pytest.raises(OSError), filler.open("wb") as stream:
        while True:
            stream.write(bytes(4096))
            stream.flush()
    assert stopped(photos, out, rows_per_part=20) == 60
    assert table_of(out) == before
    filler.unlink()
    quick_scan(photos, out, rows_per_part=20)
    assert table_of(out) == before | {f"{k:02}.jpg": "ok but longer now" for k in range(0, 60, 7)}


def test_a_disk_that_becomes_read_only(disk, photos):
    out = disk / "out"
    remount(disk, LARGE)
    quick_scan(photos, out)
    before = table_of(out)
    (photos / "00.jpg").write_text("changed since")
    remount(disk, "ro")
    with pytest.raises(OutputError, match="Read-only file system"):
        quick_scan(photos, out)
    assert table_of(out) == before
    remount(disk, "rw")
    quick_scan(photos, out)
    assert table_of(out) == before | {"00.jpg": "changed since"}


@contextmanager
def files_no_larger_than(size):
    """The kernel refuses to write beyond, as it does for a quota."""
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


def test_a_manifest_that_cannot_be_written_is_not_torn(photos, tmp_path, monkeypatch):
    """At the end it names every part, and no longer fits; its journal has them all the same."""
    out = tmp_path / "out"
    monkeypatch.setattr(dying, "IDENTITY", {"model": "a" * 30_000})
    with files_no_larger_than(32_000):
        safe = stopped(photos, out)
    assert len(table_of(out)) == safe == 60
    quick_scan(photos, out)
    assert len(table_of(out)) == 60
