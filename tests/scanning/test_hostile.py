"""A whole scan among photos that crash and hang their decoders, which really die."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from bench.faults.hostile import CRASHES, HANGS, hostile_decoders
from inspector.core.text import display_path
from inspector.photos.opened import DecodeLimits
from inspector.scanning import ScanConfig, scan
from tests.rows import rows_in
from tests.scanning.walls import wall
from tests.workers.processes import children_of, leftovers, nothing_new_stays, open_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are seen in /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Names are sorted, so culprits stand alone, side by side, first and last among the good."""
    root = tmp_path_factory.mktemp("hostile")
    for k, name in enumerate(["a0", "a1", "f0", "f1", "f2", "i0", "i1", "n0", "q0", "t0", "t1"]):
        wall(k).save(root / f"{name}.png")
    for culprit in ("abort", "exit", "hang", "oomkill", "segfault", "sleep"):
        shutil.copy(root / "a0.png", root / f"{culprit}-0.png")
    shutil.copy(root / "a0.png", root / "exit-1.png")
    return root


def test_culprits_get_rows_and_neighbours_keep_theirs(folder, tmp_path, tiny_bundle):
    def config(out, *sources):
        return ScanConfig(
            sources=tuple(map(str, sources)), out=tmp_path / out, model=tiny_bundle.path,
            batch_size=3, workers=2, limits=DecodeLimits(max_seconds=1),
        )  # fmt: skip

    before, files = children_of(os.getpid()), open_files()
    surroundings = leftovers()
    with hostile_decoders():
        summary = scan(config("all", folder))
    assert children_of(os.getpid()) <= before and open_files() <= files
    nothing_new_stays(surroundings)
    assert (summary.exit_code, summary.complete, summary.table.rows) == (0, True, 18)
    assert summary.run.failures == {"decoder_crash": 5, "timeout": 2}

    rows = {row["uri"]: row for row in rows_in(tmp_path / "all")}
    good = [path for path in sorted(folder.iterdir()) if "-" not in path.name]
    scan(config("good", *good))
    alone = rows_in(tmp_path / "good")
    assert len(alone) == len(good) == 11
    for row in alone:
        assert rows.pop(row["uri"]) == row
    for row in rows.values():
        deed = os.path.basename(row["path"]).partition("-")[0]
        assert row["path"].startswith(display_path(str(folder)))
        assert row["failure_code"] == ("timeout" if deed in HANGS else "decoder_crash")
        assert deed in (*CRASHES, *HANGS) and row["verdict"] is None
