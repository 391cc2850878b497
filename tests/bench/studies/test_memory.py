"""`python -m bench memory` on small trees, and how memory is counted."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.processes import memory_kib, run_watched
from bench.studies.commands import app
from bench.studies.memory import MemoryConfig, link_many, wrong_counts
from export.photos import spread_evenly
from inspector.errors import UsageError

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

CHILD_TAKES = """
import subprocess, sys, time
code = "x = bytearray(b'1') * (200 << 20); import time; time.sleep(1.5)"
subprocess.run([sys.executable, "-c", code])
"""
SHARED = """
import mmap, os, time
shared = mmap.mmap(-1, 200 << 20)
for i in range(0, len(shared), 4096):
    shared[i] = 1
for _ in range(3):
    if not os.fork():
        sum(shared[i] for i in range(0, len(shared), 4096))  # touch every page
        time.sleep(1.5)
        os._exit(0)
time.sleep(2)
"""


def test_two_trees_new_and_resumed(tmp_path):
    args = ["--sizes", "40,20", "--per-folder", "15", "--done-rows", "15000"]
    args += ["--out", str(tmp_path)]
    ended = CliRunner().invoke(app, ["memory", *args])
    assert ended.exit_code == 0, ended.output
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    cases = {case["name"]: case for case in results["cases"]}
    done = "15,000 done before"
    assert list(cases) == ["20 new", "20 resumed", "40 new", "40 resumed", done]
    for case in cases.values():
        assert case["status"] == "ok"
        assert case["ratio"] > 0 or sys.platform != "linux"
        assert (case["first_verdict_s"] is None) == (case["kind"] == "resumed")
    assert cases["20 new"]["ratio"] == cases["20 resumed"]["ratio"] == 1.0
    assert cases["40 new"]["ratio"] == pytest.approx(
        cases["40 new"]["peak_mib"] / cases["20 new"]["peak_mib"]
    )
    assert 0 < cases["40 new"]["first_verdict_s"] < cases["40 new"]["runs"][0]["wall_s"]
    assert "random weights at 32 px" in " ".join((tmp_path / "report.md").read_text().split())


def test_a_file_without_a_row_fails_the_bench():
    def counts(files, *, judged=5, done=0, rows=5, kind="new"):
        said = {"discovered": 5, "run": {"ok": judged}, "already_done": done}
        return wrong_counts(kind, files, said | {"table": {"rows": rows}})

    assert counts(7, rows=12, kind="done before") == ""
    assert counts(7, rows=11, kind="done before")
    assert counts(5) == ""
    assert counts(5, judged=0, done=5, kind="resumed") == ""
    assert "of 5 files, 4 were judged" in counts(5, judged=4)
    assert counts(5, rows=6)
    assert counts(5, kind="resumed")


@linux
def test_memory_of_processes_started_deeper_counts():
    ended = run_watched([sys.executable, "-c", CHILD_TAKES], every_s=0.05)
    assert ended.returncode == 0
    assert ended.peak_mib is not None and 200 < ended.peak_mib < 400
    assert ended.most_processes == 2


@linux
def test_shared_memory_counts_once():
    ended = run_watched([sys.executable, "-c", SHARED], every_s=0.05)
    assert ended.most_processes == 4
    assert ended.peak_mib is not None and 200 < ended.peak_mib < 400


@linux
def test_a_process_that_is_gone_has_no_memory():
    assert memory_kib(os.getpid()) > 10_000
    assert memory_kib(2**22 + 1) == 0


def seeds(folder: Path) -> list[Path]:
    for name in ("a.jpg", "b.png"):
        (folder / name).write_text(name)
    return sorted(folder.iterdir())


def test_a_tree_has_as_many_files_as_asked_for(tmp_path):
    link_many(seeds(tmp_path), tmp_path / "tree", 7, per_folder=3)
    files = sorted(f for f in (tmp_path / "tree").rglob("*") if f.is_file())
    assert [f.parent.name for f in files] == ["000000"] * 3 + ["000001"] * 3 + ["000002"]
    assert [f.read_text() for f in files] == ["a.jpg", "b.png"] * 3 + ["a.jpg"]
    assert (tmp_path / "a.jpg").stat().st_nlink == 5


def test_where_a_file_has_too_many_links_a_copy_takes_over(tmp_path, monkeypatch):
    real = os.link

    def link(source, place):
        if os.stat(source).st_nlink >= 3:
            raise OSError(31, "Too many links")
        real(source, place)

    monkeypatch.setattr(os, "link", link)
    link_many(seeds(tmp_path), tmp_path / "tree", 12, per_folder=100)
    files = sorted(f for f in (tmp_path / "tree").rglob("*") if f.is_file())
    assert [f.read_text() for f in files] == ["a.jpg", "b.png"] * 6
    # Of six files each: two links to the seed, three of a copy, one of the next.
    assert len({f.stat().st_ino for f in files}) == 6


def test_a_selection_is_spread_over_everything():
    assert spread_evenly(range(10), 3) == [0, 3, 6]
    assert spread_evenly(range(3), 10) == [0, 1, 2]
    assert spread_evenly("abcd", 4) == list("abcd")


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="--sizes"):
        MemoryConfig(sizes=(0, 5))
    with pytest.raises(UsageError, match="--sizes"):
        MemoryConfig(sizes=())
    assert CliRunner().invoke(app, ["memory", "--sizes", "1,x"]).exit_code == 2


def test_a_program_that_takes_too_long_is_ended_where_there_are_no_groups(monkeypatch):
    """As on Windows."""
    monkeypatch.delattr(os, "killpg")
    forever = [sys.executable, "-c", "import time; time.sleep(60)"]
    ended = run_watched(forever, every_s=0.05, limit_s=0.2)
    assert ended.timed_out and ended.wall_s < 30
