"""Scan, verify, report and review with an installation without extras.

usage: python smoke.py ROOM SAMPLES    ROOM is an empty directory, SAMPLES has photos to scan
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import inspector

INSPECTOR = Path(sys.executable).with_name("inspector")
PHOTOS = ("crack_wide_diagonal", "clear_plain_light", "clear_joint")
ABSENT = ("torch", "torchvision", "onnx", "sklearn", "scipy", "matplotlib")


def main(room: Path, samples: Path) -> None:
    """Run every command that needs no extra, and one that does."""
    assert "site-packages" in inspector.__file__, inspector.__file__
    assert not [name for name in ABSENT if find_spec(name)]
    (room / "photos").mkdir()
    for name in PHOTOS:
        shutil.copy(samples / f"{name}.jpg", room / "photos")

    def run(line: str, code: int = 0) -> str:
        done = subprocess.run([INSPECTOR, *line.split()], cwd=room, text=True, capture_output=True)
        print(f"$ inspector {line}", done.stdout, done.stderr, sep="\n")
        assert done.returncode == code, f"exit code {done.returncode}"
        return done.stdout + done.stderr

    run("--version")
    run("doctor")
    run("scan photos --out results")
    assert "3 rows" in run("verify results")
    run("report results")
    assert "<html" in (room / "results" / "_report.html").read_text(encoding="utf-8")
    review(room)
    for command, extra in (("train", "train"), ("evaluate", "evaluate"), ("export", "train")):
        line = "export . --onnx" if command == "export" else f"{command} photos --out new"
        assert f'pip install "crack-inspector[{extra}]"' in run(line, code=2)

    import pyarrow.dataset as ds

    rows = ds.dataset(room / "results").to_table(columns=["status"]).to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * len(PHOTOS)


def review(room: Path) -> None:
    """Open the review page once, then stop it as Ctrl-C does."""
    line = [INSPECTOR, "review", "results", "--no-browser", "--port", "0"]
    with subprocess.Popen(line, cwd=room, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            with urllib.request.urlopen(address, timeout=30) as answer:
                assert b"<html" in answer.read()
        finally:
            process.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
