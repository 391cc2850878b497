"""Kills on a Ray cluster of two nodes on this machine: of the scan, of its workers, of a node."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bench.faults.case import FaultCase, NothingToCompare, Trial
from bench.faults.kills import kill_scans, undisturbed
from bench.faults.scans import Scans, parent_of
from bench.processes import PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.faults.scans import Running, Setting

NODES_KILLED = 0.3
"""Share of the kills that take a whole node; another one joins then."""
STARTS = 3


class TwoNodes:
    """A cluster of this machine; the second node is the one that dies."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False}
        self.cluster = _patiently(
            lambda: Cluster(initialize_head=True, head_node_args=head), "a cluster"
        )
        self.address = str(self.cluster.address)
        self.add_second()

    def add_second(self) -> None:
        self._second = _patiently(lambda: self.cluster.add_node(num_cpus=1), "a node")

    def kill_second(self) -> None:
        self.cluster.remove_node(self._second, allow_graceful=False)

    def workers(self, kind: str = "Node") -> list[int]:
        """Processes that judge for a scan, by the name of their class."""
        nodes = (self.cluster.head_node, self._second)
        raylets = {node.all_processes["raylet"][0].process.pid for node in nodes}
        return [pid for pid in _named(f"ray::{kind}") if parent_of(pid) in raylets]

    def close(self) -> None:
        self.cluster.shutdown()


def _patiently(start: Callable[[], Any], what: str) -> Any:
    """Start something again that did not come up within Ray's 30 seconds, as on a busy machine.
    Raises NothingToCompare."""
    for _ in range(STARTS):
        with contextlib.suppress(Exception):  # Ray raises just that
            return start()
    raise NothingToCompare(f"{what} did not come up in {STARTS} times 30 seconds")


def kill_on_a_cluster(
    setting: Setting, photos: Path, folder: Path, kills: int, *, seed: int
) -> list[FaultCase]:
    """SIGKILL `kills` scans on a cluster, which are then run again, and, in as many others, workers
    and nodes; each table must be a local scan's, byte for byte."""
    if find_spec("ray") is None:
        return [FaultCase("cluster", skipped="Ray is not installed: pip install ray")]
    with Scans(setting, folder / "local runs") as scans:
        local = undisturbed(scans, photos, folder / "local", parallel=1)
    with contextlib.closing(TwoNodes()) as nodes:
        there = replace(setting, engine="ray", address=nodes.address)
        with Scans(there, folder / "runs") as scans:
            right = undisturbed(scans, photos, folder / "cluster", parallel=1)
            right = replace(right, table=local.table)
            killed = kill_scans(scans, photos, folder, right, kills, seed=seed, parallel=1)
            killed.name = "cluster: the scan"
            robbed = FaultCase("cluster: workers, nodes")
            for number in range(kills):
                trial = Trial(f"number {number}", folder / f"disturbed {number}")
                rng = random.Random(f"{seed} nodes {number}")
                with trial.kept_if_wrong():
                    with scans.started(photos, trial.out) as scan:
                        trial.kills = _disturb(scan, nodes, rng, right.seconds)
                        trial.note(scan.ended())
                    trial.compare(local.table)
                robbed.take(trial)
    robbed.expect(robbed.runs > 0, "nothing was there to be killed")
    return [killed, robbed.finish()]


def _disturb(scan: Running, nodes: TwoNodes, rng: random.Random, seconds: float) -> int:
    """Kill a worker or a node while the scan runs; how many were."""
    moment = time.monotonic() + rng.uniform(0.3, 0.9) * seconds
    while time.monotonic() < moment or not nodes.workers():
        if scan.process.poll() is not None:
            return 0
        time.sleep(0.02)
    if rng.random() < NODES_KILLED:
        nodes.kill_second()
        nodes.add_second()
    else:
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(rng.choice(nodes.workers()), signal.SIGKILL)
    return 1


def _named(name: str) -> Iterator[int]:
    for process in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_bytes().startswith(name.encode()):
                yield int(process.name)
