"""ResNet18 that blurs before it drops pixels (Zhang 2019, "Making convolutional networks
shift-invariant again", figure 3): the same weights under other names."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

if TYPE_CHECKING:
    from torchvision.models import ResNet
    from torchvision.models.resnet import BasicBlock

_BINOMIAL = (1.0, 2.0, 1.0)


class BlurPool(nn.Module):
    """Binomial 3 x 3 blur of every channel, then every second pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor(_BINOMIAL) / sum(_BINOMIAL)
        kernel = torch.outer(line, line).expand(channels, 1, 3, 3).contiguous()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        padded = pad(x_NCHW, (1, 1, 1, 1), mode="reflect")
        kernel = cast(Tensor, self.kernel)
        return conv2d(padded, kernel, stride=2, groups=len(kernel))


def antialias(network: ResNet) -> ResNet:
    """Change `network` in place, and return it."""
    network.maxpool = cast(
        nn.MaxPool2d, nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BlurPool(64))
    )
    for stage in (network.layer2, network.layer3, network.layer4):
        _antialias_block(cast("BasicBlock", stage[0]))
    return network


def _antialias_block(block: BasicBlock) -> None:
    block.conv1.stride = (1, 1)
    block.conv2 = cast(nn.Conv2d, nn.Sequential(BlurPool(block.conv1.out_channels), block.conv2))
    if block.downsample is not None:
        shortcut, norm = block.downsample
        shortcut.stride = (1, 1)
        block.downsample = nn.Sequential(BlurPool(shortcut.in_channels), shortcut, norm)
