"""Several engines as one: in a row, each deferring what it is not sure of, or one per GPU."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines import has_nvidia_driver, visible_gpus
from inspector.engines.contract import joined
from inspector.errors import BackendError
from inspector.model.verdict import shifted
from inspector.types import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.model.bundle import ModelBundle, Thresholds, Variant


FAMILIAR = 2.0
"""Out-of-distribution score of the 99th percentile of training images, which stands for a threshold
where there is none."""
DEFERRED = "deferred"
"""Key of a gate's evidence: the share of its images that were deferred to the next stage."""


@dataclass(frozen=True, slots=True)
class UncertaintyBand:
    """Answers that are not final.

    `spans` are half-open intervals of probabilities, [low, high), closed at 1; `ood` is one such
    interval of out-of-distribution scores. An answer inside any of them is deferred.
    """

    spans: tuple[tuple[float, float], ...] = ()
    ood: tuple[float, float] = (math.inf, math.inf)

    @classmethod
    def around(cls, thresholds: Thresholds, margin: float, ood_margin: float) -> UncertaintyBand:
        """The band of answers that a small error could move across a threshold: within `margin` of
        a threshold's logit, in logits, or `ood_margin` of the out-of-distribution threshold, in
        units of the score."""
        edges = {thresholds.clear_below, thresholds.crack_from}
        spans = tuple((shifted(t, -margin), shifted(t, margin)) for t in sorted(edges))
        limit = thresholds.out_of_distribution
        return cls(spans) if limit is None else cls(spans, (limit - ood_margin, limit + ood_margin))

    @classmethod
    def of(cls, variant: Variant, thresholds: Thresholds) -> UncertaintyBand:
        """The band of a variant for images of the model's size, at these thresholds. That of a
        narrow one has all that lies between the thresholds, and all that is not familiar."""
        if variant.crack_margin is None:
            return cls.around(thresholds, variant.margin, variant.ood_margin)
        low = shifted(thresholds.clear_below, -variant.margin)
        high = shifted(thresholds.crack_from, variant.crack_margin)
        limit = thresholds.out_of_distribution or FAMILIAR
        return cls(((low, high),), (limit - variant.ood_margin, math.inf))

    def contains(self, scores: Scores) -> NDArray[np.bool_]:
        """Whether each of N answers must be deferred; one that is not a number always is."""
        p_N, ood_N = scores.p_crack_N, scores.ood_N
        low, high = self.ood
        inside_N = ~np.isfinite(p_N) | ~np.isfinite(ood_N) | ((ood_N >= low) & (ood_N < high))
        for low, high in self.spans:
            inside_N |= (p_N >= low) & ((p_N < high) | (high >= 1))
        return inside_N


def chain(
    bundle: ModelBundle, precision: str, thresholds: Thresholds
) -> dict[str, UncertaintyBand]:
    """The precisions that judge an image one after the other, beginning with `precision`, and the
    answers that each leaves to the next; the last one's are final."""
    bands = {}
    while (after := bundle.after(precision)) is not None:
        found = [v for v in bundle.whole.values() if v.precision == precision]
        bands[precision] = UncertaintyBand.of(found[0], thresholds) if found else UncertaintyBand()
        precision = after
    return bands | {precision: UncertaintyBand()}


class DeferringBackend:
    """Stages as one backend: engines, each with the answers that it must leave to the next one. The
    last stage answers all that reaches it.

    Each image has all its answers from one stage; `Scores.stage_N` says from which.
    Closes its engines.
    """

    def __init__(self, stages: Sequence[tuple[Backend, UncertaintyBand]]) -> None:
        assert stages and not stages[-1][1].spans, "the last stage answers everything"
        self._stages = tuple(stages)
        engines = [engine for engine, _ in stages]
        self.name = engines[-1].name
        self.device = engines[-1].device
        self.providers = engines[-1].providers
        self.stages: tuple[str, ...] = tuple(name for e in engines for name in e.stages)
        self.last = engines[-1]
        """The engine of the last stage, which answers everything that it is asked."""

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(note for engine, _ in self._stages for note in engine.notes))

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """Scores of N >= 1 images, uint8 (N, size, size, 3). Raises BackendError."""
        count = len(pixels_NHWC)
        p_N, ood_N = np.empty(count, np.float32), np.empty(count, np.float32)
        stage_N = np.empty(count, np.uint8)
        cam_N = np.empty(count, object)  # stages may have activation maps of different grids
        open_K = np.arange(count)
        for number, (engine, band) in enumerate(self._stages):
            everything = len(open_K) == count
            scores = engine.run(pixels_NHWC if everything else pixels_NHWC[open_K])
            p_N[open_K], ood_N[open_K] = scores.p_crack_N, scores.ood_N
            stage_N[open_K] = number
            for k, cam_HW in zip(open_K, scores.cam_NHW, strict=True):
                cam_N[k] = cam_HW
            open_K = open_K[band.contains(scores)]
            if not len(open_K):
                break
        return Scores(p_N, cam_N, ood_N, stage_N)

    def close(self) -> None:
        """Give back memory and threads; the backend cannot run afterwards."""
        for engine, _ in self._stages:
            engine.close()


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
        self._threads = ThreadPoolExecutor(len(engines), "inspector-gpu")

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of all engines, each with its device."""
        return tuple(f"{each.device}: {note}" for each in self._engines for note in each.notes)

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
