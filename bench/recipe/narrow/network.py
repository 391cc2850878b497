"""The narrow network, and the forms in which it judges tiles and photos.

It is a residual network like the full one, with its stride and the same place for each cell, so
that it looks at the same pixels and its answers mean the same (`inspector.model.network`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d
from torchvision.models.resnet import BasicBlock

from inspector.model.windows import STRIDE, USUAL

if TYPE_CHECKING:
    from inspector.model.network import DeployedModel
    from inspector.model.preprocess import PreprocessSpec


_LEAST_VARIANCE = 1e-4
GAIN = 4.0
"""How much faster the weights of the deviations are learned than others."""


@dataclass(frozen=True, slots=True)
class Widths:
    """What a narrow network costs: channels of the two strided convolutions it begins with; of its
    three stages, and how many blocks each has."""

    stem: tuple[int, int] = (16, 32)
    channels: tuple[int, int, int] = (48, 96, 160)
    blocks: tuple[int, int, int] = (1, 2, 2)


class NarrowNetwork(nn.Module):
    """`forward(images)`: uint8 (N, H, W, 3) RGB, sides of multiples of 32 and at least a window's
    -> `log_odds` float32 (N, h, w) of the cells of 32 px, whose mean over a window is its
    uncalibrated log odds, and `domain` float32 (N, rows, columns), the out-of-distribution score of
    each window."""

    def __init__(self, widths: Widths, spec: PreprocessSpec, window: int = USUAL) -> None:
        """`window` is the number of cells along a window's side."""
        super().__init__()
        self.window = window
        mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1), persistent=False)
        first, before = widths.stem
        self.stem = nn.Sequential(*_strided(3, first), *_strided(first, before))
        self.stages = nn.ModuleList()
        for after, blocks in zip(widths.channels, widths.blocks, strict=True):
            sides = [before, *[after] * blocks]
            self.stages.append(
                nn.Sequential(
                    *[_block(i, o, 1 if n else 2) for n, (i, o) in enumerate(pairwise(sides))]
                )
            )
            before = after
        self.head = nn.Conv2d(before, 2, 1)
        self.uneven = nn.Linear(widths.stem[-1] + sum(widths.channels[:-1]), 1, bias=False)
        """What the deviations between the cells of a window add to its score: as in the full
        model's (`inspector.model.ood`), the last stage has no part in it."""
        nn.init.zeros_(self.uneven.weight)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = images.permute(0, 3, 1, 2).float()
        x = self.stem(pixels * cast(Tensor, self.scale) + cast(Tensor, self.shift))
        cells = []  # in float32: of bfloat16 little is left of a difference of squares
        for place, stage in enumerate(self.stages):
            cells.append(avg_pool2d(x.float(), STRIDE // (4 << place)))
            x = stage(x)
        maps = self.head(x).float()
        means = self._means(torch.cat(cells, dim=1))
        squares = self._means(torch.cat([cell * cell for cell in cells], dim=1))
        spread = (squares - means**2).clamp(min=_LEAST_VARIANCE).sqrt()
        weight = self.uneven.weight[:, :, None, None] * GAIN
        domain = self._means(maps[:, 1:])  # by itself: ONNX Runtime pools 177 channels slowly
        return maps[:, 0], (domain + conv2d(spread, weight))[:, 0]

    def _means(self, x_NCHW: Tensor) -> Tensor:
        """Over the cells of each window."""
        return avg_pool2d(x_NCHW, self.window, 1)


def _strided(before: int, after: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, 3, 2, 1, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)


def _block(before: int, after: int, stride: int) -> BasicBlock:
    shortcut = None
    if stride > 1 or before != after:
        convolution = nn.Conv2d(before, after, 1, stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(after))
    return BasicBlock(before, after, stride, shortcut)


class NarrowForms(nn.Module):
    """The forms for tiles and for photos, with the outputs of `inspector.model.network`'s
    `DeployedModel` and `DenseModel`, one after the other."""

    def __init__(self, network: NarrowNetwork, full: DeployedModel) -> None:
        """`full` is the model that taught it: its temperature, labels and the scale of its maps."""
        super().__init__()
        self.network = network
        self.temperature = full.temperature
        layer, crack = full.network.fc.requires_grad_(False), full.positive_index
        self.sign = 1.0 if crack else -1.0
        apart = layer.weight[crack] - layer.weight[1 - crack]
        self.share = float(layer.weight[crack] @ apart / (apart @ apart))
        self.bias = float(layer.bias[crack] - layer.bias[1 - crack])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        log_odds, domain = self.network(images)
        half = log_odds.mean(dim=(1, 2)) * (self.sign / (2 * self.temperature))
        probabilities = torch.softmax(torch.stack([-half, half], dim=1), dim=1)
        cells = (log_odds - self.bias) * self.share
        return probabilities, cells, domain[:, 0, 0], log_odds, domain
