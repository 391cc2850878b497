"""Text from others cannot drive a terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from subprocess import DEVNULL, PIPE

from inspector.core.text import Whole, plain_table, print_lines, printable, quantity, quoted_word


def test_control_characters_are_spelled_out():
    text = "a\x1b[31m\r\n\x07\u202egpj\u009b0m\udcff\u00fc"
    assert printable(text) == r"a\x1b[31m\r\n\x07\u202egpj\x9b0m\udcff" + "\u00fc"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_long_lines_break_between_words_where_there_is_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    lines = [
        "damage     one two three", "    (a): bb cc dd ee ff gg", "plain words without a title",
        Whole("inspector scan /photos"),
    ]  # fmt: skip
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    print_lines(lines)
    assert terminal.getvalue().splitlines() == [
        "damage     one two", "           three", "    (a): bb cc dd", "    ee ff gg",
        "plain words without", "a title", "inspector scan /photos",
    ]  # fmt: skip
    monkeypatch.setattr("sys.stdout", pipe := io.StringIO())
    print_lines(lines)
    assert pipe.getvalue().splitlines() == lines


def test_a_table_that_is_too_wide_names_what_is_in_its_columns(monkeypatch):
    heads, rows = (
        ("source", "missed", "alarms"),
        [["east", "1.5%", "-"], ["a longer name", "", "2"]],
    )
    monkeypatch.setenv("COLUMNS", "80")
    assert plain_table(heads, rows) == [
        "source         missed  alarms",
        "east             1.5%       -",
        "a longer name               2",
    ]
    monkeypatch.setenv("COLUMNS", "25")
    assert plain_table(heads, rows)[-2:] == ["a longer name", "                       2"]
    monkeypatch.setenv("COLUMNS", "16")
    assert plain_table(heads, rows)[:2] == ["east: missed", "  1.5%, alarms"]


def test_one_is_one():
    assert [quantity(number, "photo") for number in (0, 1, 2_000)] == [
        "0 photos", "1 photo", "2,000 photos"
    ]  # fmt: skip
    assert quantity(1, "row is", "rows are") == "1 row is"
    assert quantity(2, "row is", "rows are") == "2 rows are"


def test_the_width_is_that_of_the_terminal_although_the_output_goes_elsewhere(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 61, 0, 0))
    code = "from inspector.core.text import columns; print(columns())"
    command = [sys.executable, "-c", code]
    with os.fdopen(ours), os.fdopen(theirs) as terminal:
        shown = subprocess.run(command, stdout=PIPE, stderr=terminal, stdin=DEVNULL, text=True)
    nowhere = subprocess.run(command, stdout=PIPE, stderr=DEVNULL, stdin=DEVNULL, text=True)
    assert (shown.stdout, nowhere.stdout) == ("61\n", "80\n")


def test_words_are_quoted_for_the_shell_that_is_there():
    assert quoted_word("C:\\my photos", windows=True) == '"C:\\my photos"'
    assert quoted_word("/my photos", windows=False) == "'/my photos'"
    assert quoted_word("/p", windows=False) == quoted_word("/p", windows=True) == "/p"
