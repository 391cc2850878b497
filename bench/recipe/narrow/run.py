"""The narrow first stage of a bundle, from its own answers: lessons, training, ONNX files.

`python -m bench.recipe.narrow.run BUNDLE DATA IMAGES` lets the one that comes along learn on from
the answers of another bundle; `bench.recipe.narrow.attach` then attaches it.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer

from bench.recipe.context.material import Material
from bench.recipe.narrow.export import PHOTOS, TILES, export_narrow
from bench.recipe.narrow.familiar import limit_to_familiar
from bench.recipe.narrow.lessons import School
from bench.recipe.narrow.trainer import NarrowConfig, NarrowTrainer
from bench.recipe.narrow.weights import read_network
from inspector.engines.dense import open_dense
from inspector.labelled.folder import find_labelled
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.model.network import load_deployed
from inspector.model.stamp import model_metadata
from inspector.workers.process import begin_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.recipe.narrow.network import NarrowNetwork

SHARDS = 360
"""Shards of lessons at most: 241,920 images of 224 px."""
SAVED_EACH = 150
"""Steps from one saved state to the next."""
TOLD_EACH = 50
_STATE = "state.safetensors"
ON = NarrowConfig(steps=4000, rate=1e-3, falls_from=0.0)
"""How a network learns on: its batch norms have no statistics of their own any more."""


@dataclass(frozen=True, slots=True)
class Classroom:
    """What a process needs to write lessons."""

    data: Path
    images: Path
    """Folder of the labelled training images."""
    bundle: Path
    folder: Path
    """Where the shards go."""
    seed: int

    def school(self) -> School:
        """Lessons by the bundle's dense int8 model, which moves log odds by a tenth and takes half
        of the time."""
        teacher = open_dense(ModelBundle.load(self.bundle), precision="int8", threads=1)
        material = Material(find_labelled(self.images), self.data)
        return School(material, teacher.judge_block, self.folder, seed=self.seed)

    def make_all(self, shards: int) -> None:
        """Write all shards that are missing, one after the other; a process's work."""
        begin_worker()
        torch.set_num_threads(1)
        school = self.school()
        for number in range(shards):
            school.make(number)


def make_narrow(
    data: Path, images: Path, bundle: ModelBundle, out: Path, *,
    config: NarrowConfig | None = None, network: NarrowNetwork | None = None,
    say: Callable[[str], None] = print,
) -> Path:  # fmt: skip
    """Teach a narrow network by `bundle`, which has a dense view and its int8 variant, and export
    it to `out`, which is returned; `data` has `photos/`, `images` is the folder of training images,
    `network` one that learns on, None: a new one. Goes on where it was stopped. Raises RuntimeError
    where no lessons can be made."""
    if all((out / variant.file).exists() for variant in (TILES, PHOTOS)):
        return out
    config = config or NarrowConfig()
    classroom = Classroom(data, images, bundle.path, out / "lessons", config.seed)
    classroom.folder.mkdir(parents=True, exist_ok=True)
    maker = multiprocessing.get_context("spawn").Process(
        target=classroom.make_all, args=(SHARDS,), daemon=True
    )
    maker.start()
    trainer = NarrowTrainer(config, bundle.preprocess, bundle.temperature, network=network)
    state = out / _STATE
    if state.exists():
        trainer.restore(state)
    batches = trainer.batches(classroom.folder, maker.is_alive)
    while trainer.step < config.steps:
        parts = trainer.learn(next(batches))
        if trainer.step % TOLD_EACH == 0:
            told = ", ".join(f"{name} {value:.2f}" for name, value in parts.items())
            say(f"narrow network, step {trainer.step} of {config.steps}: {told}")
        if trainer.step % SAVED_EACH == 0:
            trainer.save(state)
    maker.terminate()
    trainer.save(state)
    full = load_deployed(bundle)
    with np.load(min(classroom.folder.glob("lessons-*.npz")), allow_pickle=False) as lessons:
        photos_NHWC = lessons["photo"]
    export_narrow(
        trainer.judged, full, photos_NHWC, bundle.preprocess.size, model_metadata(bundle), out
    )
    limit_to_familiar(out / TILES.file, find_labelled(images), bundle)
    return out


def main(
    bundle: Annotated[Path, typer.Argument(help="Bundle whose model teaches.")],
    data: Annotated[Path, typer.Argument(help="Folder with photos/.")],
    images: Annotated[Path, typer.Argument(help="Training tiles, as the recipe lays them out.")],
    out: Annotated[Path, typer.Option(help="Where lessons, states and ONNX files are kept.")],
    start: Annotated[Path, typer.Option(help="Bundle whose narrow network learns on.")] = (
        DEFAULT_PATH
    ),
) -> None:
    """Let a narrow network learn on."""
    teacher, source = ModelBundle.load(bundle), ModelBundle.load(start)
    network = read_network(source.file(PHOTOS.file), ON.widths, teacher.preprocess)
    make_narrow(data, images, teacher, out, config=ON, network=network)


if __name__ == "__main__":
    typer.run(main)
