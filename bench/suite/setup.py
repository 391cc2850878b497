"""What every case needs: images, the right answers to them, and the bundle."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.files import link_photos, spread_evenly
from bench.mistakes import MISTAKEN, mistaken
from bench.reference import FULL_SIZE, Judge
from bench.suite.engines import CPU, CUDA
from bench.suite.inputs import TILES, make_inputs
from bench.suite.pixels import make_pool, write_pool
from inspector.engines import open_backend
from inspector.engines.device import Device, has_nvidia_driver
from inspector.errors import BundleError, ExportError, SourceError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle

if TYPE_CHECKING:
    from pathlib import Path

    from bench.checks import Answers
    from bench.mistakes import Mistaken
    from bench.suite.config import BenchConfig
    from bench.suite.inputs import Input
    from bench.suite.pixels import Pool
    from inspector.engines import Backend

TORCHSCRIPT = "torchscript"
_FEW = 32
"""Photos on which a peer searches its fastest setting."""


@dataclass(frozen=True, slots=True)
class Job:
    """An input, and what the reference says about it."""

    input: Input
    one: Path
    """A folder with one of its photos, for runs that are not counted."""
    few: Path
    expected: Answers
    """By path."""
    at_full_size: Answers
    """The same for programs that decode JPEGs at full size."""
    mistakes: Mistaken


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are while the cases run."""

    bundle: ModelBundle
    engines_bundle: ModelBundle
    """The same model for engines alone: with a TorchScript file, if that is compared."""
    device: str
    """`cpu` or `cuda`: where whole paths run."""
    work: Path
    """Scratch space; it goes with the run."""
    jobs: tuple[Job, ...]
    pool: Pool
    pool_file: Path
    truth: dict[str, bool]
    """Of the pool's images, by their number as text, where it is known."""
    seed: int


def prepare(config: BenchConfig, work: Path) -> Bench:
    """Raises SourceError where there is nothing to judge, BundleError for a damaged bundle."""
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    compared = config.backends is None or TORCHSCRIPT in config.backends
    engines_bundle = with_torchscript(bundle, work / "model") if compared else bundle
    device = CUDA if Device.parse(config.device).kind == CUDA else CPU
    if config.device == "auto" and has_nvidia_driver():
        device = CUDA
    inputs = make_inputs(config.source, work / "images", config.effort.tiles, config.effort.photos)
    with closing(open_backend(bundle, "eager", device=device)) as eager:
        tiles = next(each for each in inputs if each.name == TILES)
        pool, truth = _pool(bundle, tiles, eager, config.effort.pool)
        jobs = tuple(_job(bundle, each, eager, work / each.name) for each in inputs)
    pool_file = work / "pool.npz"
    write_pool(pool_file, pool)
    return Bench(bundle, engines_bundle, device, work, jobs, pool, pool_file, truth, config.seed)


def with_torchscript(bundle: ModelBundle, place: Path) -> ModelBundle:
    """A copy at `place` with a TorchScript file made here, whatever the bundle has: its own is a
    program of whoever made it. The bundle itself where none can be made."""
    from export import ExportConfig, export_bundle

    try:
        made = export_bundle(ExportConfig(bundle=bundle.path, torchscript=True, out=place))
        return replace(made, trusted=True)
    except (BundleError, ExportError):
        return bundle


def _job(bundle: ModelBundle, images: Input, eager: Backend, place: Path) -> Job:
    spec, refs = bundle.preprocess, images.refs
    judge = Judge(eager, bundle.thresholds, keep=spread_evenly(refs, MISTAKEN))
    expected = judge.answers(refs, spec)
    if not judge.kept:
        raise SourceError(f"none of the {images.name} can be decoded; name another folder")
    mistakes = mistaken(eager, judge.kept, spec)
    full = judge.answers(refs, replace(spec, decode_margin=FULL_SIZE))
    link_photos(refs[:1], place / "one", root=images.folder)
    link_photos(spread_evenly(refs, _FEW), place / "few", root=images.folder)
    return Job(images, place / "one", place / "few", expected, full, mistakes)


def _pool(
    bundle: ModelBundle, tiles: Input, eager: Backend, count: int
) -> tuple[Pool, dict[str, bool]]:
    """Decoded tiles for the engines alone, and the truth about them by number."""
    judge = Judge(eager, bundle.thresholds, keep=spread_evenly(tiles.refs, count))
    judge.answers(spread_evenly(tiles.refs, count), bundle.preprocess)
    if not judge.kept:
        raise SourceError("none of the tiles can be decoded; name another folder")
    pixels_NHWC = np.stack(list(judge.kept.values()))
    truth = {str(k): tiles.truth[path] for k, path in enumerate(judge.kept) if path in tiles.truth}
    return make_pool(eager, pixels_NHWC, bundle.preprocess), truth
