"""First stages compared: what each leaves to the model, and what it costs.

`python -m bench.studies.first_stages DATA IMAGES --work DIR` teaches narrow networks of several
widths and depths, exits after the model's own stages, and pruned copies of the model, all by the
same lessons for as many steps, and chooses and gates their margins as a bundle's are. Few steps
tell which is better, not how good one can become.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import torch
import typer
from onnxruntime import InferenceSession, SessionOptions
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from bench.recipe.narrow.attach import evidence_for, judged_by, stages_after, write_scenes
from bench.recipe.narrow.export import PHOTOS, TILES, export_narrow
from bench.recipe.narrow.familiar import limit_to_familiar
from bench.recipe.narrow.network import NarrowNetwork, Widths
from bench.recipe.narrow.run import Classroom
from bench.recipe.narrow.screening import Screening
from bench.recipe.narrow.trainer import NarrowConfig, NarrowTrainer, begun
from export.gates import CpuEngines, choose_first_margins
from export.photos import deal_third, find_photos, spread_evenly
from inspector.engines.combined import DEFERRED
from inspector.engines.dense import open_dense
from inspector.labelled.folder import find_labelled
from inspector.model.bundle import DEFAULT_PATH, INPUT_NAME, NARROW, ModelBundle
from inspector.model.network import load_deployed
from inspector.model.stamp import model_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.model.network import DeployedModel
    from inspector.types import JsonObject

    Make = Callable[[ResNet, ModelBundle], NarrowNetwork]

STEPS, SHARDS = 1200, 8
_PHOTOS, _TILES = 24, 288
"""Lessons of each shard."""
_FAMILIAR_FROM = 3000
"""Training tiles that say what is familiar."""
_COUNTS = {"boards": 16, "tiles": 8, "walls": 16, "stones": 8, "slabs": 4, "large": 2, "sheets": 2}
"""Photos of each family and part, half of them cracked."""
_TIMED, _BATCH = 9, 8
"""Runs, and tiles in each."""
_SEEDS = 31, 32
_BRANCH = (32, 64, 96)
"""Channels of an exit's own stages."""


class Exit(NarrowNetwork):
    """An exit inside the model: its first stages as they are, and small ones of its own."""

    def __init__(self, model: ResNet, bundle: ModelBundle, shared: int) -> None:
        """`shared` of the model's four stages are computed for the model anyway."""
        begin = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, model.layer1)
        given = [model.layer2, model.layer3][: shared - 1]
        widths = (128, 256)[: len(given)]
        channels = cast("tuple[int, int, int]", (*widths, *_BRANCH[len(given) :]))
        super().__init__(Widths((64, 64), channels, (1, 1, 1)), bundle.preprocess)
        self.stem = begin
        for place, layer in enumerate(given):
            self.stages[place] = layer
        self.given = [begin, *given]
        for part in self.given:
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> Exit:
        """Its statistics are the model's, and stay so."""
        super().train(mode)
        for part in self.given:
            part.eval()
        return self


def narrow(widths: Widths) -> Make:
    """A network of its own."""
    return lambda _, bundle: NarrowNetwork(widths, bundle.preprocess)


def exit_after(shared: int) -> Make:
    return lambda model, bundle: Exit(model, bundle, shared)


def pruned(share: float) -> Make:
    """The model with `share` of the channels of each stage: those which batch norm scales most, the
    same along a stage's shortcuts."""

    def make(model: ResNet, bundle: ModelBundle) -> NarrowNetwork:
        layers = [cast(nn.Sequential, getattr(model, f"layer{k}")) for k in (1, 2, 3, 4)]
        kept = [_kept([model.bn1, *_writers(layers[0])], share)]
        kept += [_kept(_writers(layer), share) for layer in layers[1:]]
        sides = [len(each) for each in kept]
        widths = Widths((sides[0], sides[0]), (sides[1], sides[2], sides[3]), (2, 2, 2))
        network = NarrowNetwork(widths, bundle.preprocess)
        first = _cut(model.conv1, kept[0], torch.arange(3))
        blocks = [
            nn.Sequential(
                *(_cut_block(block, before if n == 0 else own, own, share) for n, block in at)
            )
            for layer, before, own in zip(layers, [kept[0], *kept], kept, strict=False)
            for at in [enumerate(cast("Iterator[BasicBlock]", layer))]
        ]
        norm = _cut_norm(model.bn1, kept[0])
        network.stem = nn.Sequential(first, norm, model.relu, model.maxpool, blocks[0])
        network.stages = nn.ModuleList(blocks[1:])
        return network

    return make


def _writers(layer: nn.Sequential) -> list[nn.BatchNorm2d]:
    """The batch norms whose outputs are added along a stage."""
    ends = [cast(BasicBlock, block).bn2 for block in layer]
    shortcut = cast(BasicBlock, layer[0]).downsample
    return [*ends, *([] if shortcut is None else [shortcut[1]])]


def _kept(norms: list[nn.BatchNorm2d], share: float) -> Tensor:
    weight = torch.stack([norm.weight.detach().abs() for norm in norms]).sum(dim=0)
    return torch.topk(weight, round(share * len(weight))).indices.sort().values


def _cut(convolution: nn.Conv2d, out: Tensor, into: Tensor) -> nn.Conv2d:
    kernel = convolution.weight.detach()[out][:, into].clone()
    side, stride, pad = convolution.kernel_size, convolution.stride, convolution.padding
    cut = nn.Conv2d(len(into), len(out), side, stride, pad, bias=False)  # type: ignore[arg-type]
    cut.weight = nn.Parameter(kernel)
    return cut


def _cut_norm(norm: nn.BatchNorm2d, kept: Tensor) -> nn.BatchNorm2d:
    cut = nn.BatchNorm2d(len(kept))
    cut.load_state_dict({name: t[kept] if t.ndim else t for name, t in norm.state_dict().items()})
    return cut


def _cut_block(block: BasicBlock, into: Tensor, out: Tensor, share: float) -> BasicBlock:
    inner, shortcut = _kept([block.bn1], share), None
    if block.downsample is not None:
        convolution, norm = cast("tuple[nn.Conv2d, nn.BatchNorm2d]", tuple(block.downsample))
        shortcut = nn.Sequential(_cut(convolution, out, into), _cut_norm(norm, out))
    cut = BasicBlock(len(into), len(out), block.stride, shortcut)
    cut.conv1, cut.bn1 = _cut(block.conv1, inner, into), _cut_norm(block.bn1, inner)
    cut.conv2, cut.bn2 = _cut(block.conv2, out, inner), _cut_norm(block.bn2, out)
    return cut


CANDIDATES: dict[str, Make] = {
    "1/4, one block": narrow(Widths((8, 16), (32, 64, 128), (1, 1, 1))),
    "3/8, one block": narrow(Widths((16, 32), (48, 96, 160), (1, 1, 1))),
    "3/8, 1, 2, 2 blocks (shipped)": narrow(Widths()),
    "1/2, one block": narrow(Widths((16, 32), (64, 128, 256), (1, 1, 1))),
    "exit after stage 1": exit_after(1),
    "exit after stage 2": exit_after(2),
    "exit after stage 3": exit_after(3),
    "pruned to 1/4": pruned(0.25),
    "pruned to 3/8": pruned(0.375),
}


class Remembered:
    """An engine that answers the same pixels once."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._known: dict[tuple[object, ...], Any] = {}

    def run(self, pixels: NDArray[np.uint8], *parts: Any) -> Any:
        """As the engine's; `parts` of a photo are not remembered."""
        if parts:
            return self._engine.run(pixels, *parts)
        key = (pixels.shape, hash(pixels.tobytes()))
        if key not in self._known:
            self._known[key] = self._engine.run(pixels)
        return self._known[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


@dataclass(frozen=True, slots=True)
class Study:
    """What all candidates are judged with."""

    bundle: ModelBundle
    full: DeployedModel
    data: Path
    images: Path
    work: Path

    def lessons(self) -> Path:
        folder = self.work / "lessons"
        room = Classroom(self.data, self.images / "train", self.bundle.path, folder, seed=0)
        school = room.school()
        school.photos, school.tiles = _PHOTOS, _TILES
        for number in range(SHARDS):
            school.make(number)
        return folder

    def taught(self, name: str, make: Make, steps: int) -> Path:
        """The folder with a candidate's ONNX files."""
        out = self.work / "pairs" / name.replace("/", "-").replace(" ", "_")
        if (out / TILES.file).exists():
            return out
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(15)
        network = begun(make(load_deployed(self.bundle).network, self.bundle))
        config = NarrowConfig(steps=steps, photos=_PHOTOS // (_TILES // 12), warmup=100)
        trainer = NarrowTrainer(
            config, self.bundle.preprocess, self.bundle.temperature, network=network
        )
        state = out / "state.safetensors"
        if state.exists():
            trainer.restore(state)
        folder = self.work / "lessons"
        batches = trainer.batches(folder, lambda: False)
        while trainer.step < steps:
            parts = trainer.learn(next(batches))
            if trainer.step % 50 == 0:
                print(name, trainer.step, {k: round(v, 2) for k, v in parts.items()}, flush=True)
                trainer.save(state)
        with np.load(min(folder.glob("lessons-*.npz")), allow_pickle=False) as lessons:
            photos_NHWC = lessons["photo"]
        size, metadata = self.bundle.preprocess.size, model_metadata(self.bundle)
        export_narrow(trainer.judged, self.full, photos_NHWC, size, metadata, out)
        tiles = spread_evenly(find_labelled(self.images / "train"), _FAMILIAR_FROM)
        limit_to_familiar(out / TILES.file, tiles, self.bundle)
        return out


def seconds(file: Path, size: int) -> float:
    """Core-seconds of a tile, median of some runs."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(file, options, providers=["CPUExecutionProvider"])
    noise_NHWC = np.random.default_rng(0).integers(0, 256, (_BATCH, size, size, 3), dtype=np.uint8)
    taken = []
    for _ in range(_TIMED):
        start = time.process_time()
        session.run(None, {INPUT_NAME: noise_NHWC})
        taken.append((time.process_time() - start) / _BATCH)
    return median(taken)


def compared(study: Study, steps: int, out: Path, names: list[str]) -> None:
    """Teach, choose margins and gate each candidate; what was found is written after each."""
    bundle, size = study.bundle, study.bundle.preprocess.size
    study.lessons()
    photos = write_scenes(study.data, study.images, study.work / "scenes", _COUNTS)
    tiles = deal_third(
        find_photos(study.images / "held_back"), study.images / "held_back", "narrow"
    )
    scenes = deal_third(find_photos(photos), photos, "narrow")
    model_s = {
        name: seconds(bundle.file(bundle.whole[f"onnx-{name}"].file), size)
        for name in ("fp32", "int8")
    }
    found: JsonObject = {"steps": steps, "model": model_s}
    with ExitStack() as stack:
        opened = stack.enter_context(CpuEngines())
        after = {each: Remembered(opened(bundle, each)) for each in stages_after(bundle)}
        whole = stack.enter_context(closing(open_dense(bundle, device="cpu", precision="int8")))
        full, exact = Remembered(whole), after["fp32"]
        for name in names:
            pair = study.taught(name, CANDIDATES[name], steps)
            candidate = replace(
                bundle, path=pair, variants={"onnx-narrow": TILES, "dense-narrow": PHOTOS}
            )
            seen = on_tiles(study, candidate, opened, after, tiles)
            first = stack.enter_context(
                closing(open_dense(candidate, device="cpu", precision=NARROW))
            )
            assert bundle.dense is not None
            screening = Screening(
                first, cast(Any, full), cast(Any, exact), bundle.dense, size, photos
            )
            margin, familiar = screening.choose(scenes[0])
            gated = screening.gate(scenes[1], margin, familiar)
            sums = Counter[str]()
            for each in gated["sources"].values():
                sums.update(each)
            found[name] = {
                "seconds": seconds(pair / TILES.file, size),
                "tiles": seen,
                "photos": {"left": gated[DEFERRED], "margin": margin, **sums},
            }
            print(name, found[name], flush=True)
            out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def on_tiles(
    study: Study,
    candidate: ModelBundle,
    opened: CpuEngines,
    after: dict[str, Any],
    tiles: tuple[list[Path], list[Path]],
) -> JsonObject:
    """Share left to the model by source, and other verdicts, on tiles that chose no margin."""
    bundle = study.bundle
    engines = cast("dict[str, Backend]", {**after, NARROW: opened(candidate, NARROW)})
    chosen, gated = (
        judged_by(bundle, engines, study.images / "held_back", some, seed)
        for some, seed in zip(tiles, _SEEDS, strict=True)
    )
    low, high, familiar = choose_first_margins(chosen.exact, chosen.narrow, bundle.thresholds)
    variant = replace(TILES, margin=low, crack_margin=high, ood_margin=familiar)
    seen = evidence_for(bundle, variant, gated)
    return {
        "margins": [low, high, familiar],
        "left": {name: each[DEFERRED] / each["images"] for name, each in seen["sources"].items()},
        "images": seen["images"],
        "other": len(seen["verdict_flips"]),
        "missed": sum(each["missed"] for each in seen["sources"].values()),
    }


def main(
    data: Annotated[Path, typer.Argument(help="Folder with photos/.")],
    images: Annotated[Path, typer.Argument(help="Tiles, as the recipe lays them out.")],
    work: Annotated[Path, typer.Option(help="Where lessons, states and ONNX files are kept.")],
    model: Annotated[Path, typer.Option(help="Bundle whose model teaches.")] = DEFAULT_PATH,
    steps: Annotated[int, typer.Option(help="Steps that each learns.")] = STEPS,
    only: Annotated[str, typer.Option(help="Names of candidates, separated by semicolons.")] = "",
) -> None:
    """Teach first stages of several kinds, and tell what each leaves to the model."""
    bundle = ModelBundle.load(model)
    work.mkdir(parents=True, exist_ok=True)
    study = Study(bundle, load_deployed(bundle), data, images, work)
    names = [name.strip() for name in only.split(";")] if only else list(CANDIDATES)
    compared(study, steps, work / "results.json", names)


if __name__ == "__main__":
    typer.run(main)
