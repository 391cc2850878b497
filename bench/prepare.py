"""Images, the right answers to them, and the model, for all cases. Right answers are those
of the weights in eager torch, on pixels from the project's own decoder."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.answers import MISTAKEN, Answer, Pool, mistaken
from bench.engines import CPU, CUDA
from bench.inputs import PHOTOS, TILES, link_photos, make_inputs, some_of
from bench.peers.common import judge_photo
from export.photos import spread_evenly
from inspector.core.text import display_path
from inspector.engines import Device, has_nvidia_driver, open_backend
from inspector.engines.contract import joined
from inspector.engines.photo import choose_views, open_photo_engine
from inspector.errors import BundleError, ExportError, SourceError
from inspector.model.bundle import ModelBundle
from inspector.model.verdict import decide, judge
from inspector.predict import BATCH_SIZE, predict, predict_batches
from inspector.types import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.answers import Answers, Mistaken
    from bench.config import BenchConfig
    from bench.inputs import Input
    from inspector.engines import Backend
    from inspector.model.bundle import Thresholds
    from inspector.model.preprocess import PreprocessSpec
    from inspector.types import Batch, ImageRef

TORCHSCRIPT = "torchscript"
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


class Reference:
    """Judges files with the weights in eager torch, and keeps the pixels of some of them: of those
    in `keep`, as the first pass sees them."""

    def __init__(
        self, eager: Backend, thresholds: Thresholds, *, keep: Sequence[ImageRef] = ()
    ) -> None:
        self._eager = eager
        self._thresholds = thresholds
        self._keep = {ref.path for ref in keep}
        self.kept: dict[str, NDArray[np.uint8]] = {}
        """uint8 (size, size, 3) by path, in the listing's order."""
        self._known: dict[bytes, Scores] = {}
        """Scores by the pixels' digest: most files look the same at full size."""

    def answers(self, refs: Sequence[ImageRef], spec: PreprocessSpec) -> Answers:
        """Probability and verdict of every file, by the scan's own rules for verdicts."""
        answers: Answers = {}
        for batch, scores in predict_batches(refs, spec, self._scores, workers=0):
            answers |= {display_path(item.ref.path): Answer(None) for item in batch.items}
            if scores is None:
                continue
            shrink_N = np.array([photo.shrink for photo in batch.photos])
            verdict_N, _ = decide(
                scores.p_crack_N, self._thresholds, ood_N=scores.ood_N, shrink_N=shrink_N
            )
            for photo, pixels_HWC, p, verdict in zip(
                batch.photos, batch.pixels_NHWC, scores.p_crack_N, verdict_N, strict=True
            ):
                path = display_path(photo.ref.path)
                answers[path] = Answer(float(p), str(verdict))
                if photo.ref.path in self._keep:
                    self._keep.remove(photo.ref.path)
                    self.kept[path] = pixels_HWC
        return answers

    def _scores(self, batch: Batch) -> Scores:
        pixels_NHWC = batch.pixels_NHWC
        digests = [hashlib.sha256(pixels_HWC).digest() for pixels_HWC in pixels_NHWC]
        new = [k for k, known in enumerate(digests) if known not in self._known]
        if new:
            found = self._eager.run(pixels_NHWC[new])
            for place, k in enumerate(new):
                one = slice(place, place + 1)
                self._known[digests[k]] = Scores(
                    found.p_crack_N[one], found.cam_NHW[one], found.ood_N[one]
                )
        return joined([self._known[known] for known in digests])


def prepare(config: BenchConfig, bundle: ModelBundle, work: Path) -> Bench:
    """Make the images and judge them with the reference. Raises SourceError where there is nothing
    to judge."""
    compared = config.backends is None or TORCHSCRIPT in config.backends
    engines_bundle = with_torchscript(bundle, work / "model") if compared else bundle
    device = CUDA if Device.parse(config.device).kind == CUDA else CPU
    if config.device == "auto" and has_nvidia_driver():
        device = CUDA
    inputs = make_inputs(config.source, work / "images", config.effort.tiles, config.effort.photos)
    with closing(open_backend(bundle, "eager", device=device)) as eager:
        tiles = next(each for each in inputs if each.name == TILES)
        pool, truth = _pool(bundle, tiles, eager, config.effort.pool)
        jobs = [_job(bundle, each, eager, work / each.name) for each in inputs]
        if bundle.dense is not None:
            photos = next(each for each in inputs if each.name == PHOTOS)
            native = some_of(photos, config.effort.native, work / "images" / "native")
            jobs.append(_native_job(bundle, native, eager, work / "native"))
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


def _job(bundle: ModelBundle, images: Input, eager: Backend, place: Path) -> Job:
    spec, refs = bundle.preprocess, images.refs
    reference = Reference(eager, bundle.thresholds, keep=spread_evenly(refs, MISTAKEN))
    expected = reference.answers(refs, spec)
    if not reference.kept:
        raise SourceError(f"none of the {images.name} can be decoded; name another folder")
    link_photos(refs[:1], place / "one", root=images.folder)
    link_photos(spread_evenly(refs, _FEW), place / "few", root=images.folder)
    return Job(
        input=images,
        one=place / "one",
        few=place / "few",
        expected=expected,
        of_other_programs=reference.answers(refs, replace(spec, decode_margin=FULL_SIZE)),
        mistakes=mistaken(eager, reference.kept, spec),
    )


def _native_job(bundle: ModelBundle, images: Input, eager: Backend, place: Path) -> Job:
    """Photos at their own scale. Scans must say what they say in fp32, other programs the mean of
    their tiles, by the weights in eager torch."""
    link_photos(images.refs[:1], place, root=images.folder)
    views = choose_views(images.view, bundle)
    with closing(open_photo_engine(bundle, views=views, device="cpu")) as engine:
        found = predict(images.refs, bundle, engine, workers=0)
        assert bundle.dense is not None
        said = judge(found.scores, found.photos, bundle.thresholds, engine.stages,
                     bundle.dense.thresholds)  # fmt: skip
    names = [display_path(photo.ref.path) for photo in found.photos]
    size = bundle.preprocess.size
    of_tiles = [
        judge_photo(Path(photo.ref.path), size, lambda tiles: eager.run(tiles).p_crack_N.tolist())
        for photo in found.photos
    ]
    return Job(
        input=images,
        one=place,
        few=place,
        expected={
            name: Answer(each.p_crack, each.verdict) for name, each in zip(names, said, strict=True)
        },
        of_other_programs={n: Answer(p) for n, p in zip(names, of_tiles, strict=True)},
        mistakes={},
    )


def _pool(
    bundle: ModelBundle, tiles: Input, eager: Backend, count: int
) -> tuple[Pool, dict[str, bool]]:
    """Decoded tiles for the engines alone, and the truth about them by number."""
    chosen = spread_evenly(tiles.refs, count)
    reference = Reference(eager, bundle.thresholds, keep=chosen)
    reference.answers(chosen, bundle.preprocess)
    if not reference.kept:
        raise SourceError("none of the tiles can be decoded; name another folder")
    kept = reference.kept
    truth = {str(k): tiles.truth[path] for k, path in enumerate(kept) if path in tiles.truth}
    return make_pool(eager, np.stack(list(kept.values())), bundle.preprocess), truth


def make_pool(eager: Backend, pixels_NHWC: NDArray[np.uint8], spec: PreprocessSpec) -> Pool:
    """Images in memory, with what the reference says about them."""
    starts = range(0, len(pixels_NHWC), BATCH_SIZE)
    parts = [eager.run(pixels_NHWC[start : start + BATCH_SIZE]) for start in starts]
    examples = {str(k): pixels_HWC for k, pixels_HWC in enumerate(pixels_NHWC[:MISTAKEN])}
    return Pool(pixels_NHWC, joined(parts), mistaken(eager, examples, spec))
