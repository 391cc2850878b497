"""What is printed is plain, fits the screen and cannot be abused by a file name."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bench.faults.bad_files import make_catalogue
from inspector.cli import app
from inspector.core.text import print_lines
from inspector.scanning.config import ScanConfig
from inspector.scanning.console import ScanConsole, WatchConsole
from inspector.scanning.outcome import print_preview, summary_lines
from inspector.scanning.pipeline import scan
from inspector.scanning.worklist import preview
from tests.scanning.walls import wall


@pytest.fixture(scope="module")
def zoo_config(tmp_path_factory, tiny_bundle):
    root = tmp_path_factory.mktemp("zoo")
    make_catalogue(root / "files")
    return ScanConfig(sources=(str(root),), out=root.parent / "out", model=tiny_bundle.path)


def test_summary_of_a_zoo(zoo_config, capsys):
    with ScanConsole(zoo_config, quiet=True) as console:
        summary = scan(zoo_config, watch=console)
    assert capsys.readouterr() == ("", "")
    print_lines(summary_lines(summary))
    out, err = capsys.readouterr()
    assert err == ""
    assert all(c.isprintable() for c in out.replace("\n", ""))  # no escapes, no turned text
    assert f"{summary.discovered} = {summary.run.ok} ok + {summary.run.failed} failed" in out
    for code, count in summary.run.failures.items():
        assert f"{code} {count}: " in out
    assert "engine" not in out and "inspector report" in out and "--retry-failed" in out
    print_lines(summary_lines(summary, verbose=True))
    assert re.search(r"decided by \w+@\d+ \d", capsys.readouterr().out)
    assert ".txt 2" in out
    paths = str(zoo_config.sources[0])
    prose = [line for line in out.splitlines() if paths not in line and "read it" not in line]
    assert max(map(len, prose)) <= 80 or str(zoo_config.out) in max(prose, key=len)


def test_whatever_can_have_happened_is_said(zoo_config, capsys):
    done = scan(zoo_config)
    print_lines(summary_lines(
        replace(
            done, changed=7, left_out=7, lost=7, pruned=7, moved=7, vanished=8, gone_but_named=7,
            repeated=7, unreadable_dirs=["u"] * 9, linked_dirs=["l"], budget_exceeded=True,
            interrupted_by=2, complete=False, remedy="r",
        )
    ))  # fmt: skip
    out = capsys.readouterr().out
    assert "rows that are not there again: 7" in out
    assert "l, not followed" in out and "... and 1 more" in out
    assert "--max-failures" in out and "by signal 2" in out


def test_the_line_that_reads_a_table_works_for_a_name_with_a_colon(zoo_config, capsys, monkeypatch):
    monkeypatch.chdir(zoo_config.out.parent)
    summary = scan(zoo_config)
    Path("scan-12:30").symlink_to(summary.out)
    print_lines(summary_lines(replace(summary, out=Path("scan-12:30")), verbose=True))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "read it" in line)
    command = line.removeprefix("read it").strip().replace("python", shlex.quote(sys.executable), 1)
    done = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {row[0] for row in rows} <= {"'crack'", "'clear'", "'review'", "None"}
    assert all(str(zoo_config.sources[0]) in row[2] for row in rows)


def test_preview_says_what_is_left(zoo_config, capsys):
    print_preview(preview(zoo_config))
    out, _ = capsys.readouterr()
    assert re.search(r"photos +\d+, of them \d+ already done", out)


def test_lines_instead_of_a_bar_where_there_is_no_terminal(
    tmp_path: Path, tiny_bundle, capsys, monkeypatch
):
    monkeypatch.setattr("inspector.core.progress.SECONDS_PER_LINE", 0.0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(4):
        wall(k).save(photos / f"{k}.png")
    config = ScanConfig(
        sources=(str(photos),), out=tmp_path / "out", model=tiny_bundle.path, batch_size=2
    )
    with ScanConsole(config, verbose=True) as console:
        scan(config, watch=console)
    out, err = capsys.readouterr()
    assert out == ""
    assert "onnxruntime on cpu" in err
    assert re.search(r"^4 (of 4|photos), (.+ left, )?crack \d", err, re.MULTILINE)
    assert "\x1b" not in err


@pytest.mark.parametrize("to_stderr", [False, True])
def test_watch_console_says_cracks_beside_rows_that_go_to_stdout(zoo_config, capsys, to_stderr):
    with WatchConsole(zoo_config, to_stderr=to_stderr) as console:
        console.rows([{"verdict": "crack", "p_crack": 0.9, "path": "/photos/a.jpg"}])
    out, err = capsys.readouterr()
    assert ("crack      p 0.900" in err, "crack" in out) == (to_stderr, not to_stderr)


def test_watch_with_rows_on_stdout_says_everything_else_on_stderr(tmp_path, monkeypatch):
    def judge_one(config, *, every_s, status, rows):
        rows([{"verdict": "crack", "p_crack": 0.9, "path": "/photos/a.jpg"}])
        raise typer.Exit

    monkeypatch.setattr("inspector.scanning.watch", judge_one)
    words = ["watch", str(tmp_path), "--out", str(tmp_path / "out"), "--jsonl", "-"]
    ended = CliRunner().invoke(app, words)
    assert [json.loads(line)["verdict"] for line in ended.stdout.splitlines()] == ["crack"]
    assert "crack      p 0.900" in ended.stderr and ended.exit_code == 0
