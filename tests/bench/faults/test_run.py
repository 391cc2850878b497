"""`python -m bench faults` in small, and that it sees what it is there to see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from bench.faults.case import FaultCase, in_parallel
from bench.faults.kills import kill_decoders, kill_scans, undisturbed
from bench.faults.photos import gather_photos
from bench.faults.program import STEP, name_of_step
from bench.faults.run import FaultsConfig
from bench.faults.scans import Scans, Setting, leaked_shared_memory, shared_memory
from bench.faults.steps import HISTORIES, kill_steps
from bench.faults.table import Difference, Snapshot, difference, difference_so_far
from bench.studies.commands import app
from inspector.errors import SourceError, UsageError

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "photos"
    gather_photos(folder, 16, source=None, seed=0)
    return folder


@pytest.fixture(scope="module")
def setting(tiny_bundle):
    return Setting(model=tiny_bundle.path, workers=1, rows_per_part=4)


def write_table(folder, rows, part=0):
    (folder / "table").mkdir(parents=True, exist_ok=True)
    table = pa.table({"uri": [uri for uri, _ in rows], "p_crack": [p for _, p in rows]})
    pq.write_table(table, folder / f"table/part-{part:06}.parquet")
    return folder


def test_every_kind_of_wrong_row_is_seen(tmp_path):
    right = Snapshot.of(write_table(tmp_path / "right", [("a", 0.25), ("b", None), ("c", 0.5)]))
    same = write_table(tmp_path / "same", [("c", 0.5), ("a", 0.25)])
    found = Snapshot.of(write_table(same, [("b", None)], part=1))
    assert not difference(found, right) and found.content == right.content
    wrong = Snapshot.of(write_table(tmp_path / "wrong", [("a", 0.25), ("a", 0.25), ("c", 0.5001)]))
    assert difference(wrong, right) == Difference(missing=1, doubled=1, changed=1)
    assert wrong.content != right.content
    foreign = Snapshot.of(write_table(tmp_path / "foreign", [("d", 0.25)]))
    assert difference(foreign, right) == Difference(missing=3, changed=1)
    assert difference_so_far(foreign, right) == Difference(changed=1)
    assert not difference_so_far(foreign, right, foreign)
    nothing = Snapshot.of(tmp_path / "nowhere")
    assert nothing.count == 0 and not difference_so_far(nothing, right)


@pytest.mark.parametrize(
    "broken",
    [{"difference": Difference(changed=1)}, {"left": 1}, {"troubles": ["exit code 1"]}],
)
def test_a_broken_promise_fails_its_case(broken):
    assert FaultCase("kept", runs=1).to_json()["status"] == "ok"
    case = FaultCase("broken", **broken).to_json()
    assert case["status"] == "failed" and case["reason"]


def test_an_error_in_one_of_many_comes_through():
    def work(number):
        return 1 // number

    with pytest.raises(ZeroDivisionError):
        list(in_parallel(work, [1, 0, 2], threads=2, about="numbers"))


def test_steps_have_names():
    def name(event, *args):
        return name_of_step(event, args, "/out")

    assert name("open", "/out/a", "w", os.O_WRONLY | os.O_CREAT) == "open for writing a"
    assert name("open", b"/out/_inspector", None, os.O_DIRECTORY) == "open to sync _inspector"
    assert name("os.rename", "/out/a", "/out/b", -1, -1) == "os.rename a -> b"
    assert name("open", "/out/a", "r", os.O_RDONLY) is None
    assert name("open", 3, "w", os.O_WRONLY) is None
    assert name("open", "/output/a", "w", os.O_WRONLY) is None
    assert name("os.remove", "/elsewhere", -1) is None
    assert name("import", "os") is None


def test_a_program_dies_at_the_step_asked_for(tmp_path):
    program = f"""
        from pathlib import Path
        from bench.faults.program import die_at_step
        die_at_step(2, {str(tmp_path)!r})
        out = Path({str(tmp_path)!r})
        (out / "a").write_text("a")
        (out / "a").rename(out / "b")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stderr.splitlines()[-1] == f"{STEP}2: os.rename a -> b"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


class Litterer(Scans):
    """In place of a scan, a program that forgets a process, a file and shared memory."""

    def _command(self, source, out, options, **faults):
        program = """
            import os, subprocess, sys, tempfile
            tempfile.mkstemp(prefix="litter")
            subprocess.Popen(["sleep", "60"])
            print("{}")
        """
        return [sys.executable, "-c", textwrap.dedent(program)]


def wait_until_gone(pid):
    """Or ended and waiting for its new parent, the system, to notice."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} lives on")


@linux
def test_what_outlives_a_scan_is_seen_and_ended(setting, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.faults.scans.GONE_WITHIN_S", 0.2)
    with Litterer(setting, tmp_path) as scans:
        ended = scans.run(tmp_path, tmp_path)
    assert len(ended.left) == 2 and ended.left[1].startswith("temporary file litter")
    pid = int(ended.left[0].removeprefix("process "))
    wait_until_gone(pid)


@linux
def test_shared_memory_is_leaked_when_nobody_holds_it(monkeypatch):
    monkeypatch.setattr("bench.faults.scans.GONE_WITHIN_S", 0.2)
    before = shared_memory()
    name = f"/dev/shm/test_faults_{os.getpid()}"
    try:
        with open(name, "wb"):
            assert not leaked_shared_memory(before)
        assert os.path.basename(name) in leaked_shared_memory(before)
    finally:
        os.unlink(name)


def test_photos_are_the_users_if_there_are_some(photos, tmp_path):
    origin = gather_photos(tmp_path / "some", 5, source=photos, seed=0)
    assert "5 files" in origin and len(list((tmp_path / "some").iterdir())) == 5
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no photos"):
        gather_photos(tmp_path / "none", 5, source=tmp_path / "empty", seed=0)


@linux
def test_killed_scans_and_decoders(setting, photos, tmp_path):
    with Scans(setting, tmp_path / "runs") as scans:
        right = undisturbed(scans, photos, tmp_path, parallel=2)
        case = kill_scans(scans, photos, tmp_path, right, 2, seed=0, parallel=2)
        assert not case.broken, case.to_json()
        assert case.runs >= 2 and case.rows == 2 * 16
        assert sum(case.facts["moments"].values()) >= case.runs
        # Two at a time, as the undisturbed ones were: alone, a scan ends before the first kill.
        case = kill_decoders(scans, photos, tmp_path, right, 4, seed=0, parallel=2)
        assert not case.broken, case.to_json()
        assert case.runs == case.facts["processes killed"] > 0


@linux
def test_killed_while_old_rows_are_superseded(setting, tmp_path):
    with Scans(setting, tmp_path / "runs") as scans:
        case = kill_steps(scans, tmp_path, HISTORIES[1], every=45, seed=0, parallel=2)
    assert not case.broken, case.to_json()
    assert case.runs and case.rows == 25 * case.runs
    kinds = case.facts["kinds of steps"]
    assert not any("os.remove table" in kind for kind in kinds), kinds
    assert any(kind.endswith("-> table/part-N.parquet") for kind in kinds)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UsageError, match="unknown part 'kill'"):
        FaultsConfig(parts=("kill",))
    with pytest.raises(UsageError, match="at least 1"):
        FaultsConfig(kills=0)
    ended = CliRunner().invoke(app, ["faults", "--parts", "kill", "--out", str(tmp_path)])
    assert ended.exit_code and isinstance(ended.exception, UsageError)
