"""Directories and files with the names that people and cameras give them."""

from __future__ import annotations

import os
import shutil

import pyarrow.parquet as pq
import pytest

from tests.journeys.conftest import EMPTY
from tests.journeys.terminal import at_terminal, command_line, flaws, in_shell

NAMES = ("2026-11-28T10:20:30", "a b", "Brücke", "[x]", os.fsdecode(b"caf\xe9"))
SAID = (
    "wall:1.jpg", "a b.jpg", "Brücke → Süd.jpg", "[x] [red].jpg", "a:warning:.jpg",
    r"bell\x07\x1b]0;pwned\x07.jpg", r"caf\xe9.jpg",
)  # fmt: skip
"""How they are said; the long one is longer than any line."""


@pytest.fixture(scope="module")
def place(room):
    """Photos below a directory of each name: one that can be judged, and the odd ones."""
    for name in NAMES:
        (room / f"in {name}").mkdir()
        shutil.copy(room / "photos" / "P0.png", room / f"in {name}")
    for name in EMPTY:
        (room / f"in {NAMES[0]}" / name).touch()
    return room


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_directory_of_that_name_is_scanned_twice_and_proven(place, name, columns):
    def run(*words):
        seen = at_terminal(command_line(words), place, columns=columns)
        assert seen.code == 0, seen.text
        assert flaws(seen, columns) == []
        return seen

    seen = run("scan", f"in {name}", "--model", "tiny", "-o", f"out {name}", "-j", "0")
    rows = 1 + (len(EMPTY) if name == NAMES[0] else 0)
    if columns == 80:
        counts = f"photos     {rows} = 1 ok + {rows - 1} failed; in "
        assert any(line.startswith(counts) for line in seen.screen)
        return
    assert f"{rows} already done" in seen.text
    assert "proven" in run("verify", f"out {name}").text
    table = place / f"out {name}" / "table"
    in_parts = []
    for part in table.iterdir():
        with part.open("rb") as stream:
            in_parts.append(pq.ParquetFile(stream).metadata.num_rows)
    assert sum(in_parts) == rows


def test_names_are_said_as_they_are_without_driving_the_terminal(place):
    for name in EMPTY:
        (place / f"in {NAMES[0]}" / name).write_text("changed since")
    words = ("verify", f"out {NAMES[0]}", "--photos")
    for columns in (80, 400):
        seen = at_terminal(command_line(words), place, columns=columns)
        assert seen.code == 0, seen.text
        assert flaws(seen, columns) == []
    assert [name for name in SAID if name not in seen.text] == []


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1:strict"])
def test_an_encoding_that_cannot_say_a_name_spells_it_out(place, encoding):
    words = f"scan 'in {NAMES[0]}' --model tiny -o 'encoded {encoding[0]}' -j 0"
    seen = in_shell(f"inspector {words}", place, env={"PYTHONIOENCODING": encoding})
    assert seen.code == 0, seen.err
    assert r"\u2192" in seen.out and "Traceback" not in seen.err
