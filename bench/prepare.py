"""Images, the right answers to them, and the model, for all cases. Right answers are those
of the weights in eager torch, on pixels from the project's own decoder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.answers import MISTAKEN, Answer, Answers, Mistaken, Pool, mistaken
from bench.config import BenchConfig
from bench.engines import CPU, CUDA
from bench.inputs import NATIVE, PHOTOS, TILES, Input, decoded, gathered, link_photos, make_inputs
from bench.peers.common import judge_photo
from export.photos import spread_evenly
from inspector.core.text import display_path
from inspector.engines import Backend, Device, open_backend
from inspector.engines.contract import joined
from inspector.engines.photo import choose_views, open_photo_engine
from inspector.errors import BundleError, ExportError
from inspector.model.bundle import ModelBundle, Thresholds
from inspector.model.preprocess import PreprocessSpec
from inspector.model.verdict import judge
from inspector.predict import BATCH_SIZE, predict, predict_batches
from inspector.types import ImageRef, Judgement, Photo

FULL_SIZE = 1e6
"""A decode margin at which no JPEG is ever decoded smaller than it is stored."""
_FEW = 32
"""Photos on which a peer searches its fastest setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An input, and what the reference says about it."""

    input: Input
    one: Path
    """Folder with one of its photos, for runs that are not counted."""
    few: Path
    """Folder with some of its photos."""
    expected: Answers
    """By path."""
    of_other_programs: Answers
    """Right answers of programs that decode JPEGs at full size; of those that cut photos into
    tiles, mean probabilities."""
    mistakes: Mistaken


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where things are while the cases run."""

    bundle: ModelBundle
    engines_bundle: ModelBundle
    """Model for engines alone: with a TorchScript file, if that is compared."""
    device: str
    """`cpu` or `cuda`: where whole paths run."""
    work: Path
    """Scratch space; it goes with the run."""
    jobs: tuple[Job, ...]
    pool: Pool
    pool_file: Path
    truth: dict[str, bool]
    """Whether there is a crack in an image of the pool, by its number as text, where known."""

    @property
    def on_gpu(self) -> bool:
        return self.device == CUDA


def prepare(config: BenchConfig, bundle: ModelBundle, work: Path) -> Bench:
    """Make the images and judge them with the reference. Raises SourceError where there is nothing
    to judge."""
    import torch

    compared = config.backends is None or "torchscript" in config.backends
    engines_bundle = with_torchscript(bundle, work / "model") if compared else bundle
    device = CUDA if Device.parse(config.device).kind == CUDA else CPU
    if config.device == "auto" and torch.cuda.is_available():
        device = CUDA
    effort = config.effort
    made = make_inputs(config.source, work / "images", effort.tiles, effort.photos)
    inputs = {each.name: each for each in made}
    with closing(open_backend(bundle, "eager", device=device)) as eager:
        tiles = inputs[TILES]
        kept = decoded(tiles, effort.pool, bundle.preprocess)
        pool = make_pool(eager, np.stack(list(kept.values())), bundle.preprocess)
        jobs = [_job(bundle, each, eager, work / each.name) for each in made]
        if bundle.dense is not None:
            photos, folder = inputs[PHOTOS], work / "images" / NATIVE
            link_photos(spread_evenly(photos.refs, effort.native), folder, root=photos.folder)
            native = gathered(NATIVE, folder, f"{effort.native} of the photos")
            jobs.append(_native_job(bundle, native, eager, work / NATIVE))
    truth = {str(k): tiles.truth[path] for k, path in enumerate(kept) if path in tiles.truth}
    pool_file = work / "pool.npz"
    pool.write(pool_file)
    return Bench(bundle=bundle, engines_bundle=engines_bundle, device=device, work=work,
                 jobs=tuple(jobs), pool=pool, pool_file=pool_file, truth=truth)  # fmt: skip


def with_torchscript(bundle: ModelBundle, place: Path) -> ModelBundle:
    """A copy at `place` with a TorchScript file made here, whatever the bundle has: its own is a
    program of whoever made it. The bundle itself where none can be made."""
    from export import ExportConfig, export_bundle

    try:
        made = export_bundle(ExportConfig(bundle=bundle.path, torchscript=True, out=place))
        return replace(made, trusted=True)
    except (BundleError, ExportError):
        return bundle


def right_answers(
    eager: Backend, thresholds: Thresholds, refs: Sequence[ImageRef], spec: PreprocessSpec
) -> Answers:
    """Probability and verdict of every file by the weights in eager torch, by a scan's own rules
    for verdicts."""
    answers: Answers = {}
    batches = predict_batches(refs, spec, lambda batch: eager.run(batch.pixels_NHWC), workers=0)
    for batch, scores in batches:
        answers |= {display_path(item.ref.path): Answer(None) for item in batch.items}
        if scores is not None:
            answers |= _by_path(batch.photos, judge(scores, batch.photos, thresholds, eager.stages))
    return answers


def _by_path(photos: Sequence[Photo], said: Sequence[Judgement]) -> Answers:
    pairs = zip(photos, said, strict=True)
    return {display_path(photo.ref.path): Answer(s.p_crack, s.verdict) for photo, s in pairs}


def _job(bundle: ModelBundle, images: Input, eager: Backend, place: Path) -> Job:
    spec, refs = bundle.preprocess, images.refs
    answers = partial(right_answers, eager, bundle.thresholds, refs)
    link_photos(refs[:1], place / "one", root=images.folder)
    link_photos(spread_evenly(refs, _FEW), place / "few", root=images.folder)
    return Job(
        input=images,
        one=place / "one",
        few=place / "few",
        mistakes=mistaken(eager, decoded(images, MISTAKEN, spec), spec),
        expected=answers(spec),
        of_other_programs=answers(replace(spec, decode_margin=FULL_SIZE)),
    )


def _native_job(bundle: ModelBundle, images: Input, eager: Backend, place: Path) -> Job:
    """Photos at their own scale. Scans must say what they say in fp32, other programs the mean of
    their tiles, by the weights in eager torch."""
    link_photos(images.refs[:1], place, root=images.folder)
    views = choose_views(images.view, bundle)
    with closing(open_photo_engine(bundle, views=views, device="cpu")) as engine:
        found = predict(images.refs, bundle, engine, workers=0)
        assert bundle.dense is not None
        dense = bundle.dense.thresholds
        said = judge(found.scores, found.photos, bundle.thresholds, engine.stages, dense)
    expected, size = _by_path(found.photos, said), bundle.preprocess.size
    means = [
        judge_photo(Path(photo.ref.path), size, lambda tiles: eager.run(tiles).p_crack_N.tolist())
        for photo in found.photos
    ]
    return Job(
        input=images,
        one=place,
        few=place,
        expected=expected,
        of_other_programs=dict(zip(expected, map(Answer, means), strict=True)),
        mistakes={},
    )


def make_pool(eager: Backend, pixels_NHWC: NDArray[np.uint8], spec: PreprocessSpec) -> Pool:
    """Images in memory, with what the reference says about them."""
    starts = range(0, len(pixels_NHWC), BATCH_SIZE)
    parts = [eager.run(pixels_NHWC[start : start + BATCH_SIZE]) for start in starts]
    examples = {str(k): pixels_HWC for k, pixels_HWC in enumerate(pixels_NHWC[:MISTAKEN])}
    return Pool(pixels_NHWC, joined(parts), mistaken(eager, examples, spec))
