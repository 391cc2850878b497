"""From labelled files to training and validation batches, reproducible to the bit.

Each image's randomness comes from (seed, epoch, place in the epoch) alone: neither the number of
workers nor a resume changes what the network sees.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from inspector.core.machine import usable_cores
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.synthesis import (
    HARD_NEGATIVES,
    Kind,
    add_crack,
    add_distractor,
    make_scene,
    random_crack_style,
)
from inspector.training.augment import augmentation
from inspector.types import Failure, ImageRef
from inspector.workers.start import begin_worker, start_method

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from inspector.labelled.folder import LabelledImage


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """`pixels_NHWC` uint8, `label_N` int64 (1 crack), `place_N` int64 into the list of images;
    `broken` names files that could not be decoded."""

    pixels_NHWC: Tensor
    label_N: Tensor
    place_N: Tensor
    broken: tuple[str, ...]

    def pin_memory(self) -> TrainBatch:
        """Called by the DataLoader so that copies to the GPU need not wait."""
        return TrainBatch(
            self.pixels_NHWC.pin_memory(), self.label_N.pin_memory(), self.place_N, self.broken
        )


Sample = tuple[Any, int, int]
"""uint8 pixels (H, W, 3), label (1 crack), place in the list of images."""


class LabelledPixels(Dataset[Sample | str]):
    """Decoded images as the model sees them, in the order of `images`; a broken one is its path."""

    def __init__(self, images: Sequence[LabelledImage], spec: PreprocessSpec) -> None:
        self.images = images
        self.spec = spec

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, place: int) -> NDArray[np.uint8] | None:
        ref = ImageRef.of(self.images[place].path, place)
        outcome = decode(ref, self.spec)
        return None if isinstance(outcome, Failure) else outcome.pixels_HWC

    def __getitem__(self, place: int) -> Sample | str:
        image = self.images[place]
        pixels_HWC = self.pixels(place)
        return image.path if pixels_HWC is None else (pixels_HWC, int(image.is_crack), place)


class AugmentedPixels(LabelledPixels):
    """One epoch of training images: drawn, sometimes made into something harder, augmented."""

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
        super().__init__(images, spec)
        self.plan = plan
        self.change = augmentation(train_size)
        self.synthetic = synthetic
        self.seed = seed

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Sample | str:
        sample = super().__getitem__(int(self.plan[index]))
        if isinstance(sample, str):
            return sample
        rng = np.random.default_rng([*self.seed, index])
        pixels_HWC, label, place = sample
        if label == 0 and rng.random() < self.synthetic:
            pixels_HWC, label = hard_example(pixels_HWC, rng)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            changed_CHW = self.change(torch.from_numpy(pixels_HWC).permute(2, 0, 1))
        return changed_CHW.permute(1, 2, 0).contiguous().numpy(), label, place


def hard_example(
    pixels_HWC: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], int]:
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
    """Which images an epoch shows, in which order: `count` places into `images`.

    Both labels come equally often once synthetic cracks are counted in (they are made from
    crack-free images); within a class each source weighs as the square root of its size, so that
    a small source is neither lost nor learned by heart. An image appears its expected number of
    times, rounded up or down by chance; with one balanced source that is a permutation.
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
    """Share c of real crack images such that cracks, real and synthetic, make one half: a part
    0.6 x `synthetic` of the crack-free images gets a crack, so c + 0.6 s (1 - c) = 1/2."""
    made = 0.6 * synthetic
    return max(0.0, (0.5 - made) / (1 - made))


def _collate(samples: list[Sample | str]) -> TrainBatch:
    good = [sample for sample in samples if not isinstance(sample, str)]
    pixels = np.stack([s[0] for s in good]) if good else np.zeros((0, 1, 1, 3), np.uint8)
    return TrainBatch(
        pixels_NHWC=torch.from_numpy(pixels),
        label_N=torch.tensor([s[1] for s in good], dtype=torch.int64),
        place_N=torch.tensor([s[2] for s in good], dtype=torch.int64),
        broken=tuple(sample for sample in samples if isinstance(sample, str)),
    )


def workers_of(workers: int | None) -> int:
    """The number of decoder processes; None: as many as pay on this machine."""
    return min(16, max(1, usable_cores() - 1)) if workers is None else workers


def load(
    dataset: LabelledPixels, batch_size: int, *, workers: int | None, pin: bool
) -> Iterator[TrainBatch]:
    """The dataset in order (the plan has shuffled it already), `batch_size` images at a time."""
    workers = workers_of(workers)
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        worker_init_fn=begin_worker,
        multiprocessing_context=start_method("inspector.training.data") if workers else None,
    )
    return iter(loader)
