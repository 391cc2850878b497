"""A scan on a cluster's nodes, whatever dies, makes the table that a local scan makes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bench.faults.clusters import TwoNodes
from inspector.errors import BackendError, UsageError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.photos.source import Discovery
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning import ScanConfig, cluster, scan
from inspector.scanning.highlights import find
from inspector.scanning.identity import identity_of
from inspector.scanning.node import Node, Ready, Task
from inspector.scanning.plan import choose_engine
from inspector.version import __version__
from tests.rows import rows_in
from tests.scanning.cluster_nodes import Blind, Fragile, Slow
from tests.scanning.walls import wall

PHOTOS = 48
PLAIN: dict[str, Any] = {"precision": "int8", "workers": 1, "batch_size": 2}
CLUSTER: dict[str, Any] = {"engine": "ray"} | PLAIN


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ä photos")
    for k in range(PHOTOS - 1):
        wall(k).save(folder / f"{k}.png")
    (folder / "broken.jpg").write_bytes(b"no photo")
    return folder


def table(out: Path) -> list[dict]:
    return sorted(rows_in(out), key=lambda row: row["uri"])


@pytest.fixture(scope="module")
def expected(photos, tmp_path_factory) -> list[dict]:
    out = tmp_path_factory.mktemp("local")
    scan(ScanConfig(sources=(str(photos),), out=out, **PLAIN))
    rows = table(out)
    assert len(rows) == PHOTOS and len({row["p_crack"] for row in rows}) > PHOTOS / 2
    return rows


@pytest.fixture(scope="module")
def two_nodes():
    """A cluster of two nodes on this machine, to which this process is connected."""
    ray = pytest.importorskip("ray", reason="ray is not installed: no cluster was used")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # Ray's 15 waits for other tests
        # Workers load the kinds of nodes that `tests` has.
        patch.setenv("PYTHONPATH", os.fspath(Path(__file__).parents[2]), prepend=os.pathsep)
        with closing(TwoNodes()) as nodes:
            ray.init(address=nodes.address, log_to_driver=False, logging_level=logging.ERROR)
            yield nodes
            ray.shutdown()


class Events:
    """A scan's watcher; does things when so many photos were looked at."""

    def __init__(self, **at) -> None:
        self.at = [(int(name[1:]), action) for name, action in at.items()]
        self.nodes: list[int] = []

    def start(self, *_):
        pass

    def update(self, tally):
        self.nodes.append(tally.nodes)
        while self.at and tally.looked_at >= self.at[0][0]:
            self.at.pop(0)[1]()


def test_whatever_dies_and_joins_the_table_is_that_of_a_local_scan(
    two_nodes, photos, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(cluster, "Node", Slow)
    config = ScanConfig(sources=(str(photos),), out=tmp_path, **CLUSTER)
    stop = Events(n6=lambda: os.kill(os.getpid(), signal.SIGINT))
    stopped = scan(config, watch=stop)
    assert stopped.interrupted_by == signal.SIGINT and 6 <= stopped.run.rows < PHOTOS
    assert len(table(tmp_path)) == stopped.run.rows

    events = Events(
        n2=lambda: os.kill(two_nodes.workers("Slow")[0], signal.SIGKILL),
        n4=two_nodes.kill_second,
        n6=two_nodes.add_second,
    )
    summary = scan(config, watch=events)
    assert not events.at and summary.complete
    assert table(tmp_path) == expected
    assert verify(VerifyConfig(out=tmp_path)).exit_code == 0


def test_a_killed_scan_continues(two_nodes, photos, expected, tmp_path):
    program = (
        "import os, sys\n"
        "from functools import partial\n"
        "from inspector.scanning import ScanConfig, pipeline, scan\n"
        "from tests.scanning.test_ray import CLUSTER, Events\n"
        "pipeline.ParquetSink = partial(pipeline.ParquetSink, rows_per_part=4)\n"
        "_, photos, out, address = sys.argv\n"
        "config = ScanConfig(sources=(photos,), out=out, address=address, **CLUSTER)\n"
        "scan(config, watch=Events(n12=lambda: os.kill(os.getpid(), 9)))\n"
    )
    command = [sys.executable, "-c", program, str(photos), str(tmp_path), two_nodes.address]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert 8 <= len(table(tmp_path)) < PHOTOS
    summary = scan(ScanConfig(sources=(str(photos),), out=tmp_path, **CLUSTER))
    assert summary.already_done >= 8
    assert table(tmp_path) == expected


def test_a_photo_that_ends_its_worker_is_found_among_others(two_nodes, tmp_path, monkeypatch):
    for name in ("a", "b", "poison", "z"):
        wall(ord(name[0])).save(tmp_path / f"{name}.png")
    monkeypatch.setattr(cluster, "Node", Fragile)
    config = ScanConfig(sources=(str(tmp_path),), out=tmp_path / "out", **CLUSTER)
    summary = scan(config)
    assert summary.run.failures == {"decoder_crash": 1} and summary.run.ok == 3
    assert "poison" in find(tmp_path / "out").failed["decoder_crash"][0]


def test_a_node_that_loses_its_mount_makes_no_rows(two_nodes, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "Node", Blind)
    with pytest.raises(BackendError, match=r"no node .*out of reach there \(vanished\)"):
        scan(ScanConfig(sources=(str(photos),), out=tmp_path, **CLUSTER))
    assert table(tmp_path) == []


@pytest.fixture
def task(photos):
    bundle = ModelBundle.load(DEFAULT_PATH)
    config = ScanConfig(sources=(str(photos),), **CLUSTER)
    choice = choose_engine(config, bundle, {}, gpus_elsewhere=False)
    first = tuple(Discovery(config.sources))
    identity = identity_of(config, bundle, choice.precision)
    return Task(config=config, choice=choice, identity=identity, first=first, probe=first[0])


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in DEFAULT_PATH.iterdir()}


def refused(task: Task, version: str = __version__) -> str:
    said = Node().start(version, 1, "cpu", lambda: task, files)
    assert isinstance(said, str)
    return said


def test_a_node_is_checked_before_it_is_fed(task, tmp_path):
    assert "has version 0.0 of" not in refused(task, "0.0") and "not 0.0" in refused(task, "0.0")
    from dataclasses import replace

    gone = replace(task.probe, path=str(tmp_path / "gone.jpg"))
    assert "gone.jpg cannot be read there" in refused(replace(task, probe=gone))


def test_a_node_judges_with_the_model_that_was_shipped(task, expected, tmp_path):
    from dataclasses import replace

    config = replace(task.config, model=tmp_path / "not there")
    node = Node()
    ready = node.start(__version__, 1, "cpu", lambda: replace(task, config=config), files)
    assert isinstance(ready, Ready) and ready.plan.workers == 1
    node.feed(list(task.first[:5]))
    rows: list[dict] = []
    while len(rows) < 5:
        rows += [
            row
            for judged in node.take().judged
            for row in judged.rows.drop(["judged_at"]).to_pylist()
        ]
    node.close()
    known = {row["uri"]: row for row in expected}
    assert rows == [known[row["uri"]] for row in rows]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "head:6379"}, "add --engine ray"),
        ({"engine": "ray", "heatmaps": "crack"}, "leave out --heatmaps"),
        ({"engine": "ray", "device": "cuda:1"}, "write cuda, not cuda:1"),
        ({"engine": "spark"}, "choose one of: local, ray"),
    ],
)
def test_options_that_cannot_be_right(options, said):
    with pytest.raises(UsageError, match=said):
        ScanConfig(sources=("photos",), **options)
