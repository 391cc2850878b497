"""Ray Data as its users judge a folder: decoding in tasks, `map_batches` with an actor that holds
the bundle's ONNX file in ONNX Runtime with default threads, and one table at the end. Pixels are
those of the plain loop, so that the answers can be checked; its decoding knows no failures, so a
photo that cannot be read goes on as black and its answer is left out."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import ray
import ray.data

from bench.peers.common import BATCH, finish, peer_arguments
from bench.peers.plain_loop import load, open_session, run
from inspector.core.machine import usable_cores
from inspector.model.bundle import ModelBundle
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.source import Discovery

Columns = dict[str, Any]
"""Arrays of a batch, by column."""

ray_data: Any = ray.data
"""Only partly typed."""
_TRIES = 50


def decoded(batch: Columns, spec: PreprocessSpec) -> Iterator[Columns]:
    """A photo at a time, so that a block of 12 MP photos is not in memory at once."""
    for path in batch["path"]:
        pixels_HWC = load(Path(path), spec)
        black_HWC = np.zeros((spec.size, spec.size, 3), np.uint8)
        yield {
            "path": [path],
            "readable": [pixels_HWC is not None],
            "pixels": np.stack([black_HWC if pixels_HWC is None else pixels_HWC]),
        }


class Judge:
    """An actor: the session is opened once."""

    def __init__(self, bundle: str, device: str) -> None:
        self.bundle = ModelBundle.load(Path(bundle), verify=False)
        self.session = open_session(self.bundle, device)

    def __call__(self, batch: Columns) -> Columns:
        p_crack_N = run(self.session, self.bundle, batch["pixels"])
        return {"path": batch["path"], "p_crack": np.where(batch["readable"], p_crack_N, np.nan)}


def judged(source: Path, bundle: Path, device: str) -> list[Columns]:
    """`path` and `p_crack` (NaN where it could not be read) of every photo, in any order."""
    spec = ModelBundle.load(bundle, verify=False).preprocess
    photos = ray_data.from_items([{"path": ref.path} for ref in Discovery([str(source)])])
    rows = photos.map_batches(decoded, fn_kwargs={"spec": spec}, batch_size=BATCH).map_batches(
        Judge,
        fn_constructor_args=(str(bundle), device),
        batch_size=BATCH,
        compute=ray_data.ActorPoolStrategy(size=1),
        # Its threads are ONNX Runtime's own. As it takes other resources than the decoding tasks,
        # Ray does not put both into one process, where they would wait for each other.
        num_cpus=0,
        num_gpus=1 if device == "cuda" else None,
    )
    return list(rows.take_all())


@contextmanager
def own_cluster() -> Iterator[Any]:
    """Ray on this machine alone, telling its makers nothing; all its files go with it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray_data.DataContext.get_current().enable_progress_bars = False
    folder = mkdtemp(prefix="ray-")
    cluster: Any = ray
    cluster.init(
        num_cpus=usable_cores(),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=folder,
    )
    try:
        yield cluster
    finally:
        cluster.shutdown()
        for _ in range(_TRIES):  # its processes still write while they end
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.exists(folder):
                break
            time.sleep(0.1)


def main() -> None:
    """`python -m bench.peers.ray_loop SOURCE BUNDLE TABLE [--device cpu|cuda]`."""
    args = peer_arguments().parse_args()
    with own_cluster() as cluster:
        if args.device == "cuda" and not cluster.cluster_resources().get("GPU"):
            raise SystemExit("Ray finds no GPU; use --device cpu")  # it would wait for one
        started = time.perf_counter()
        rows = judged(args.source, args.bundle, args.device)
        paths = [row["path"] for row in rows]
        answers = [None if np.isnan(row["p_crack"]) else float(row["p_crack"]) for row in rows]
        finish(args.table, paths, answers, started=started, device=args.device)


if __name__ == "__main__":
    main()
