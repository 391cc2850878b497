"""Lines of `--jsonl`: whole ones, or one line that says why there are none."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager, nullcontext

import pytest

from inspector.cli.lines import lines_to
from inspector.core import text
from inspector.errors import OutputError


def row(number):
    return {"uri": f"file:///{number:03}.jpg", "status": "ok"}


@contextmanager
def lines(place):
    with lines_to(str(place)) as write:
        assert write is not None
        yield write


def uris(path):
    return [json.loads(line)["uri"] for line in path.read_text().splitlines()]


def test_lines_are_added_to_a_file_and_to_what_a_link_names(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "lines")
    for number, name in enumerate(("lines", "link")):
        with lines(tmp_path / name) as write:
            write([row(number)])
    assert uris(tmp_path / "lines") == ["file:///000.jpg", "file:///001.jpg"]
    with lines_to(None) as write:
        assert write is None


def test_a_full_disk_tears_no_line(tmp_path):
    file = tmp_path / "lines"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with lines(file) as write:
        write([row(0)])
        whole = file.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, before[1]))
        try:
            with pytest.raises(OutputError, match=f"cannot write {file}: .*; what is done is kept"):
                write([row(1), row(2)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert file.read_bytes() == whole
        write([row(1)])
    assert uris(file) == ["file:///000.jpg", "file:///001.jpg"]


@pytest.mark.parametrize("place", ["/dev/full", "missing/lines", "."])
def test_what_cannot_be_written_to_is_one_line(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=f"cannot write {place}: [A-Z]"), lines(place) as write:
        write([row(0)])


@pytest.mark.parametrize("torn", ["{", '{"uri": "file:///0', '{"uri": "file:///001.jpg", "regi'])
def test_a_torn_line_is_removed_before_the_next_one(torn, tmp_path):
    file = tmp_path / "lines"
    file.write_text('{"uri": "file:///000.jpg"}\n' + torn)
    with lines(file) as write:
        write([row(1)])
    assert uris(file) == ["file:///000.jpg", "file:///001.jpg"]


def test_a_line_that_only_lacks_its_end_stays(tmp_path):
    file = tmp_path / "lines"
    file.write_text('{"uri": "file:///000.jpg"}')
    with lines(file) as write:
        write([row(1)])
    assert uris(file) == ["file:///000.jpg", "file:///001.jpg"]


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 a photo", b"notes\nwithout an end", b'{"a'])
def test_a_file_of_other_things_is_left_alone(content, tmp_path):
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    with pytest.raises(OutputError, match="something else than lines of JSON"), lines(file):
        pass
    assert file.read_bytes() == content


def test_who_stops_reading_a_pipe_stops_nothing(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with lines(tmp_path / "pipe") as write:
        write([row(0)])
        assert json.loads(os.read(reader, 10_000))["uri"] == "file:///000.jpg"
        os.close(reader)
        write([row(1)])
        write([row(2)])


_PRINTING = """
import sys
from inspector.cli.lines import lines_to
from inspector.core.text import patient_streams
from inspector.errors import OutputError
with patient_streams(), lines_to("-") as write:
    try:
        write([{"uri": "a"}])
    except OutputError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
"""


def test_a_full_standard_output_ends_it_and_is_said_once():
    """A table whose rows had no lines would be complete, and nobody could tell what is missing."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", _PRINTING], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("cannot write to standard output: No space left on device; what is done")


@pytest.mark.parametrize(("number", "stops"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_closed_pipe_has_another_number_on_windows(tmp_path, monkeypatch, number, stops):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(text, "_CLOSED_PIPE", {errno.EPIPE, errno.EINVAL})
    monkeypatch.setattr("inspector.cli.lines.add_to", refuse)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OutputError) if stops else nullcontext(), lines(tmp_path / "pipe") as write:
        write([row(0)])
    os.close(reader)
