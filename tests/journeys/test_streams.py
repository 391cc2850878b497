"""Output that nobody takes: what was done stays done, and the exit code says what came of it."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from inspector.results.verify import VerifyConfig, verify
from tests.journeys.terminal import (
    ROWS,
    at_terminal,
    command_line,
    environment,
    flaws,
    in_shell,
)


@pytest.fixture(scope="module")
def place(room):
    done = in_shell("inspector scan photos --model tiny -o out -j 0", room)
    assert done.code == 0, done.err
    return room


def is_proven(out):
    found = verify(VerifyConfig(out=out))
    return (found.rows, found.damage) == (11, ())


COMMANDS = ("scan photos --model tiny -o out -j 0", "verify out", "report out", "scan --help")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_is_gone_changes_nothing(place, command):
    seen = in_shell(f'inspector {command} | true; exit "${{PIPESTATUS[0]}}"', place)
    assert seen.code == 0, seen.err
    assert "Traceback" not in seen.err and "BrokenPipe" not in seen.err


def test_a_scan_goes_on_when_nobody_reads_its_progress(place):
    line = "scan photos --model tiny -o piped -j 0"
    seen = in_shell(f'inspector {line} 2>&1 | true; exit "${{PIPESTATUS[0]}}"', place)
    assert seen.code == 0, seen.err
    assert is_proven(place / "piped")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_behind_stdout_is_one_line_and_exit_code_1(place, command):
    seen = in_shell(f"inspector {command} > /dev/full", place)
    assert seen.code == 1
    assert "cannot write to standard output: No space left on device" in seen.err
    assert "Traceback" not in seen.err and "Exception ignored" not in seen.err


def test_results_are_kept_when_their_summary_cannot_be_written(place):
    seen = in_shell("inspector scan photos --model tiny -o full -q --json -j 0 > /dev/full", place)
    assert (seen.code, seen.err.count("\n")) == (1, 1)
    assert is_proven(place / "full")


def test_an_error_keeps_its_own_exit_code_on_a_full_disk(place):
    assert in_shell("inspector scan photos --threshold 2 > /dev/full 2>&1", place).code == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-", "2> /dev/full"])
def test_closed_streams_are_nobodys_and_no_file_takes_their_number(place, closed):
    out = f"closed{len(closed)}{closed[0]}"
    seen = in_shell(f"inspector scan photos --model tiny -o '{out}' -j 1 {closed}", place)
    assert seen.code == 0, seen.err
    assert is_proven(place / out)


def test_a_scan_outlives_its_terminal(place):
    """As one that was started with `nohup` and whose window is closed."""
    main, terminal = os.openpty()
    line = command_line(["scan", "photos", "--model", "tiny", "-o", "orphan", "-j", "0"])
    with subprocess.Popen(
        line, cwd=place, env=environment(), stdin=subprocess.DEVNULL, stdout=terminal,
        stderr=terminal, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        os.close(main)
        assert process.wait(200) == 1, "its summary went nowhere"
    assert is_proven(place / "orphan")


@pytest.fixture(scope="module")
def many(place):
    """So many photos that nobody is done with them before a person has pressed two keys."""
    (place / "many").mkdir()
    for k in range(1000):
        os.link(place / "photos" / "P0.png", place / "many" / f"{k:04}.png")
    return place


def test_ctrl_c_keeps_what_is_done_and_the_same_line_goes_on(many):
    words = command_line(["scan", "many", "--model", "tiny", "-o", "ended", "-b", "4"])
    seen = at_terminal(words, many, columns=60, typed=[(r"[1-9]\d* of 1,000", "\x03")])
    assert seen.code == 128 + signal.SIGINT, seen.text
    assert "stopped    by signal 2; what is done is kept, the same" in seen.screen
    assert flaws(seen, 60) == []
    assert any("left" in frame or "crack" in frame for frame in seen.frames)
    done = int(seen.text.split("ended (")[1].split(" ")[0].replace(",", ""))
    assert 0 < done < 1000
    again = at_terminal(words, many)
    assert again.code == 0 and flaws(again, 80) == []
    assert f"{done:,} already done" in again.prose and "1,000 rows" in again.prose
    assert len(again.screen) < ROWS
