"""Augmentation: random changes that keep the label, since a crack stays one upside down, in the
shade, out of focus, further away, and in a badly compressed file."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_CROP = 1.25
"""Largest ratio of a resized image's side to the crop's: a crop of less than 64 % of the area would
too often miss the crack that its label promises."""
_SMALLEST_MIRROR = 0.36
"""Smallest ratio of a resized image's side to the size it is padded to: reflection can add at most
the image's own side before and after it."""


class QuarterTurn(torch.nn.Module):
    """Rotate by 0, 90, 180 or 270 degrees."""

    def forward(self, image_CHW: Tensor) -> Tensor:
        return torch.rot90(image_CHW, int(torch.randint(4, ())), dims=(1, 2))


class Rescale(torch.nn.Module):
    """Show a view of `size` px from nearer or further away: resize by a random factor, then crop or
    pad by reflection. Shrinking makes hairlines out of wide cracks."""

    def __init__(self, size: int, smallest: float = 0.45, largest: float = 1.15) -> None:
        super().__init__()
        self.size = size
        self.smallest = smallest
        self.largest = largest

    def forward(self, image_CHW: Tensor) -> Tensor:
        native = image_CHW.shape[-1]
        largest = min(native * self.largest, self.size * _LARGEST_CROP)
        smallest = max(native * self.smallest, self.size * _SMALLEST_MIRROR)
        side = round(smallest + (largest - smallest) * float(torch.rand(())))
        resized = F.resize(image_CHW, [side, side], antialias=True)
        if side < self.size:
            before = (self.size - side) // 2
            after = self.size - side - before
            edges = [before, before, after, after]
            return cast("Tensor", F.pad(resized, edges, padding_mode="reflect"))
        top, left = (int(torch.randint(side - self.size + 1, ())) for _ in range(2))
        return cast("Tensor", F.crop(resized, top, left, self.size, self.size))


class WhiteBalance(torch.nn.Module):
    """Change red and blue by up to a sixth, as lamps, shade or a camera's guess do."""

    def __init__(self, largest: float = 0.16) -> None:
        super().__init__()
        self.largest = largest

    def forward(self, image_CHW: Tensor) -> Tensor:
        off = self.largest * (2 * torch.rand(2) - 1)
        gain = torch.stack([1 + off[0], torch.ones(()), 1 + off[1]]).view(3, 1, 1)
        return (image_CHW.float() * gain).round().clamp(0, 255).to(torch.uint8)


class Haze(torch.nn.Module):
    """Lay a pale veil over the image, thicker towards one side: dust, fog, stray light. It takes at
    most half of the contrast, so that a crack stays visible."""

    def __init__(self, thickest: float = 0.5) -> None:
        super().__init__()
        self.thickest = thickest

    def forward(self, image_CHW: Tensor) -> Tensor:
        height, width = image_CHW.shape[1:]
        near, far = (self.thickest * torch.rand(2)).tolist()
        veil_HW = torch.linspace(near, far, width).expand(height, width)
        brightness = 140 + 90 * float(torch.rand(()))
        hazy = image_CHW.float() + veil_HW * (brightness - image_CHW.float())
        return hazy.round().clamp(0, 255).to(torch.uint8)


class SensorNoise(torch.nn.Module):
    """Add Gaussian noise of 1 to 10 grey levels, as in a dark scene or from a small sensor."""

    def forward(self, image_CHW: Tensor) -> Tensor:
        deviation = 1 + 9 * float(torch.rand(()))
        noisy = image_CHW.float() + deviation * torch.randn(image_CHW.shape)
        return noisy.round().clamp(0, 255).to(torch.uint8)


class JpegArtifacts(torch.nn.Module):
    """Compress and decode as JPEG, as phones and messengers do."""

    def __init__(self, worst: int = 30, best: int = 95) -> None:
        super().__init__()
        self.worst = worst
        self.best = best

    def forward(self, image_CHW: Tensor) -> Tensor:
        quality = int(torch.randint(self.worst, self.best + 1, ()))
        file = BytesIO()
        Image.fromarray(image_CHW.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        pixels_HWC = np.array(Image.open(file))
        return torch.from_numpy(pixels_HWC).permute(2, 0, 1)


def augmentation(size: int) -> v2.Compose:
    """Build the augmentation: uint8 (3, H, W), square -> uint8 (3, `size`, `size`).

    Randomness comes from torch's global generator, which the dataset seeds for each image.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            QuarterTurn(),
            Rescale(size),
            v2.RandomApply([v2.ColorJitter(0.3, 0.35, 0.3, 0.03)], p=0.8),
            v2.RandomApply([WhiteBalance()], p=0.3),
            v2.RandomGrayscale(p=0.1),
            v2.RandomApply([Haze()], p=0.15),
            v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.6))], p=0.25),
            v2.RandomApply([SensorNoise()], p=0.3),
            v2.RandomApply([JpegArtifacts()], p=0.4),
        ]
    )
