"""Training and validation batches from labelled files, reproducible to the bit.

The randomness of each image comes from (seed, epoch, place in the epoch) alone: neither the number
of workers nor a resume changes what the network sees.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from inspector.core.machine import usable_cores
from inspector.photos.decode import decode
from inspector.predict import predict_batches
from inspector.synthesis import (
    HARD_NEGATIVES,
    Kind,
    add_crack,
    add_distractor,
    make_scene,
    random_crack_style,
)
from inspector.training.augment import augmentation
from inspector.types import Failure, ImageRef, Photo
from inspector.workers.process import begin_worker, start_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from inspector.labelled.folder import LabelledImage
    from inspector.model.preprocess import PreprocessSpec

    Pixels = NDArray[np.uint8]

T = TypeVar("T")

_MOST_KEPT = 2 << 30
"""Bytes of decoded validation images that are kept in memory: 14,000 images of 224 px."""


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """A batch of N decodable images."""

    pixels_NHWC: Tensor
    """uint8 (N, size, size, 3)."""
    label_N: Tensor
    """int64 (N,), 1 for a crack."""
    broken: tuple[str, ...] = ()
    """Paths of images of the batch that could not be decoded."""

    def pin_memory(self) -> TrainBatch:
        """Called by the DataLoader, so that copies to the GPU need not wait."""
        return TrainBatch(self.pixels_NHWC.pin_memory(), self.label_N.pin_memory(), self.broken)


Sample = tuple[Any, int]
"""Pixels, uint8 (H, W, 3), and label (1 crack)."""


class AugmentedPixels(Dataset[Sample | str]):
    """One epoch of training images: drawn by a plan, sometimes made hard examples, augmented. An
    image that cannot be decoded is its path."""

    def __init__(
        self,
        images: Sequence[LabelledImage],
        spec: PreprocessSpec,
        plan: NDArray[np.int64],
        *,
        train_size: int,
        synthetic: float,
        seed: tuple[int, int],
    ) -> None:
        """Prepare an epoch.

        Args:
            images: Training images.
            spec: How pixels are prepared before augmentation.
            plan: Places in `images` in the order of the epoch, see `epoch_plan`.
            train_size: Side of the augmented images, pixels.
            synthetic: Share of crack-free images that become hard examples.
            seed: Seed of the training, and epoch.
        """
        self.images = images
        self.spec = spec
        self.plan = plan
        self.change = augmentation(train_size)
        self.synthetic = synthetic
        self.seed = seed

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Sample | str:
        image = self.images[int(self.plan[index])]
        outcome = decode(ImageRef.of(image.path), self.spec)
        if isinstance(outcome, Failure):
            return image.path
        pixels_HWC, label = outcome.pixels_HWC, int(image.is_crack)
        rng = np.random.default_rng([*self.seed, index])
        if label == 0 and rng.random() < self.synthetic:
            pixels_HWC, label = hard_example(pixels_HWC, rng)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            changed_CHW = self.change(torch.from_numpy(pixels_HWC).permute(2, 0, 1))
        return changed_CHW.permute(1, 2, 0).contiguous().numpy(), label


def hard_example(pixels_HWC: Pixels, rng: np.random.Generator) -> tuple[Pixels, int]:
    """Turn a crack-free image into a hard example.

    It gets a synthetic crack (2 of 5), a distractor (2 of 5), or both; one in six starts from a
    synthetic surface instead.

    Args:
        pixels_HWC: uint8 (H, W, 3), stays unchanged.
        rng: Source of all randomness.

    Returns:
        New pixels of the same shape, and their label (1 crack).
    """
    if rng.random() < 1 / 6:
        height, width, _ = pixels_HWC.shape
        pixels_HWC = make_scene(rng, height, width, Kind.CLEAN).pixels
    choice = rng.random()
    if choice >= 0.4:
        kind = HARD_NEGATIVES[int(rng.integers(len(HARD_NEGATIVES)))]
        pixels_HWC = add_distractor(pixels_HWC, rng, kind)
    if 0.4 <= choice < 0.8:
        return pixels_HWC, 0
    pixels_HWC, _ = add_crack(pixels_HWC, rng, random_crack_style(rng))
    rng.random()  # drawn once more, so that a seed keeps giving the shipped model's images
    return pixels_HWC, 1


def epoch_plan(
    images: Sequence[LabelledImage], count: int, *, seed: int, epoch: int, synthetic: float = 0.0
) -> NDArray[np.int64]:
    """Draw the images of an epoch and their order.

    Both labels come equally often once synthetic cracks are counted (they are made from crack-free
    images). Within a class each source weighs as the square root of its size, so that a small
    source is neither lost nor memorised. An image appears its expected number of times, rounded up
    or down by chance; with one balanced source that is a permutation.

    Returns:
        `count` places in `images`.
    """
    rng = np.random.default_rng([seed, epoch, 0])
    strata = [(image.is_crack, image.source) for image in images]
    sizes = Counter(strata)
    real_cracks = _real_crack_share(synthetic)
    weight = {True: real_cracks, False: 1 - real_cracks}
    roots = {label: sum(n**0.5 for (of, _), n in sizes.items() if of is label) for label in weight}
    expected = np.array(
        [count * weight[s[0]] * sizes[s] ** 0.5 / roots[s[0]] / sizes[s] for s in strata]
    )
    # Systematic rounding of the running sum, shuffled but class by class, keeps the total exactly
    # `count` and each class within one image of its share.
    shuffled = rng.permutation(len(images))
    order = shuffled[np.argsort([images[int(k)].is_crack for k in shuffled], kind="stable")]
    edges = np.floor(np.cumsum(expected[order]).round(9) + rng.random()).astype(np.int64)
    times = np.diff(edges, prepend=0)
    plan = np.repeat(order, times)
    return rng.permutation(plan)


def _real_crack_share(synthetic: float) -> float:
    """Share c of real crack images for which cracks, real and synthetic, make up one half: of the
    crack-free images 0.6 x `synthetic` get a crack, so c + 0.6 s (1 - c) = 1/2."""
    made = 0.6 * synthetic
    return max(0.0, (0.5 - made) / (1 - made))


def workers_of(workers: int | None) -> int:
    """Number of loader processes; None: all usable cores but one, at most 16."""
    return min(16, max(1, usable_cores() - 1)) if workers is None else workers


def load(
    dataset: AugmentedPixels, batch_size: int, *, workers: int | None, pin: bool
) -> Iterator[TrainBatch]:
    """Load a dataset in its order, `batch_size` images at a time.

    Args:
        dataset: Shuffled already, by its plan.
        batch_size: Images per batch, those that cannot be decoded included.
        workers: As in `workers_of`; 0 loads in this process.
        pin: Put batches in page-locked memory, for copies to a GPU.
    """
    count = workers_of(workers)
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=count,
        collate_fn=_collate,
        pin_memory=pin,
        prefetch_factor=4 if count else None,
        worker_init_fn=begin_worker,
        multiprocessing_context=start_method("inspector.training.data") if count else None,
    )
    return iter(loader)


def _collate(samples: list[Sample | str]) -> TrainBatch:
    good = [sample for sample in samples if not isinstance(sample, str)]
    pixels = np.stack([s[0] for s in good]) if good else np.zeros((0, 1, 1, 3), np.uint8)
    return TrainBatch(
        pixels_NHWC=torch.from_numpy(pixels),
        label_N=torch.tensor([s[1] for s in good], dtype=torch.int64),
        broken=tuple(sample for sample in samples if isinstance(sample, str)),
    )


class HeldOut:
    """Validation images as the model sees them, without augmentation.

    They are decoded when they are predicted first, and kept in memory if they fit.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        spec: PreprocessSpec,
        *,
        batch_size: int,
        workers: int | None,
    ) -> None:
        self.images = images
        self.spec = spec
        self.broken: set[str] = set()
        self._batch_size = batch_size
        self._workers = workers_of(workers)
        self._kept: list[tuple[list[int], Pixels]] | None = None

    def predict(self, run: Callable[[Pixels], T]) -> Iterator[tuple[list[int], T]]:
        """Run all images that can be decoded, batch by batch.

        Args:
            run: Takes pixels, uint8 (n, size, size, 3) with n >= 1.

        Yields:
            The places of the batch in `images`, and what `run` returned.
        """
        if self._kept is not None:
            yield from ((places, run(pixels_NHWC)) for places, pixels_NHWC in self._kept)
            return
        kept: list[tuple[list[int], Pixels]] = []
        fits = len(self.images) * 3 * self.spec.size**2 <= _MOST_KEPT
        batches = predict_batches(
            self.images, self.spec, run, batch_size=self._batch_size, workers=self._workers
        )
        with closing(batches):
            for batch, outputs in batches:
                self.broken |= {f.ref.path for f in batch.items if isinstance(f, Failure)}
                places = [photo.ref.index for photo in batch.items if isinstance(photo, Photo)]
                if fits and places:
                    kept.append((places, batch.pixels_NHWC))
                if outputs is not None:
                    yield places, outputs
        self._kept = kept if fits else None
