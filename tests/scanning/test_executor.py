"""The local executor changes no order, loses no batch, and passes on what goes wrong."""

from __future__ import annotations

import threading
import time

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from inspector.engines import open_backend, photo
from inspector.engines.photo import PhotoEngine
from inspector.errors import BackendError
from inspector.scanning import ScanConfig, scan
from inspector.scanning.executor import IN_FLIGHT, EngineThread
from inspector.scanning.stopwatch import Stopwatch
from inspector.types import Batch, Scores


class Echo:
    """An engine that answers with the first grey level, and notes in which thread."""

    name, device = "echo", "cpu"
    providers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ("echo",)

    def __init__(self) -> None:
        self.threads: set[str] = set()

    def run(self, pixels_NHWC):
        self.threads.add(threading.current_thread().name)
        time.sleep(0.002)
        p_N = pixels_NHWC[:, 0, 0, 0].astype(np.float32) / 255
        return Scores(p_N, np.zeros((len(p_N), 1, 1), np.float32), np.zeros_like(p_N))

    def close(self):
        pass


def batches(count: int, asked: list[int]):
    for k in range(count):
        asked.append(k)
        yield Batch((), np.full((k % 3, 1, 1, 3), k, np.uint8), 0.0)


def test_predictions_come_in_order_with_their_own_scores():
    asked: list[int] = []
    engine = Echo()
    run = EngineThread(PhotoEngine(engine)).predictions(batches(20, asked), Stopwatch())
    for k, (batch, scores) in enumerate(run):
        assert len(asked) <= k + IN_FLIGHT, "no more batches are taken than are in flight"
        assert scores.p_crack_N.tolist() == [np.float32(k) / np.float32(255)] * (k % 3)
        assert len(batch.pixels_NHWC) == k % 3
    assert len(asked) == 20
    assert len(engine.threads) == 1 and threading.current_thread().name not in engine.threads


def test_close_after_an_early_end_leaves_no_thread():
    run = EngineThread(PhotoEngine(Echo())).predictions(batches(20, []), Stopwatch())
    next(run)
    run.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("inspector-engine")]


def test_predictions_count_waiting_and_working():
    clock = Stopwatch()
    thread = EngineThread(PhotoEngine(Echo()))
    list(thread.predictions(batches(10, []), clock))
    assert thread.busy_seconds > 0.01 and clock.seconds["engine"] > 0


def test_an_engine_that_dies_keeps_the_rows_before_it(tmp_path, tiny_bundle, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(10):
        Image.new("RGB", (64, 64), (20 * k, 90, 90)).save(photos / f"{k}.png")

    class Dying:
        def __init__(self, engine) -> None:
            self.engine, self.runs = engine, 0

        def __getattr__(self, name):
            return getattr(self.engine, name)

        def run(self, pixels_NHWC):
            self.runs += 1
            if self.runs == 4:
                raise BackendError("the device is gone")
            return self.engine.run(pixels_NHWC)

    monkeypatch.setattr(
        photo, "open_backend", lambda *args, **options: Dying(open_backend(*args, **options))
    )
    config = ScanConfig(
        sources=(str(photos),), out=tmp_path / "out", model=tiny_bundle.path, batch_size=2
    )
    with pytest.raises(BackendError, match="the device is gone"):
        scan(config)
    kept = ds.dataset(config.out).to_table(columns=["path"]).column("path").to_pylist()
    assert [path.rsplit("/", 1)[-1] for path in kept] == [f"{k}.png" for k in range(6)]
    monkeypatch.undo()
    again = scan(config)
    assert (again.already_done, again.run.ok, again.table.rows) == (6, 4, 10)
