"""Training and validation batches from labelled files, reproducible to the bit.

The randomness of each image comes from (seed, epoch, place in the epoch) alone: neither the number
of workers nor a resume changes what the network sees."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

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
from inspector.types import Failure, ImageRef, Photo
from inspector.workers.process import begin_worker, start_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from inspector.labelled.folder import LabelledImage
    from inspector.model.preprocess import PreprocessSpec

Pixels = NDArray[np.uint8]

_LARGEST_CROP = 1.25
"""Largest ratio of a resized image's side to the crop's: a crop of less than 64 % of the area would
too often miss the crack that its label promises."""
_SMALLEST_MIRROR = 0.36
"""Smallest ratio of a resized image's side to the size it is padded to: reflection can add at most
the image's own side before and after it."""


def quarter_turn(image_CHW: Tensor) -> Tensor:
    """Rotate by 0, 90, 180 or 270 degrees."""
    return torch.rot90(image_CHW, int(torch.randint(4, ())), dims=(1, 2))


def rescale(
    image_CHW: Tensor, *, size: int, smallest: float = 0.45, largest: float = 1.15
) -> Tensor:
    """Show a view of `size` px from nearer or further away: resize by a random factor, then crop or
    pad by reflection. Shrinking makes hairlines out of wide cracks."""
    native = image_CHW.shape[-1]
    most = min(native * largest, size * _LARGEST_CROP)
    least = max(native * smallest, size * _SMALLEST_MIRROR)
    side = round(least + (most - least) * float(torch.rand(())))
    resized = F.resize(image_CHW, [side, side], antialias=True)
    if side < size:
        before = (size - side) // 2
        after = size - side - before
        edges = [before, before, after, after]
        return cast("Tensor", F.pad(resized, edges, padding_mode="reflect"))
    top, left = (int(torch.randint(side - size + 1, ())) for _ in range(2))
    return cast("Tensor", F.crop(resized, top, left, size, size))


def white_balance(image_CHW: Tensor, largest: float = 0.16) -> Tensor:
    """Change red and blue by up to a sixth, as lamps, shade or a camera's guess do."""
    off = largest * (2 * torch.rand(2) - 1)
    gain = torch.stack([1 + off[0], torch.ones(()), 1 + off[1]]).view(3, 1, 1)
    return _to_uint8(image_CHW.float() * gain)


def haze(image_CHW: Tensor, thickest: float = 0.5) -> Tensor:
    """Lay a pale veil over the image, thicker towards one side: dust, fog, stray light. It takes at
    most half of the contrast, so that a crack stays visible."""
    height, width = image_CHW.shape[1:]
    near, far = (thickest * torch.rand(2)).tolist()
    veil_HW = torch.linspace(near, far, width).expand(height, width)
    brightness = 140 + 90 * float(torch.rand(()))
    return _to_uint8(image_CHW.float() + veil_HW * (brightness - image_CHW.float()))


def sensor_noise(image_CHW: Tensor) -> Tensor:
    """Add Gaussian noise of 1 to 10 grey levels, as in a dark scene or from a small sensor."""
    deviation = 1 + 9 * float(torch.rand(()))
    return _to_uint8(image_CHW.float() + deviation * torch.randn(image_CHW.shape))


def _to_uint8(values_CHW: Tensor) -> Tensor:
    return values_CHW.round().clamp(0, 255).to(torch.uint8)


def jpeg_artifacts(image_CHW: Tensor, worst: int = 30, best: int = 95) -> Tensor:
    """Compress and decode as JPEG, as phones and messengers do."""
    quality = int(torch.randint(worst, best + 1, ()))
    file = BytesIO()
    Image.fromarray(image_CHW.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def augmentation(size: int) -> v2.Compose:
    """Build the augmentation: uint8 (3, H, W), square -> uint8 (3, `size`, `size`).

    Randomness comes from torch's global generator, which the dataset seeds for each image.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            quarter_turn,
            partial(rescale, size=size),
            v2.RandomApply([v2.ColorJitter(0.3, 0.35, 0.3, 0.03)], p=0.8),
            v2.RandomApply([white_balance], p=0.3),
            v2.RandomGrayscale(p=0.1),
            v2.RandomApply([haze], p=0.15),
            v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.6))], p=0.25),
            v2.RandomApply([sensor_noise], p=0.3),
            v2.RandomApply([jpeg_artifacts], p=0.4),
        ]
    )


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
        """Prepare an epoch. `plan` holds places in `images`, see `epoch_plan`; `train_size` is the
        side of the augmented images in pixels, `synthetic` the share of crack-free images that
        become hard examples, `seed` the seed of the training and the epoch."""
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
    """Turn a crack-free image, uint8 (H, W, 3), into a hard example: new pixels of the same shape,
    and their label (1 crack). It gets a synthetic crack (2 of 5), a distractor (2 of 5), or both;
    one in six starts from a synthetic surface instead."""
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
    """Draw the images of an epoch and their order: `count` places in `images`.

    Both labels come equally often once synthetic cracks are counted (they are made from crack-free
    images). Within a class each source weighs as the square root of its size, so that a small
    source is neither lost nor memorised. An image appears its expected number of times, rounded up
    or down by chance; with one balanced source that is a permutation.
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
    """Load a dataset, which its plan has shuffled, `batch_size` images at a time, those that cannot
    be decoded included. `workers` as in `workers_of`, 0 loads in this process; `pin` puts batches
    in page-locked memory, for copies to a GPU."""
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
        """Run all images that can be decoded, batch by batch: pixels, uint8 (n, size, size, 3) with
        n >= 1. Yields the places of the batch in `images`, and what `run` returned."""
        if self._kept is not None:
            yield from ((places, run(pixels_NHWC)) for places, pixels_NHWC in self._kept)
            return
        kept: list[tuple[list[int], Pixels]] = []
        fits = len(self.images) * 3 * self.spec.size**2 <= _MOST_KEPT
        batches = predict_batches(
            self.images,
            self.spec,
            lambda batch: run(batch.pixels_NHWC),
            batch_size=self._batch_size,
            workers=self._workers,
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
