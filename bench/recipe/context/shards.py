"""Scenes prepared ahead by another process, in files that are mapped into memory, and how often
each is drawn: those on which the network has lately been wrong come more often."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.recipe.context.material import Material
from bench.recipe.context.scenes import KINDS, SIDE, draw_kind, make_with_truth
from inspector.core.durable import replacing
from inspector.workers.process import begin_worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.labelled.folder import LabelledImage

KEPT = 4
"""Shards that an epoch draws from; the first epoch begins with half of them, each later one brings
one more."""
_POLL_S = 0.5
_UNSEEN = 0.5
"""Loss expected of a scene that has not been seen."""
_FLOOR, _CEILING = 0.12, 1.5
"""Losses between which the odds grow: an easy scene still comes, and a wrong truth map does not
come all the time."""


def shards_of(epoch: int) -> range:
    """Numbers of the shards that an epoch draws from."""
    newest = epoch + KEPT // 2
    return range(max(0, newest - KEPT), newest)


@dataclass(frozen=True, slots=True)
class Shards:
    """Files of `size` scenes each. Scene k of shard n comes of the generator (seed, n, k): a shard
    can be made again, by any process, at any time."""

    folder: Path
    size: int
    seed: int

    def _rng(self, number: int, place: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, place])

    def _file(self, number: int) -> Path:
        return self.folder / f"scenes-{number:05}.npy"

    def is_drone(self, number: int) -> NDArray[np.bool_]:
        """Which scenes of a shard are drone crops, without making it."""
        kinds = [draw_kind(self._rng(number, place)) for place in range(self.size)]
        return np.asarray(np.array(kinds) == KINDS.index("drone"))

    def make(self, number: int, material: Material) -> None:
        """Write one shard in one step: uint8 (size, SIDE, SIDE, 4), the truth maps come last."""
        made = np.empty((self.size, SIDE, SIDE, 4), np.uint8)
        for place in range(self.size):
            made[place] = make_with_truth(material, self._rng(number, place))
        with replacing(self._file(number)) as draft, draft.open("xb") as stream:
            np.save(stream, made)

    def wait(self, number: int, maker: BaseProcess) -> Path:
        """The file of a shard, as soon as it is there. Raises RuntimeError where its maker has
        ended without it."""
        file = self._file(number)
        while not file.exists():
            if not maker.is_alive() and not file.exists():
                raise RuntimeError("the process that makes scenes ended; its error stands above")
            time.sleep(_POLL_S)
        return file

    def forget(self, before: int) -> None:
        for file in self.folder.glob("scenes-*.npy"):
            if int(file.stem.rpartition("-")[2]) < before:
                file.unlink()

    def start_maker(
        self, images: Sequence[LabelledImage], data: Path, epochs: range
    ) -> tuple[BaseProcess, Any]:
        """A process that makes what is missing for `epochs`, and a semaphore: each release allows
        it one epoch more than the first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        context = multiprocessing.get_context("spawn")
        allowed = context.Semaphore(0)
        maker = context.Process(
            target=self._make_all, args=(list(images), data, epochs, allowed), daemon=True
        )
        maker.start()
        return maker, allowed

    def _make_all(
        self, images: Sequence[LabelledImage], data: Path, epochs: range, allowed: Any
    ) -> None:
        begin_worker()
        material = Material(images, data)
        for epoch in epochs:
            for number in shards_of(epoch):
                if not self._file(number).exists():
                    self.make(number, material)
            allowed.acquire()


@dataclass(slots=True)
class Odds:
    """Losses by scene; half of the old value is forgotten each time."""

    shards: Shards
    losses: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def note(self, scene_N: NDArray[np.int64], loss_N: NDArray[np.float32]) -> None:
        """Scenes are numbered over all shards; -1 is none."""
        for scene, loss in zip(scene_N.tolist(), loss_N.tolist(), strict=True):
            if scene >= 0:
                number, place = divmod(scene, self.shards.size)
                own = self._of(number)
                own[place] = 0.5 * own[place] + 0.5 * loss

    def of_epoch(self, epoch: int) -> NDArray[np.float64]:
        """How often each scene of the epoch's shards is to be drawn, not normalised; older ones are
        forgotten. What people marked in drone crops has gaps: a high loss there says little, so
        they are drawn alike."""
        numbers = shards_of(epoch)
        self.losses = {number: self._of(number) for number in numbers}
        odds = np.clip(np.concatenate(list(self.losses.values())), _FLOOR, _CEILING)
        drawn = ~np.concatenate([self.shards.is_drone(number) for number in numbers])
        return np.asarray(np.where(drawn, odds, odds[drawn].mean()), np.float64)

    def _of(self, number: int) -> NDArray[np.float32]:
        unseen = np.full(self.shards.size, _UNSEEN, np.float32)
        return self.losses.setdefault(number, unseen)
