"""The command line as a user meets it: real processes, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pyarrow.dataset as ds
import pytest
from typer.testing import CliRunner

from inspector.cli import app, main
from inspector.version import __version__


def run(*arguments, cwd=None, home=None):
    environment = os.environ | ({"HOME": str(home)} if home else {})
    return subprocess.run(
        [sys.executable, "-m", "inspector", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=environment,
        timeout=240,
    )  # fmt: skip


def test_version():
    done = run("-V")
    assert (done.returncode, done.stdout) == (0, f"inspector {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["scan", "no-such-place"], 1, "no-such-place"),
        (["scan", ".", "--model", "nowhere"], 1, "not a model bundle"),
        (["scan", ".", "--max-failures", "many"], 2, "--max-failures"),
        (["scan", ".", "--threshold", "1.5"], 2, "threshold"),
        (["scan", ".", "-b", "0"], 2, "batch size"),
        (["scan", ".", "-j", "few"], 2, "few"),
        (["scan", ".", "--max-pixels", "big"], 2, "180MP"),
        (["scan", ".", "--device", "tpu"], 2, "tpu"),
        (["scan"], 2, "SOURCE"),
        (["verify", "nowhere"], 1, "nowhere"),
        (["verify", "."], 1, "no results of a scan"),
        (["verify"], 2, "Missing argument"),
        (["verify", ""], 2, "out must be a path"),
        (["rejudge", "", "--threshold", "0.5"], 2, "out must be a path"),
        (["review", ""], 2, "out must be a path"),
        (["rejudge", "s3://b/o", "--threshold", "0.5"], 2, "out must be on this machine"),
        (["report", "nowhere"], 1, "nowhere"),
        (["report", "."], 1, "no results of a scan"),
        (["report", ".", "--moved", "x"], 2, "OLD=NEW"),
        (["train", "no-such-place"], 1, "Positive"),
        (["evaluate", "no-such-place"], 1, "Positive"),
        (["export", "nowhere"], 1, "not a model bundle"),
    ],
)
def test_mistakes_are_one_line_with_a_code(
    tmp_path, arguments, code, words, monkeypatch, capsys
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["inspector", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == code, said.err
    assert words in said.err and "Traceback" not in said.err
    assert said.out == ""


_WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == module else super().find_spec(name, path, target)

module = sys.argv.pop(1)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from inspector.cli import main
main()
"""
"""The command line where the module named first is not installed."""


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (["train", "{data}", "--out", "new"], "torch", "train"),
        (["train", "{data}", "--out", "new"], "sklearn", "train"),
        (["evaluate", "{data}", "--model", "{model}", "--out", "new"], "sklearn", "evaluate"),
        (["export", "{model}", "--onnx", "--out", "new"], "torch", "train"),
    ],
)
def test_a_command_without_its_extra_says_what_to_install(
    arguments, module, extra, tiny_bundle_dir, tmp_path
):
    for name in ("Positive", "Negative"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / f"{name}.jpg").write_text(name)
    words = [word.format(data=tmp_path / "data", model=tiny_bundle_dir) for word in arguments]
    program = [sys.executable, "-c", _WITHOUT, module, *words]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    said = rf"inspector: {arguments[0]} needs \w+; install it with: "
    assert re.search(said + rf'pip install "crack-inspector\[{extra}\]"$', done.stderr.strip())
    assert "Traceback" not in done.stderr


_BUSY = """
import sys, threading
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession(sys.argv.pop(1))
pixels = {"images": np.zeros((64, 64, 64, 3), np.uint8)}
begun = threading.Event()

def judge():
    while True:
        begun.set()
        session.run(None, pixels)

threading.Thread(target=judge, daemon=True).start()
begun.wait()
from inspector.cli import main
main()
"""
"""The command line beside a thread that is in a C++ library when the program ends."""


@pytest.mark.parametrize(("word", "code"), [("--version", 0), ("no-such-command", 2)])
def test_a_thread_within_a_library_does_not_change_how_a_command_ends(word, code, tiny_bundle_dir):
    program = [sys.executable, "-c", _BUSY, str(tiny_bundle_dir / "model.onnx"), word]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert ("inspector 0" in done.stdout) == (code == 0)
    assert ("No such command" in done.stderr) == (code == 2)


_INTERRUPTED = """
import sys
from importlib.machinery import PathFinder

class Interrupted(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
        return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Interrupted
from inspector.__main__ import main
main()
"""
"""The program where somebody presses Ctrl-C while it is being loaded."""


def test_ctrl_c_during_the_start_is_silent():
    done = subprocess.run([sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_verbose_adds_the_traceback(tmp_path):
    done = run("scan", "no-such-place", "-v", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_scan_prints_json_alone_on_stdout(tiny_bundle_dir, pictures, tmp_path):
    out = tmp_path / "out"
    done = run("scan", pictures, "--model", tiny_bundle_dir, "--out", out, "--json", "-q")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["discovered"] == 4 == summary["run"]["ok"] + summary["run"]["failed"]
    assert ds.dataset(out).to_table().num_rows == 4
    again = run("scan", pictures, "--model", tiny_bundle_dir, "--out", out, "--json", "-q")
    assert json.loads(again.stdout)["already_done"] == 4


def test_scan_summary_names_what_failed(tiny_bundle_dir, pictures, tmp_path):
    done = run("scan", pictures, "--model", tiny_bundle_dir, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert "empty" in done.stdout and ".txt" in done.stdout
    own_words = [line for line in done.stdout.splitlines() if str(tmp_path) not in line]
    assert all(len(line) <= 80 for line in own_words if str(pictures) not in line)


def test_too_many_failures_exit_with_3(tiny_bundle_dir, pictures, tmp_path):
    done = run(
        "scan", pictures, "--model", tiny_bundle_dir, "--out", tmp_path / "out",
        "--max-failures", "0", "-q",
    )  # fmt: skip
    assert done.returncode == 3
    assert ds.dataset(tmp_path / "out").to_table().num_rows == 4


def test_verify_proves_a_scan_and_names_damage(tiny_bundle_dir, pictures, tmp_path):
    def invoke(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments)])

    out = tmp_path / "out"
    assert invoke("scan", pictures, "--model", tiny_bundle_dir, "-o", out, "-q").exit_code == 0
    done = invoke("verify", out, "--photos")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "(4 rows, part files: 1)" in done.stdout and "proven" in done.stdout
    (out / "stray\n\x1b[31m.parquet").touch()
    done = invoke("verify", out)
    assert done.exit_code == 1
    assert "damage     stray\\n\\x1b[31m.parquet: " in done.stdout and "proven" not in done.stdout
    found = json.loads(invoke("verify", out, "--json").stdout)
    assert [finding["code"] for finding in found["damage"]] == ["stray_file"]


HOSTILE = "a\x1b[31m\u202egpj\udcff[red]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan", "{}"], ["scan", "--a\x1b[31m"], ["scan", ".", "-b", "{}"],
        ["scan", ".", "--model", "{}"],
        ["verify", "{}"], ["verify", "{}", "-v"], ["report", "{}"], ["evaluate", "{}"],
        ["export", "{}"], ["doctor", "{}"], ["{}"],
    ],
)  # fmt: skip
def test_no_text_of_others_reaches_the_terminal_raw(arguments, tmp_path, monkeypatch, capsys):
    """Names as a file system may hold them, handed over as by a shell's `*`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["inspector", *(part.format(HOSTILE) for part in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = "".join(capsys.readouterr())
    assert ended.value.code in (1, 2) and "x1b[31m" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)


def test_dry_run_writes_nothing(tiny_bundle_dir, pictures, tmp_path):
    done = run(
        "scan", pictures, "--model", tiny_bundle_dir, "--out", tmp_path / "out", "--dry-run",
        "--json",
    )  # fmt: skip
    assert done.returncode == 0 and json.loads(done.stdout)["discovered"] == 4
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Three photos, an empty one, and a text file."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for k in range(3):
        pixels = rng.integers(0, 256, (80, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{k}.jpg")
    (root / "void.jpg").touch()
    (root / "notes.txt").write_text("hello")
    return root


def test_an_option_after_an_equals_sign_may_begin_at_home(tiny_bundle_dir, pictures, tmp_path):
    (tmp_path / "bundle").symlink_to(tiny_bundle_dir)
    for out in ("--out=~/long out", "-o~/short"):
        done = run("scan", pictures, "--model=~/bundle", out, "-q", cwd="/", home=tmp_path)
        assert done.returncode == 0, done.stderr
    done = run("report", tmp_path / "short", "--html=~/page.html", home=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"bundle", "long out", "short", "page.html"}
