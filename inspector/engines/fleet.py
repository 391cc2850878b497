"""Several engines that share every batch: one per GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines.contract import joined
from inspector.engines.device import has_nvidia_driver, visible_gpus
from inspector.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.types import Scores


class FleetBackend:
    """Equal engines as one: each judges its share of a batch at the same time.

    One thread per engine in one process: while an engine computes it holds no lock of Python's, so
    processes would do no more, and would each need a copy of every batch. Closes its engines.
    """

    def __init__(self, engines: Sequence[Backend]) -> None:
        self._engines = tuple(engines)
        first = self._engines[0]
        self.name, self.providers, self.stages = first.name, first.providers, first.stages
        self.device = ", ".join(engine.device for engine in engines)
        self.why = f"{len(engines)} GPUs share each batch"
        self._threads = ThreadPoolExecutor(len(engines), "inspector-gpu")

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of all engines, each with its device."""
        return tuple(
            f"{engine.device}: {note}"
            for engine in self._engines
            for note in getattr(engine, "notes", ())
        )

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """Judge N >= 1 images in their order. Raises what the first failing engine raises, after
        all have stopped."""
        shares = np.array_split(pixels_NHWC, min(len(self._engines), max(len(pixels_NHWC), 1)))
        runs = [
            self._threads.submit(engine.run, share)
            for engine, share in zip(self._engines, shares, strict=False)
        ]
        wait(runs)
        return joined([run.result() for run in runs])

    def close(self) -> None:
        """Give back memory and threads; the backend cannot run afterwards."""
        self._threads.shutdown()
        for engine in self._engines:
            engine.close()


def open_fleet(open_one: Callable[[str], Backend]) -> Backend:
    """An engine on every GPU that this process may use, opened by device name. Raises BackendError
    when there is none, or when one of them does not come up."""
    count = visible_gpus()
    if not count:
        reason = (
            "the NVIDIA driver shows this process no GPU"
            if has_nvidia_driver()
            else "there is no NVIDIA driver on this machine"
        )
        raise BackendError(
            f"cuda:all was asked for, but {reason}; use --device cpu, or repair the GPU set-up "
            "(inspector doctor shows it)"
        )
    with ExitStack() as opened:
        engines = []
        for index in range(count):
            engine = open_one(f"cuda:{index}")
            opened.callback(engine.close)
            engines.append(engine)
        opened.pop_all()
    return FleetBackend(engines)
