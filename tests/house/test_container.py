"""A scan needs nothing but photos that it may read and a folder for its results: it runs as a user
without rights, on a read-only root without /tmp and without a home, with little shared memory and
no network. Skipped where this machine lets nobody make such a room."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from inspector.model.bundle import WEIGHTS
from tests.house.conftest import REPOSITORY
from tests.sandbox import NOBODY, Sandbox, is_possible

pytestmark = pytest.mark.skipif(not is_possible(), reason="needs root and namespaces of Linux")
SCAN = ("python", "-m", "inspector", "scan", "--view", "whole", "--model", "/model", "--json")
NAMES = ("crack_wide_diagonal.jpg", "clear_joint.jpg", "broken_empty.jpg")


@pytest.fixture(scope="module")
def room(tiny_bundle_dir, tmp_path_factory) -> Sandbox:
    folder = tmp_path_factory.mktemp("room")
    for name in ("root", "photos", "results"):
        (folder / name).mkdir()
    shutil.copytree(tiny_bundle_dir, folder / "model")
    (folder / "model" / WEIGHTS).chmod(0o644)
    os.chown(folder / "results", NOBODY, NOBODY)
    for name in NAMES:
        shutil.copy(REPOSITORY / "samples" / name, folder / "photos")
    own = {Path(place) for place in (sys.base_prefix, sys.prefix, REPOSITORY)}
    return Sandbox(
        root=folder / "root",
        shown={
            **{place: str(place) for place in own},
            folder / "model": "/model",
            folder / "photos": "/photos",
        },
        lent={folder / "results": "/results"},
        env={"PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
    )


def test_the_room_is_as_bare_as_it_says(room):
    looked = "touch /x /tmp/x /photos/x 2>&1; id -u; echo ${HOME-no}; cat /proc/net/dev"
    said = room.run("sh", "-c", looked).stdout
    assert said.count("cannot touch") == 3 and f"\n{NOBODY}\nno\n" in said
    assert "eth" not in said


def test_scan_continue_verify_and_report(room):
    first = room.run(*SCAN, "/photos", "--out", "/results/it")
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert (said["run"]["ok"], said["run"]["failures"]) == (2, {"empty": 1})
    again = json.loads(room.run(*SCAN, "/photos", "--out", "/results/it").stdout)
    assert again["already_done"] == 3
    proven = room.run("python", "-m", "inspector", "verify", "/results/it")
    assert (proven.returncode, "3 rows" in proven.stdout) == (0, True), proven.stderr
    reported = room.run("python", "-m", "inspector", "report", "/results/it")
    assert reported.returncode == 0, reported.stderr


def test_a_list_from_the_standard_input(room):
    piped = "".join(f"/photos/{name}\n" for name in NAMES[:2])
    done = room.run(*SCAN, "-", "--out", "/results/listed", stdin=piped)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"]["ok"] == 2


def test_without_out_it_says_where_it_cannot_write(room):
    done = room.run(*SCAN, "/photos")
    assert (done.returncode, "choose another --out" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


def test_a_model_that_it_may_not_read_is_said_to_be_that(room):
    weights = next(place for place in room.shown if place.name == "model") / WEIGHTS
    weights.chmod(0o600)
    done = room.run(*SCAN, "/photos", "--out", "/results/never")
    assert (done.returncode, "chmod -R a+rX /model" in done.stderr) == (1, True), done.stderr
